"""The hot routes, served ahead of FastAPI: its layers cost as much as their handlers, which want nothing of them."""

from collections.abc import Awaitable, Callable, Sequence

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from chassis.errors import AppError
from gateway.problems import ProblemError, from_app_error, problem_response


class ThinRoute(APIRoute):
    """A route that FastAPI documents, and refuses for other methods; requests that match it never get that far.

    Its endpoint takes the request, and nothing is resolved around it: no dependencies, no response model.
    """


class ThinRoutes:
    """Serves what one of the routes matches, and hands on everything else."""

    def __init__(self, app: ASGIApp, routes: Sequence[ThinRoute]) -> None:
        """`app` is what has the routes."""
        self._app = app
        self._routes = {method: [route for route in routes if method in (route.methods or ())] for method in ("GET", "POST")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] == "http":
            for route in self._routes.get(scope["method"], ()):
                if match := route.path_regex.match(scope["path"]):
                    scope["route"], scope["path_params"] = route, match.groupdict()
                    response = await _answer(route.endpoint, Request(scope, receive))
                    await response(scope, receive, send)
                    return
        await self._app(scope, receive, send)


async def _answer(endpoint: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    try:
        return await endpoint(request)
    except AppError as error:
        return problem_response(request.scope, from_app_error(error))
    except ProblemError as error:
        return problem_response(request.scope, error)
