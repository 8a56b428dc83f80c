"""The ASGI application: routes, what surrounds them, and how their errors look."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from chassis.errors import AppError
from chassis.telemetry import Check
from gateway import problems, webhooks
from gateway.docs_page import add_docs
from gateway.job_routes import JobRoutes
from gateway.jobs_client import JobsClient
from gateway.media import MediaRoutes
from gateway.middleware import BodyLimit, Envelope, LastResort
from gateway.object_store import ObjectStore
from gateway.thin import ThinRoutes


def create_app(
    *,
    jobs: JobsClient,
    store: ObjectStore,
    ready: Check,
    max_body_bytes: int,
    cors_origins: tuple[str, ...] = (),
    webhook_secrets: tuple[str, ...] = (),
) -> ASGIApp:
    """Builds the application over its parts; `ready` is what /readyz answers. Without a secret webhooks have no route."""
    api = FastAPI(
        title="mediagen",
        version="1.0.0",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            AppError: problems.on_app_error,
            problems.ProblemError: problems.on_problem,
            RequestValidationError: problems.on_validation_error,
            HTTPException: problems.on_http_exception,
            Exception: problems.on_unforeseen,
        },
    )
    thin = JobRoutes(jobs).add_to(api)
    MediaRoutes(jobs, store).add_to(api)
    if webhook_secrets:
        thin += webhooks.WebhookRoutes(jobs, webhook_secrets).add_to(api)
    _add_health(api, ready)
    add_docs(api)

    app: ASGIApp = ThinRoutes(api, thin)
    larger = {webhooks.PREFIX: webhooks.MAX_BODY_BYTES} if webhook_secrets else {}
    app = LastResort(BodyLimit(app, limit=max_body_bytes, larger=larger))
    if cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=cors_origins,
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "If-None-Match",
                "Range",
                "X-Request-Id",
                "traceparent",
            ],
            expose_headers=["Location", "ETag", "Retry-After", "X-Request-Id", "Link", "Idempotent-Replayed"],
        )
    return Envelope(app)


def _add_health(app: FastAPI, ready: Check) -> None:
    async def livez() -> Response:
        return PlainTextResponse("ok")

    async def readyz() -> Response:
        complaint = ready()
        return PlainTextResponse(complaint or "ok", 503 if complaint else 200)

    for path, handler in (("/livez", livez), ("/readyz", readyz)):
        app.add_api_route(path, handler, methods=["GET", "HEAD"], include_in_schema=False)
