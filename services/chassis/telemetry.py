"""What a service tells about itself: structured logs, and a port with its metrics and its health."""

import asyncio
import contextlib
import logging
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, disable_created_metrics, generate_latest

from chassis import vitals
from chassis.settings import HostPort
from chassis.sockets import bind

_DATA = re.compile(r"\n(?:DETAIL|HINT): .*|(?<=invalid input for query argument )(\$\d+): .*", re.DOTALL)
"""What follows an error's own message and may quote a row or an argument, and with it a prompt: as PostgreSQL and asyncpg write it.
SQLAlchemy's errors, and others that tell of them, hold the same text."""


class _WithoutData(structlog.tracebacks.ExceptionDictTransformer):
    """Exceptions as JSON with what went wrong and where, but not with what it went wrong with.

    There are no local variables of frames, as they hold tokens, and no details of the database's errors, as they hold prompts.
    """

    def __init__(self) -> None:
        super().__init__(show_locals=False)

    def __call__(self, exc_info: Any) -> list[dict[str, Any]]:
        stacks = super().__call__(exc_info)
        sqlstate = getattr(exc_info[1], "sqlstate", None) or getattr(getattr(exc_info[1], "orig", None), "sqlstate", None)
        if sqlstate:
            stacks[0]["sqlstate"] = sqlstate
        return [_without_data(stack) for stack in stacks]


def _without_data(stack: dict[str, Any]) -> dict[str, Any]:
    texts = {"exc_value": _message(stack["exc_value"]), "exc_notes": [_message(note) for note in stack["exc_notes"]]}
    groups = [[_without_data(one) for one in stacks] for stacks in stack["exceptions"]]
    return {**stack, **texts, "exceptions": groups}


def _message(text: str) -> str:
    return _DATA.sub(r"\1", text)


def configure_logging(service: str, level: str) -> None:
    """Sends every log line, the libraries' included, to stderr as one JSON object with the ids of the current request and job."""

    def stamp(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {"service": service, **event, "timestamp": datetime.now(UTC)}

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        stamp,
        structlog.processors.ExceptionRenderer(_WithoutData()),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                lambda _logger, _method, event: _json(event).decode(),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("alembic", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for noisy in ("aiormq", "aio_pika"):  # chassis.rabbit says in a line what they say in a page, at every try
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    # Our own lines go straight to the stream, and orjson writes the time: a job has nine lines, and logging's records and handlers,
    # structlog's stamper and its renderer took longer than all that is in them.
    structlog.configure(
        processors=[*shared, lambda _logger, _method, event: _json(event)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )


def _json(event: Any) -> bytes:
    return orjson.dumps(event, default=str, option=orjson.OPT_UTC_Z)


Check = Callable[[], str | None]
"""A health check: None where all is well, otherwise a sentence that says what is not."""


@contextlib.asynccontextmanager
async def serving_metrics(
    service: str, listen: HostPort, *, live: Check, ready: Check, refresh: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[None]:
    """Serves /metrics, /livez and /readyz on a port that is never routed to users. Raises StartupError where it is taken.

    `refresh` brings the gauges up to date that have to ask somebody; it must be quick, and never raise.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter, which no dashboard wants
    vitals.tell_version(service)

    async def metrics(_request: web.Request) -> web.Response:
        if refresh is not None:
            await refresh()
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def health(check: Check) -> Callable[[web.Request], object]:
        async def handler(_request: web.Request) -> web.Response:
            complaint = check()
            return web.Response(text=complaint or "ok", status=503 if complaint else 200)

        return handler

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/livez", health(live))  # type: ignore[arg-type]
    app.router.add_get("/readyz", health(ready))  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    watch = asyncio.create_task(vitals.watch_loop(), name="lag of the loop")
    try:
        # Not a TCPSite: asyncio makes [::] deaf to IPv4, by which a kubelet of a dual-stack cluster may ask.
        await web.SockSite(runner, bind(listen)).start()
        yield
    finally:
        watch.cancel()
        await runner.cleanup()
