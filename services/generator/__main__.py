"""`python -m generator`: takes jobs from prompt to stored picture, until SIGTERM. All of it is put together here."""

import socket
import uuid
from contextlib import AsyncExitStack
from functools import partial

import structlog

from chassis import rabbit
from chassis.channel import channel
from chassis.lifecycle import Lifecycle, run
from chassis.settings import load_settings
from chassis.telemetry import configure_logging, serving_metrics
from chassis.tracing import exporting_traces
from generator.bells import Bells
from generator.bucket import open_bucket
from generator.claims import Claims
from generator.health import Health
from generator.hints import Hints
from generator.hosts import AllowedHosts
from generator.jobs_client import JobsClient
from generator.leash import Leash
from generator.lookup import Lookups
from generator.offers import OFFER, Offers
from generator.poller import Poller
from generator.reads import ReadBudget
from generator.replicate_api import replicate_api
from generator.run_job import Tools, run_job
from generator.settings import Settings
from generator.storing import Storing
from generator.transfer import Transfers, download_session
from generator.worker import Worker
from mediagen.jobs.v1.worker_pb2_grpc import WorkerServiceStub

log = structlog.get_logger()


async def main(settings: Settings) -> int:
    """Runs one generator and returns its exit code."""
    configure_logging("generator", settings.log_level)
    token = settings.replicate_token.get_secret_value() if settings.replicate_token else None
    leash, budget, allowed = Leash(), ReadBudget(), AllowedHosts(settings.output_hosts)
    worker_id = str(uuid.uuid4())
    # On record with the pod's name, which is the host's: jobs knows who holds a job by this id alone.
    log.info("generator.started", worker_id=worker_id, host=socket.gethostname(), slots=settings.slots)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(exporting_traces("generator", settings, worker_id))
        to_jobs = channel(settings.jobs_address, settings.jobs_tls, once=[OFFER])
        stub = WorkerServiceStub(await stack.enter_async_context(to_jobs))
        jobs = JobsClient(stub, settings.worker_token.get_secret_value(), worker_id)
        api = await stack.enter_async_context(replicate_api(str(settings.replicate_url), token))
        bucket = await stack.enter_async_context(
            open_bucket(
                str(settings.s3_endpoint),
                settings.s3_access_key,
                settings.s3_secret_key.get_secret_value(),
                settings.s3_bucket,
                settings.s3_region,
            )
        )
        downloads = await stack.enter_async_context(download_session(allowed))
        life = await stack.enter_async_context(Lifecycle())  # after what its tasks use, so that they end before it
        storing = Storing(Transfers(downloads, allowed, bucket, settings.max_output_bytes, token), bucket)
        poller = Poller(api, budget)
        public_url = str(settings.webhook_url) if settings.webhook_url else None
        tools = Tools(jobs, api, leash, poller, budget, Lookups(api, budget), storing, bucket, public_url)
        worker = Worker(jobs, leash, budget, bucket, settings.slots, partial(run_job, tools=tools))
        bucket.on_failed = worker.changed.set  # slots that are held out are taken back
        bells = Bells(worker.changed)
        health = Health(worker, poller, leash)
        await stack.enter_async_context(serving_metrics("generator", settings.metrics_listen, live=health.live, ready=health.ready))

        life.spawn(worker.heartbeats(), "heartbeats")
        life.spawn(poller.run(leash), "poller")
        if public_url:
            life.spawn(Hints(jobs, api, poller, budget).run(leash), "hints")
        life.spawn(bucket.watch(), "bucket")
        listening = life.spawn(rabbit.supervise(settings.amqp_url.get_secret_value(), "generator", bells.session), "bells")
        claiming = life.spawn(Claims(jobs, worker, bells, bucket, leash).run(), "claims")
        offering = life.spawn(Offers(jobs, worker, bucket, leash).run(), "offers")
        await life.until_stopped()
        listening.cancel()
        await worker.drain(claiming, offering)
    return life.exit_code


if __name__ == "__main__":
    run(partial(main, load_settings(Settings)))
