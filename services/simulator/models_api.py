"""The routes of what an account can look up: models, versions, hardware, itself, and its webhooks' secret."""

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from simulator.account import Account
from simulator.calls import Handler, json_answer, reading
from simulator.catalogue import MODELS
from simulator.models import Model
from simulator.problems import no_versions, not_found

_ACCOUNT = {
    "type": "organization",
    "username": "simulator",
    "name": "Simulator",
    "github_url": "https://github.com/simulator",
    "avatar_url": None,
}
_HARDWARE = [
    {"name": "CPU", "sku": "cpu"},
    {"name": "Nvidia T4 GPU", "sku": "gpu-t4"},
    {"name": "Nvidia L40S GPU", "sku": "gpu-l40s"},
    {"name": "Nvidia A100 (80GB) GPU", "sku": "gpu-a100-large"},
    {"name": "Nvidia H100 GPU", "sku": "gpu-h100"},
]


def routes(account: Account) -> list[Route]:
    """The routes, relative to /v1."""

    def showing(body: Any) -> Handler:
        async def handler(request: Request) -> Any:
            return json_answer(account, request, body)

        return handler

    async def model(request: Request) -> Any:
        return json_answer(account, request, _model(request).model_object())

    async def versions(request: Request) -> Any:
        model = _community(request)
        results = [model.version_object(version) for version in model.versions]
        return json_answer(account, request, {"next": None, "previous": None, "results": results})

    async def version(request: Request) -> Any:
        model = _community(request)
        if (wanted := request.path_params["version"]) not in model.versions:
            raise not_found()
        return json_answer(account, request, model.version_object(wanted))

    catalogue = {"next": None, "previous": None, "results": [model.model_object() for model in MODELS.values()]}
    lookups: dict[str, Handler] = {
        "/account": showing(_ACCOUNT),
        "/hardware": showing(_HARDWARE),
        "/webhooks/default/secret": showing({"key": account.settings.webhook_secret}),
        "/models": showing(catalogue),
        "/models/{owner}/{name}": model,
        "/models/{owner}/{name}/versions": versions,
        "/models/{owner}/{name}/versions/{version}": version,
    }
    return [Route(path, reading(account, "other", handler), methods=["GET"]) for path, handler in lookups.items()]


def _model(request: Request) -> Model:
    if (model := MODELS.get("{owner}/{name}".format(**request.path_params))) is None:
        raise not_found()
    return model


def _community(request: Request) -> Model:
    model = _model(request)
    if model.official:
        raise no_versions()
    return model
