"""A release as production has it: stores, an account and certificates that others look after, mutual TLS, a migration in a hook.

Stores and account are those of another release, in a namespace of its own; all that this one knows of them are values and secrets.
"""

from collections.abc import Callable

import grpc
import pytest
import trustme

from chart.rendering import NEWEST, RELEASE
from e2e.cluster import OF_THE_TESTS, node
from e2e.conftest import off_the_loop, recording
from e2e.release import FULLNAME, Release
from jobs.migrate import schema_of_code
from mediagen.jobs.v1 import jobs_pb2, jobs_pb2_grpc

pytestmark = pytest.mark.timeout(1200)

PRODUCTION = "production"
"""The database, the virtual host and the bucket."""


@pytest.fixture(scope="module")
def others(new_release: Callable[[str, int], Release]) -> Release:
    """The release whose stores and simulator serve the other one."""
    others = new_release("stores", NEWEST)
    others.install(gateway={"replicas": 1}, jobs={"replicas": 1})
    others.psql(f"CREATE DATABASE {PRODUCTION}")
    others.rabbitmqctl("add_vhost", PRODUCTION)
    others.rabbitmqctl("set_permissions", "-p", PRODUCTION, "mediagen", ".*", ".*", ".*")
    return others


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def release(new_release: Callable[[str, int], Release], others: Release, authority: trustme.CA) -> Release:
    """Not installed yet; its secrets are there."""
    release = new_release(PRODUCTION, NEWEST)
    shown = authority.issue_cert(f"{FULLNAME}-jobs", f"{FULLNAME}-jobs-internal", node())
    tls = {"tls.crt": shown.cert_chain_pems[0].bytes().decode(), "tls.key": shown.private_key_pem.bytes().decode()}
    theirs = others.namespace.secret(f"{FULLNAME}-generated")
    keys = {"access-key": theirs["object-storage-access-key"], "secret-key": theirs["object-storage-secret-key"]}
    for name, texts in {
        "ca": {"ca.crt": authority.cert_pem.bytes().decode()},
        "tls": {**tls, "ca.crt": authority.cert_pem.bytes().decode()},
        "account": {"api-token": "r8_of_production"},
        "worker": {"worker-token": "a worker's token of our own"},
        "database": {"username": "mediagen", "password": theirs["postgresql-password"]},
        "broker": {"uri": f"amqp://mediagen:{theirs['rabbitmq-password']}@{host(others, 'rabbitmq')}:5672/{PRODUCTION}"},
        "writer": keys,
        "reader": keys,
    }.items():
        release.namespace.make_secret(name, texts)
    return release


def host(release: Release, store: str) -> str:
    """What a store or the simulator of a release is called in other namespaces."""
    return f"{FULLNAME}-{store}.{release.namespace.name}"


def values(others: Release, mode: str) -> dict[str, object]:
    """All that differs from a release that stands on its own; migrations in this mode."""
    simulator, storage = host(others, "simulator"), f"http://{host(others, 'object-storage')}:9000"
    by_user = {"existingSecret": "database", "secretKeys": {"username": "username"}}
    return {
        "simulator": {"enabled": False},
        "replicate": {"existingSecret": "account", "url": f"http://{simulator}:8090"},
        "generator": {"config": {"outputHosts": [f"{simulator}:8091"]}},
        "workerToken": {"existingSecret": "worker"},
        "migrations": {"mode": mode},
        "postgresql": {
            "embedded": {"enabled": False},
            "external": {"host": host(others, "postgresql"), "database": PRODUCTION, **by_user},
        },
        "rabbitmq": {"embedded": {"enabled": False}, "external": {"existingSecret": "broker", "secretKeys": {"uri": "uri"}}},
        "objectStorage": {
            "bucket": PRODUCTION,
            "embedded": {"enabled": False},
            "external": {"endpoint": storage, "existingSecret": "writer", "readOnlySecret": "reader"},
        },
        "tls": {"enabled": True, "mutual": True, "secretName": "tls"},
        "customCA": {"secret": "ca"},
        "networkPolicy": {"enabled": True},
    }


async def made(release: Release, prompt: str) -> None:
    """A job comes to its picture."""
    async with recording(release) as recorder:
        job_id = await recorder.post(prompt)
        await recorder.until(job_id, lambda view: view["status"] == "completed")
        assert (await recorder.media(job_id, 0))["status"] == 200


async def test_it_is_installed_at_once_and_makes_pictures(release: Release, others: Release) -> None:
    """The hook migrates an empty database before there is anything else."""
    await off_the_loop(lambda: release.install(release.atomic, **values(others, "hook")))
    assert await off_the_loop(others.schema, PRODUCTION) == schema_of_code()
    await made(release, "a lighthouse of our own")
    assert "Succeeded" in await off_the_loop(release.helm, "test", RELEASE, "--timeout=3m")


async def test_only_who_shows_a_certificate_of_the_authority_may_call_jobs(release: Release, authority: trustme.CA) -> None:
    mine, roots = authority.issue_cert("client"), authority.cert_pem.bytes()
    stranger = trustme.CA().issue_cert("client")
    for shown, code in [(mine, "OK"), (stranger, "UNAVAILABLE"), (None, "UNAVAILABLE")]:
        pair = (shown.private_key_pem.bytes(), shown.cert_chain_pems[0].bytes()) if shown else (None, None)
        async with grpc.aio.secure_channel(release.jobs_address, grpc.ssl_channel_credentials(roots, *pair)) as channel:
            list_jobs = jobs_pb2_grpc.JobsServiceStub(channel).ListJobs
            try:
                await list_jobs(jobs_pb2.ListJobsRequest(), metadata=[("authorization", f"Bearer {release.api_key}")], timeout=10)
                answered = "OK"
            except grpc.aio.AioRpcError as error:
                answered = error.code().name
            assert answered == code


async def test_pods_may_migrate_by_themselves_from_now_on(release: Release, others: Release) -> None:
    await off_the_loop(lambda: release.install(release.atomic, **values(others, "initContainer")))
    ran = [one["name"] for one in release.pods("jobs")[0]["status"]["initContainerStatuses"]]
    assert ran == ["migrate"]
    await made(release, "a lighthouse after the upgrade")


async def test_uninstalling_it_leaves_what_others_made(release: Release, others: Release) -> None:
    await off_the_loop(release.uninstall)
    release.kubectl("delete", "secrets", f"--selector={OF_THE_TESTS}")
    assert not release.namespace.left()
    await made(others, "a lighthouse of theirs")
