"""Starts the gateway: `python -m gateway`."""

import contextlib

import aiohttp

from chassis.channel import channel
from chassis.http import serving
from chassis.lifecycle import Lifecycle, run
from chassis.settings import load_settings
from chassis.telemetry import configure_logging, serving_metrics
from chassis.tracing import exporting_traces
from gateway.api import create_app
from gateway.jobs_client import JobsClient
from gateway.object_store import ObjectStore
from gateway.readiness import JobsHealth
from gateway.settings import Settings


async def serve(settings: Settings) -> int:
    """Serves until SIGTERM; clients leave the REST port first, and requests that are open get their answers."""
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(exporting_traces("gateway", settings))
        jobs_channel = await stack.enter_async_context(channel(settings.jobs_address, settings.jobs_tls))
        # No limit of its own: slow readers of a hundred files would make everybody else wait for theirs.
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
        store = ObjectStore(
            await stack.enter_async_context(session),
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key.get_secret_value(),
            bucket=settings.s3_bucket,
        )
        life = await stack.enter_async_context(Lifecycle())
        health = JobsHealth(jobs_channel)
        life.spawn(health.watch(), "health of jobs")

        def live() -> str | None:
            return None

        def ready() -> str | None:
            return "stopping" if life.stopping.is_set() else health.complaint()

        app = create_app(
            jobs=JobsClient(jobs_channel),
            store=store,
            ready=ready,
            max_body_bytes=settings.max_body_bytes,
            cors_origins=settings.cors_origins,
            webhook_secrets=tuple(secret.get_secret_value() for secret in settings.replicate_webhook_secret),
        )
        await stack.enter_async_context(serving_metrics("gateway", settings.metrics_listen, live=live, ready=ready))
        await stack.enter_async_context(serving(app, settings.listen))
        await life.until_stopped()
    return life.exit_code


def main() -> None:
    """Reads the settings, and serves."""
    settings = load_settings(Settings)
    configure_logging("gateway", settings.log_level)
    run(lambda: serve(settings))


if __name__ == "__main__":
    main()
