"""The API's port: everything that Replicate serves under /v1, and the control interface where it is switched on."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from simulator import models_api, predictions_api, uploads_api
from simulator.account import Account
from simulator.connection import with_connections
from simulator.control import control_routes
from simulator.library import Library
from simulator.problems import Problem, answer_problem, not_found


def create_app(account: Account, library: Library) -> ASGIApp:
    """The application of the API's port."""

    async def answer_http_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        problem = not_found() if error.status_code == 404 else Problem(error.status_code, error.detail)
        return problem.response()

    routes = [
        *predictions_api.routes(account, library),
        *models_api.routes(account),
        *uploads_api.routes(account),
    ]
    control = [Mount("/control", routes=control_routes(account))] if account.settings.control else []
    health = [Route(path, _healthy) for path in ("/livez", "/readyz")]
    app = Starlette(
        routes=[Mount("/v1", routes=routes), *control, *health],
        exception_handlers={Problem: answer_problem, HTTPException: answer_http_error},
    )
    return with_connections(app)


async def _healthy(_: Request) -> Response:
    return Response("ok")
