"""What every call of the API has around it: a token, the rate limits, and the faults of calls that make nothing."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response

from simulator import call_rules
from simulator.account import Account
from simulator.answers import spoiled
from simulator.connection import HungUp
from simulator.encoding import encoded
from simulator.faults import Target
from simulator.problems import Problem, refusal

Handler = Callable[[Request], Awaitable[Any]]


def check_token(request: Request) -> None:
    """Raises the 401 of a request without a token; any token will do."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() not in ("bearer", "token") or not token.strip():
        raise refusal("unauthenticated", 0)


def reading(account: Account, call: call_rules.ReadCall, handler: Handler) -> Handler:
    """Wraps the handler of a call that makes nothing."""

    async def wrapped(request: Request) -> Any:
        check_token(request)
        account.count_read(call)
        target = Target(call=call)
        if (prediction := account.predictions.get(request.path_params.get("id", ""))) is not None:
            prediction.reads += call == "get"
            target = Target(prediction.model.name, prediction.prompt, call)
        if slow := account.faults.take(call_rules.ReadSlow, target):
            await anyio.sleep(slow.seconds)
        if account.faults.take(call_rules.ReadReset, target):
            return HungUp()
        if broken := account.faults.take(call_rules.ReadAnswer, target):
            return error_answer(broken).response()
        answer = await handler(request)
        whole_json = isinstance(answer, Response) and answer.media_type == "application/json"
        return (whole_json and spoiled(account.faults, target, answer)) or answer

    return wrapped


def error_answer(rule: call_rules.ReadAnswer | call_rules.CreateAnswer) -> Problem:
    """The error that a rule asks for."""
    problem = refusal(rule.answer, rule.retry_after)
    if rule.retry_after_header:
        problem.retry_after = rule.retry_after
    return problem


def api_url(request: Request) -> str:
    """How the client calls this server: what the URLs in answers begin with."""
    return f"{request.url.scheme}://{request.url.netloc}"


def json_answer(account: Account, request: Request, body: Any, status: int = 200) -> Response:
    """A JSON answer; output files in it become URLs on the file port of the host that the client called."""
    content = encoded(body, api_url(request), account.settings.files_listen.port)
    return Response(content, status, media_type="application/json")
