"""The routes of predictions: create, get, list, cancel, stream."""

import base64
import time
from datetime import datetime
from typing import Any

import anyio
import orjson
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from simulator import call_rules
from simulator.account import Account, Order
from simulator.answers import spoiled
from simulator.calls import api_url, check_token, error_answer, json_answer, reading
from simulator.catalogue import DEPLOYMENTS, MODELS
from simulator.connection import HungUp
from simulator.faults import Target
from simulator.library import Library
from simulator.models import Model
from simulator.prediction import Prediction
from simulator.problems import Problem, invalid_fields, invalid_version, not_found
from simulator.stream import events
from simulator.validation import cancel_after_seconds, check_body, check_input, check_webhook, wait_seconds


def routes(account: Account, library: Library) -> list[Route]:
    """The routes, relative to /v1."""

    async def create(request: Request) -> Any:
        try:
            check_token(request)
            account.count_create()
            order = await _order(account, request)
            wait = wait_seconds(request.headers.get("prefer"))
        except Problem as problem:
            account.ledger.refused[str(problem.status)] += 1
            raise
        return await _create(account, library, request, order, wait)

    async def get(request: Request) -> Any:
        return json_answer(account, request, _view(account, request, _found(account, request)))

    async def cancel(request: Request) -> Any:
        prediction = _found(account, request)
        if prediction.at(time.time())[1] is None:
            prediction.canceled_at = time.time()
            account.webhooks.hurry(prediction)
        return json_answer(account, request, _view(account, request, prediction))

    async def page(request: Request) -> Any:
        return json_answer(account, request, _page(account, request))

    async def stream(request: Request) -> Any:
        prediction = _found(account, request)
        if not prediction.model.streams:
            raise not_found()
        return StreamingResponse(events(prediction), media_type="text/event-stream")

    return [
        Route("/predictions", create, methods=["POST"]),
        Route("/models/{owner}/{name}/predictions", create, methods=["POST"]),
        Route("/deployments/{owner}/{name}/predictions", create, methods=["POST"]),
        Route("/predictions", reading(account, "list", page), methods=["GET"]),
        Route("/predictions/{id}", reading(account, "get", get), methods=["GET"]),
        Route("/predictions/{id}/cancel", reading(account, "cancel", cancel), methods=["POST"]),
        Route("/stream/{id}", reading(account, "other", stream), methods=["GET"]),
    ]


async def _order(account: Account, request: Request) -> Order:
    """The create that a request asks for; raises whatever Replicate would refuse it with."""
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"The request body is not valid JSON: {error}", "Bad request", {"status": 400}) from None
    by_version = "name" not in request.path_params
    check_body(body, with_version=by_version)
    model, version, deployment = _versioned(body["version"]) if by_version else _named(request)
    check_input(model, body["input"])
    webhook, events = body.get("webhook"), body.get("webhook_events_filter")
    if webhook is None and (webhook := body.get("webhook_completed")) is not None:
        events = ["completed"]
    check_webhook(webhook, http_anywhere=account.settings.webhook_http)
    return Order(
        model=model,
        version=version,
        input=body["input"],
        cancel_after=cancel_after_seconds(request.headers.get("cancel-after")),
        deployment=deployment,
        api_url=api_url(request),
        webhook=webhook,
        webhook_events_filter=events,
    )


def _versioned(version: str) -> tuple[Model, str, None]:
    """What `version` stands for: an official owner/name, owner/name:hex or hex."""
    name, _, digits = version.rpartition(":")
    if (model := MODELS.get(version)) is not None and model.official:
        return model, "hidden", None
    for model in MODELS.values():
        if digits in model.versions and name in ("", model.name):
            return model, digits, None
    raise invalid_version()


def _named(request: Request) -> tuple[Model, str, str | None]:
    """The official model, or the deployment, that the path names."""
    name = "{owner}/{name}".format(**request.path_params)
    table = DEPLOYMENTS if "/deployments/" in request.url.path else MODELS
    if (model := table.get(name)) is None or not model.official:
        raise not_found()
    return model, "hidden", name if table is DEPLOYMENTS else None


