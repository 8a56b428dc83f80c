"""python -m jobs: `serve` runs the service, `keys` makes, lists and revokes API keys.

`migrate` brings the schema up to date, `wait-for-schema` waits for whoever does.
"""

from contextlib import AsyncExitStack
from typing import Annotated

import typer

from chassis.lifecycle import Lifecycle, run
from chassis.rpc import serving_grpc
from chassis.settings import load_settings
from chassis.telemetry import configure_logging, serving_metrics
from chassis.tracing import exporting_traces
from jobs import keys_command, migrate
from jobs.acceptance import Acceptance
from jobs.admission import Admission
from jobs.bell import Bell
from jobs.census import Census
from jobs.database import Database
from jobs.forgetting import Forgetting
from jobs.inbox import Inbox
from jobs.jobs_service import JobsService
from jobs.keys import Keyring, ensure_tenant
from jobs.lanes import set_rates
from jobs.offers import Offers
from jobs.relay import Relay
from jobs.settings import DatabaseSettings, Settings
from jobs.store import Store
from jobs.sweeper import sweep
from jobs.timing import Timing
from jobs.watcher import Watcher
from jobs.worker_service import WorkerService, worker_authenticator
from mediagen.jobs.v1 import jobs_pb2, jobs_pb2_grpc, worker_pb2, worker_pb2_grpc

cli = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
cli.add_typer(keys_command.cli, name="keys")


@cli.command("serve")
def serve_command() -> None:
    """Run the service until SIGTERM."""
    settings = load_settings(Settings)
    configure_logging("jobs", settings.log_level)
    run(lambda: serve(settings))


@cli.command("migrate")
def migrate_command() -> None:
    """Bring the database's schema up to date; safe to run several times, and from several places, at once."""
    settings = load_settings(DatabaseSettings)
    configure_logging("jobs", settings.log_level)
    run(lambda: migrate.run(str(settings.database_url)))


@cli.command("wait-for-schema")
def wait_for_schema_command(
    seconds: Annotated[float, typer.Option(help="After how long to give up, with exit code 2.")] = 600,
) -> None:
    """Wait until PostgreSQL answers and its schema is as new as this code: what an init container does before `serve`."""
    settings = load_settings(DatabaseSettings)
    configure_logging("jobs", settings.log_level)
    run(lambda: migrate.wait_for_schema(str(settings.database_url), seconds))


async def serve(settings: Settings) -> int:
    """The service from its first connection to its last."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(exporting_traces("jobs", settings))
        database = Database(str(settings.database_url), settings.pool_size)
        stack.push_async_callback(database.close)
        life = await stack.enter_async_context(Lifecycle())
        await migrate.wait_for_database(database.engine)
        await migrate.check_schema(database.engine)
        await set_rates(database.engine, settings.creates_per_minute, settings.reads_per_minute)
        open_to = await ensure_tenant(database.engine, "default") if settings.auth == "none" else None

        timing = Timing().scaled(settings.time_scale)
        store = Store(database, timing, max_attempts=settings.max_attempts, time_scale=settings.time_scale)
        bell = Bell(str(settings.amqp_url))
        relay = Relay(store, bell, timing.relay)
        watcher = Watcher(database)
        offers = Offers(timing)
        acceptance = Acceptance(store, relay, offers, Admission(database, settings.max_waiting), timing)
        inbox = Inbox(database, relay, timing)
        jobs_service = JobsService(database, store, acceptance, relay, watcher, inbox, settings)
        worker_service = WorkerService(store, relay, inbox, offers, timing)

        life.spawn(bell.run(), "bell")
        life.spawn(relay.run(), "relay")
        stack.push_async_callback(relay.drain)  # once nothing is accepted any more
        await stack.enter_async_context(
            serving_metrics(
                "jobs",
                settings.metrics_listen,
                live=lambda: None,
                ready=lambda: "stopping" if life.stopping.is_set() else None,
                refresh=Census(database, timing.lease, timing.settle).refresh,
            )
        )
        await stack.enter_async_context(
            serving_grpc(
                settings.listen,
                [jobs_pb2.DESCRIPTOR.services_by_name["JobsService"].full_name],
                lambda server: jobs_pb2_grpc.add_JobsServiceServicer_to_server(jobs_service, server),
                Keyring(database, open_to).authenticate,
                life.stopping,
                tls=settings.tls,
                connection_age_seconds=settings.connection_age_seconds,
            )
        )
        await stack.enter_async_context(
            serving_grpc(
                settings.worker_listen,
                [worker_pb2.DESCRIPTOR.services_by_name["WorkerService"].full_name],
                lambda server: worker_pb2_grpc.add_WorkerServiceServicer_to_server(worker_service, server),
                worker_authenticator(settings.worker_token.get_secret_value()),
                life.stopping,
                tls=settings.tls,
                connection_age_seconds=settings.connection_age_seconds,
            )
        )
        stack.callback(watcher.stop)
        stack.callback(inbox.stop)
        stack.callback(offers.stop)
        life.spawn(watcher.run(), "watcher")
        life.spawn(inbox.run(), "inbox")
        life.spawn(sweep(store, relay, timing.sweep), "sweeper")
        forgetting = Forgetting(
            database,
            lease=timing.lease,
            idempotency_seconds=settings.idempotency_seconds,
            retention_seconds=settings.retention_seconds,
        )
        life.spawn(forgetting.run(), "forgetting")
        await life.until_stopped()
    return life.exit_code


if __name__ == "__main__":
    cli()
