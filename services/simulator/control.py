"""The control interface: read the ledger, set faults, start afresh. It exists only where SIMULATOR_CONTROL is true."""

from typing import Any

import orjson
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simulator.account import Account
from simulator.problems import Problem
from simulator.rules import RULES


def control_routes(account: Account) -> list[Route]:
    """The routes, relative to /control."""

    async def ledger(_: Request) -> Response:
        return _json(account.ledger_view())

    async def faults(_: Request) -> Response:
        return _json(_faults(account))

    async def put_faults(request: Request) -> Response:
        try:
            account.faults.replace(RULES.validate_json(await request.body()).rules)
        except ValidationError as error:
            raise Problem(422, _sentence(error), "Invalid fault rules", {"status": 422}) from None
        return _json(_faults(account))

    async def delete_faults(_: Request) -> Response:
        account.faults.replace([])
        return Response(status_code=204)

    async def reset(_: Request) -> Response:
        account.reset()
        return Response(status_code=204)

    return [
        Route("/ledger", ledger, methods=["GET"]),
        Route("/faults", faults, methods=["GET"]),
        Route("/faults", put_faults, methods=["PUT"]),
        Route("/faults", delete_faults, methods=["DELETE"]),
        Route("/reset", reset, methods=["POST"]),
    ]


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


def _faults(account: Account) -> dict[str, Any]:
    """The rules in force, each with how often it was applied."""
    return {
        "rules": [
            {**active.rule.model_dump(mode="json", exclude_defaults=True), "applied": active.applied}
            for active in account.faults.active
        ]
    }


def _sentence(error: ValidationError) -> str:
    """What is wrong with the first rule that is wrong."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place or 'The body'}: {first['msg']}."