async def _create(account: Account, library: Library, request: Request, order: Order, wait: int) -> Any:
    """Makes the prediction and answers, with the faults that may come before and after its making."""
    target = Target(order.model.name, order.prompt, call="create")
    fault = account.faults.take(call_rules.CREATE_BREAKERS, target)
    if isinstance(fault, call_rules.CreateReset) and not fault.accepted:
        account.ledger.refused["reset"] += 1
        return HungUp()
    if isinstance(fault, call_rules.CreateAnswer) and not fault.accepted:
        problem = error_answer(fault)
        account.ledger.refused[str(problem.status)] += 1
        raise problem
    prediction = account.create(order)
    if fault is not None:
        prediction.faults.append(fault.effect)
    if prediction.inline:
        uri = await library.data_uri(prediction)
        prediction.output = uri if order.model.output == "file" else [uri]
    account.webhooks.follow(prediction)
    match fault:
        case call_rules.CreateReset():
            return HungUp()
        case call_rules.CreateAnswer():
            return error_answer(fault).response()
        case call_rules.CreateLate():
            await anyio.sleep(fault.seconds)
    status = await _held(prediction, wait)
    view = _view(account, request, prediction)
    if status == 202 and wait:
        view["status"] = "starting"  # Replicate says so where the wait has elapsed, whatever it is doing

    def heard() -> None:
        prediction.answered = True

    answer = json_answer(account, request, view, status)
    if (odd := spoiled(account.faults, target, answer)) is not None:
        prediction.faults.extend(odd.effects)
        odd.on_sent = heard
        return odd
    prediction.answered = not await request.is_disconnected()
    return answer


async def _held(prediction: Prediction, wait: int) -> int:
    """Holds a create with `Prefer: wait` until the prediction ends or the wait is over, and gives the status to answer."""
    give_up = time.time() + wait
    while prediction.at(now := time.time())[1] is None:
        if now >= give_up:
            return 202 if wait else 201
        await anyio.sleep(min(0.05, give_up - now))
    return 201


def _found(account: Account, request: Request) -> Prediction:
    if (prediction := account.predictions.get(request.path_params["id"])) is None:
        raise not_found()
    return prediction


def _view(account: Account, request: Request, prediction: Prediction) -> dict[str, Any]:
    return prediction.view(time.time(), api_url(request), account.settings.retention_seconds)


def _page(account: Account, request: Request) -> dict[str, Any]:
    """A page of the list; its neighbours' URLs keep the filters."""
    query = request.query_params
    after, before = (_moment(query.get(name), name) for name in ("created_after", "created_before"))
    side, place = _cursor(query.get("cursor"))
    found, newer, older = account.predictions.page(
        time.time(),
        older_than=place if side == "o" else None,
        newer_than=place if side == "n" else None,
        after=after,
        before=before,
    )

    def neighbour(side: str, prediction: Prediction) -> str:
        cursor = base64.urlsafe_b64encode(f"{side}{prediction.seq}".encode()).decode().rstrip("=")
        return str(request.url.include_query_params(cursor=cursor))

    return {
        "next": neighbour("o", found[-1]) if found and older else None,
        "previous": neighbour("n", found[0]) if found and newer else None,
        "results": [_view(account, request, prediction) for prediction in found],
    }


def _cursor(cursor: str | None) -> tuple[str, int]:
    """The side and place that a cursor stands for; ("", 0) is the newest page."""
    if not cursor:
        return "", 0
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        return {"o": "o", "n": "n"}[text[0]], int(text[1:])
    except (ValueError, KeyError, IndexError):
        raise invalid_fields([{"type": "invalid", "field": "cursor", "description": "Invalid cursor"}]) from None


def _moment(text: str | None, field: str) -> float | None:
    """A time of the query, in seconds since 1970; raises a 422."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise invalid_fields([{"type": "invalid", "field": field, "description": "Not an ISO 8601 time"}]) from None
    if moment.tzinfo is None:
        raise invalid_fields([{"type": "invalid", "field": field, "description": "The time zone is missing"}])
    return moment.timestamp()
