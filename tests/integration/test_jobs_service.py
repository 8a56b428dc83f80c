"""JobsService over gRPC, with no RabbitMQ at all: what it accepts and refuses, whose jobs it shows, how it pages and watches."""

import asyncio
import contextlib
import re
import time
from uuid import UUID, uuid4

import grpc
import pytest
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import text
from sqlalchemy.dialects import postgresql as dialect

import ports
from chassis import failpoints
from chassis.errors import from_rpc_error, from_status
from driver import Driver, driving, rows_read
from jobs import access, keys
from jobs.__main__ import serve
from jobs.keys import Tenant
from jobs.listing import Position, page_query
from jobs.settings import Settings
from jobs.states import State
from mediagen.jobs.v1 import jobs_pb2, jobs_pb2_grpc, worker_pb2, worker_pb2_grpc
from waiting import until

TOKEN = "a-worker-token-of-tests"


class Service:
    """A running service, its stubs, and a driver on its database."""

    def __init__(self, settings: Settings, driver: Driver, key: str) -> None:
        self.driver = driver
        self.channel = grpc.aio.insecure_channel(str(settings.listen))
        self.worker_channel = grpc.aio.insecure_channel(str(settings.worker_listen))
        self.jobs = jobs_pb2_grpc.JobsServiceStub(self.channel)
        self.worker = worker_pb2_grpc.WorkerServiceStub(self.worker_channel)
        self.key = key
        self.engine = driver.database.engine

    async def call(self, method: str, request, key: str | None = "", **metadata: str):
        """One call with the tenant's key, another, or none (None)."""
        shown = [("authorization", f"Bearer {key or self.key}")] if key is not None else []
        return await getattr(self.jobs, method)(request, timeout=10, metadata=[*shown, *metadata.items()])

    async def create(self, prompt: str = "a fox", request_id: str = "", **fields):
        request = jobs_pb2.CreateJobRequest(job=jobs_pb2.JobSpec(prompt=prompt, **fields), request_id=request_id)
        return (await self.call("CreateJob", request)).job

    async def refused(self, method: str, request, key: str | None = ""):
        """The error that a call fails with."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(method, request, key)
        return from_rpc_error(caught.value)


@contextlib.asynccontextmanager
async def running(postgres_url: str, **changed):
    """A service with these settings, ready, until the context ends."""
    async with driving(postgres_url) as driver:
        settings = Settings(
            **{
                "database_url": postgres_url,
                "amqp_url": "amqp://nobody:nothing@127.0.0.1:1/",
                "listen": f"127.0.0.1:{ports.any_free_port()}",
                "worker_listen": f"127.0.0.1:{ports.any_free_port()}",
                "metrics_listen": f"127.0.0.1:{ports.any_free_port()}",
                "worker_token": TOKEN,
                "creates_per_minute": 0,
                **changed,
            }
        )
        serving = asyncio.create_task(serve(settings))
        started = Service(settings, driver, await keys.create_key(driver.database.engine, "main", "tests"))
        async with asyncio.timeout(20):
            await started.channel.channel_ready()
        try:
            yield started
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving
            await started.channel.close()
            await started.worker_channel.close()


BAD_SPECS = [
    ("prompt", {"prompt": ""}),
    ("prompt", {"prompt": "   "}),
    ("prompt", {"prompt": "x" * 1_000_000}),
    ("prompt", {"prompt": "nul \0 inside"}),
    ("model", {"model": "no model"}),
    ("model", {"model": "a/b/c"}),
    ("model", {"model": "a/b:123"}),
    ("model", {"model": "../etc"}),
    ("parameters", {"parameters": "[]"}),
    ("parameters", {"parameters": "{"}),
    ("parameters", {"parameters": '{"a": NaN}'}),
    ("parameters", {"parameters": '{"prompt": "two"}'}),
    ("parameters", {"parameters": '{"a": "\\u0000"}'}),
    ("parameters", {"parameters": '{"a": [{"b\\u0000": 1}]}'}),
    ("parameters", {"parameters": '{"a": "\\ud800"}'}),
    ("parameters", {"parameters": '{"a": 1e999999}'}),
    ("parameters", {"parameters": '{"a": [1e-16000]}'}),
    ("parameters", {"parameters": '{"a": 1e-400}'}),
    ("parameters", {"parameters": '{"a": ' + "[" * 1000 + "]" * 1000 + "}"}),
    ("parameters", {"parameters": '{"a": ' + "[" * 40 + "]" * 40 + "}"}),
    ("parameters", {"parameters": '{"a": "' + "x" * 140_000 + '"}'}),
    ("priority", {"priority": 11}),
    ("deadline_seconds", {"deadline_seconds": 1}),
    ("deadline_seconds", {"deadline_seconds": -5}),
    ("metadata", {"metadata": {"": "empty"}}),
    ("metadata", {"metadata": {str(n): "x" for n in range(17)}}),
]


@pytest.mark.parametrize(("field", "wrong"), BAD_SPECS, ids=[f"{field} {str(wrong[field])[:20]}" for field, wrong in BAD_SPECS])
async def test_a_bad_field_is_named_and_nothing_is_stored(service, field, wrong):
    spec = jobs_pb2.JobSpec(**{"prompt": "fine", **wrong})
    error = await service.refused("CreateJob", jobs_pb2.CreateJobRequest(job=spec))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert [violation.field for violation in error.violations] == [field]
    assert (await service.driver.database.fetch("SELECT count(*) AS jobs FROM jobs"))[0]["jobs"] == 0


async def test_one_bad_request_of_a_batch_harms_no_other(service):
    specs = [
        jobs_pb2.JobSpec(prompt=prompt, parameters=parameters)
        for prompt, parameters in (("a", ""), ("", ""), ("b", '{"a":1e999999}'), ("c", ""))
    ]
    requests = [jobs_pb2.CreateJobRequest(job=spec) for spec in specs]
    answer = await service.call(
        "BatchCreateJobs", jobs_pb2.BatchCreateJobsRequest(requests=requests), **{"x-request-ids": "r1,r2,r3,r4"}
    )
    assert [result.WhichOneof("outcome") for result in answer.results] == ["created", "error", "error", "created"]
    assert from_status(status_pb2.Status.FromString(answer.results[1].error)).violations[0].field == "prompt"
    rows = await service.driver.database.fetch("SELECT prompt, request_id FROM jobs ORDER BY prompt")
    assert [tuple(row) for row in rows] == [("a", "r1"), ("c", "r4")]


async def test_an_unforeseen_error_of_one_request_of_a_batch_harms_no_other_and_it_may_be_repeated(service):
    jobs = [jobs_pb2.CreateJobRequest(job=jobs_pb2.JobSpec(prompt="a fox"), request_id=key) for key in ("one", "two", "three")]
    failpoints.arm("jobs.create.accepted=raise@2")
    try:
        results = (await service.call("BatchCreateJobs", jobs_pb2.BatchCreateJobsRequest(requests=jobs))).results
    finally:
        failpoints.arm("")
    assert sorted(result.WhichOneof("outcome") for result in results) == ["created", "created", "error"]
    [error] = [from_status(status_pb2.Status.FromString(result.error)) for result in results if result.error]
    assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    again = (await service.call("BatchCreateJobs", jobs_pb2.BatchCreateJobsRequest(requests=jobs))).results
    assert [result.created.repeated for result in again] == [True, True, True]


async def test_an_escaped_backslash_before_u0000_is_no_nul(service):
    job = await service.create(parameters=r'{"a": "\\u0000"}')
    assert job.parameters == r'{"a": "\\u0000"}'


async def test_parameters_keep_every_digit(service):
    job = await service.create(parameters='{"seed": 12345678901234567890123, "scale": 7.10}')
    assert job.parameters == '{"seed": 12345678901234567890123, "scale": 7.10}' or "12345678901234567890123" in job.parameters
    assert "7.10" in job.parameters


async def test_a_repeated_request_id_answers_with_the_same_job_and_makes_no_other(service):
    made = await asyncio.gather(*[service.create(request_id="once") for _ in range(20)])
    assert len({job.id for job in made}) == 1
    assert (await service.driver.database.fetch("SELECT count(*) AS jobs FROM jobs"))[0]["jobs"] == 1
    again = jobs_pb2.CreateJobRequest(job=jobs_pb2.JobSpec(prompt="a fox"), request_id="once")
    assert (await service.call("CreateJob", again)).repeated
    other = jobs_pb2.CreateJobRequest(job=jobs_pb2.JobSpec(prompt="a hare"), request_id="once")
    error = await service.refused("CreateJob", other)
    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED")


async def test_another_tenant_may_use_the_same_request_id(service):
    mine = await service.create(request_id="shared")
    key = await keys.create_key(service.engine, "other", "")
    theirs = (
        await service.call("CreateJob", jobs_pb2.CreateJobRequest(job=jobs_pb2.JobSpec(prompt="a fox"), request_id="shared"), key)
    ).job
    assert theirs.id != mine.id


async def test_a_call_needs_a_key_that_works(service):
    get = jobs_pb2.GetJobRequest(job_id=str(uuid4()))
    assert (await service.refused("GetJob", get, key=None)).reason == "API_KEY_MISSING"
    assert (await service.refused("GetJob", get, key="mg_wrong")).reason == "API_KEY_INVALID"
    assert (await service.refused("GetJob", get)).reason == "JOB_NOT_FOUND"
    key = await keys.create_key(service.engine, "main", "short-lived")
    key_id = next(row[0] for row in await keys.list_keys(service.engine) if row[2] == "short-lived")
    assert (await service.refused("GetJob", get, key=key)).reason == "JOB_NOT_FOUND"
    assert await keys.revoke_key(service.engine, key_id)

    async def ended() -> bool:
        return (await service.refused("GetJob", get, key=key)).reason == "API_KEY_INVALID"

    await until(ended)
    assert key not in str(await service.driver.database.fetch("SELECT * FROM api_keys"))


async def test_another_tenants_job_is_no_job(service):
    job = await service.create()
    key = await keys.create_key(service.engine, "other", "")
    for method, request in (
        ("GetJob", jobs_pb2.GetJobRequest(job_id=job.id)),
        ("CancelJob", jobs_pb2.CancelJobRequest(job_id=job.id)),
        ("GetOutput", jobs_pb2.GetOutputRequest(job_id=job.id)),
    ):
        assert (await service.refused(method, request, key)).reason == "JOB_NOT_FOUND"
    assert list((await service.call("BatchGetJobs", jobs_pb2.BatchGetJobsRequest(job_ids=[job.id]), key)).jobs) == []
    assert list((await service.call("ListJobs", jobs_pb2.ListJobsRequest(), key)).jobs) == []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in service.jobs.WatchJob(
            jobs_pb2.WatchJobRequest(job_id=job.id), timeout=5, metadata=[("authorization", f"Bearer {key}")]
        ):
            pass
    assert from_rpc_error(caught.value).reason == "JOB_NOT_FOUND"
    assert (await service.driver.row(UUID(job.id)))["state"] == "queued"


@pytest.mark.parametrize("job_id", ["", "1", "not-a-uuid", "../x", "\u00e9"])
async def test_a_malformed_id_is_said_to_be_one(service, job_id):
    error = await service.refused("GetJob", jobs_pb2.GetJobRequest(job_id=job_id))
    assert [violation.field for violation in error.violations] == ["job_id"]


async def test_pages_show_every_job_once_newest_first_and_filters_hold(service):
    ids = [(await service.create(prompt=f"job {n}", model="a/b" if n % 2 else "c/d")).id for n in range(7)]
    await service.call("CancelJob", jobs_pb2.CancelJobRequest(job_id=ids[2]))
    assert await pages(service, page_size=3) == ids[::-1]
    pending, canceled = jobs_pb2.JOB_STATUS_PENDING, jobs_pb2.JOB_STATUS_CANCELED
    assert await pages(service, page_size=2, statuses=[pending, canceled]) == ids[::-1]
    assert await pages(service, page_size=2, statuses=[canceled]) == [ids[2]]
    assert await pages(service, page_size=2, model="a/b") == ids[1::2][::-1]
    row = await service.driver.row(UUID(ids[3]))
    after = jobs_pb2.ListJobsRequest(page_size=10)
    after.created_after.FromDatetime(row["created_at"])
    assert [job.id for job in (await service.call("ListJobs", after)).jobs] == ids[:2:-1]
    before = jobs_pb2.ListJobsRequest(page_size=10)
    before.created_before.FromDatetime(row["created_at"])
    assert [job.id for job in (await service.call("ListJobs", before)).jobs] == ids[2::-1]


async def pages(service, **filters) -> list[str]:
    seen, token = [], ""
    while True:
        page = await service.call("ListJobs", jobs_pb2.ListJobsRequest(page_token=token, **filters))
        seen += [job.id for job in page.jobs]
        if not (token := page.next_page_token):
            return seen


async def test_a_page_token_is_good_only_as_it_came(service):
    for n in range(3):
        await service.create(prompt=f"job {n}")
    token = (await service.call("ListJobs", jobs_pb2.ListJobsRequest(page_size=1))).next_page_token
    forged = ("B" if token[0] != "B" else "C") + token[1:]
    for wrong in ("nonsense", token[:-4], forged, "\u00e9"):
        error = await service.refused("ListJobs", jobs_pb2.ListJobsRequest(page_size=1, page_token=wrong))
        assert [violation.field for violation in error.violations] == ["page_token"]
    error = await service.refused("ListJobs", jobs_pb2.ListJobsRequest(page_size=1, page_token=token, model="a/b"))
    assert [violation.field for violation in error.violations] == ["page_token"]
    key = await keys.create_key(service.engine, "other", "")
    error = await service.refused("ListJobs", jobs_pb2.ListJobsRequest(page_size=1, page_token=token), key)
    assert [violation.field for violation in error.violations] == ["page_token"]


@pytest.mark.parametrize("filters", [{}, {"statuses": [1]}, {"statuses": [1, 3, 4]}, {"model": "a/b"}], ids=str)
async def test_a_page_in_the_middle_of_many_jobs_reads_few_of_them(service, filters):
    driver = service.driver
    await driver.fill(20_000)
    middle = (await driver.database.fetch("SELECT created_at, id FROM jobs ORDER BY created_at DESC OFFSET 10000 LIMIT 1"))[0]
    tenant = Tenant(driver.tenant, "main", b"secret", None)
    after = Position(middle["created_at"], middle["id"])
    query = page_query(tenant, jobs_pb2.ListJobsRequest(**filters), after, 51)
    compiled = query.compile(dialect=dialect.dialect(), compile_kwargs={"literal_binds": True})
    async with driver.database.engine.connect() as connection:
        plan = (await connection.execute(text(f"EXPLAIN (ANALYZE, FORMAT JSON) {compiled}".replace(":", "\\:")))).scalar_one()
    assert rows_read(plan[0]["Plan"]) < 500


async def test_a_watch_shows_each_later_version_and_ends_with_the_job(service):
    job = await service.create()
    seen = []

    async def watch():
        metadata = [("authorization", f"Bearer {service.key}")]
        async for answer in service.jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id=job.id), timeout=20, metadata=metadata):
            seen.append((answer.job.version, answer.job.status))

    watching = asyncio.create_task(watch())
    await until(lambda: len(seen) == 1)
    await service.driver.claim(UUID(job.id))
    await until(lambda: len(seen) == 2)
    for verb in ("intend", "created", "complete"):
        await service.driver.apply(UUID(job.id), verb)
    await asyncio.wait_for(watching, 10)
    versions = [version for version, _ in seen]
    assert versions == sorted(set(versions))
    assert seen[0] == (1, jobs_pb2.JOB_STATUS_PENDING)
    assert seen[-1] == (5, jobs_pb2.JOB_STATUS_COMPLETED)


async def test_an_access_token_opens_its_own_output_and_no_other(service):
    first, second = [str(await service.driver.reach(State.SUCCEEDED)) for _ in range(2)]
    job = (await service.call("GetJob", jobs_pb2.GetJobRequest(job_id=first))).job
    token = job.outputs[0].access_token
    opened = await service.call("GetOutput", jobs_pb2.GetOutputRequest(job_id=first, access_token=token), key=None)
    assert opened.output.object_key == "out/a.png"
    assert opened.output.access_token == ""
    tenant = str(service.driver.tenant)
    expired = access.sign(b"secret", tenant, first, 0, int(time.time()) - 1)
    for job_id, index, shown in (
        (second, 0, token),
        (first, 1, token),
        (first, 0, token[:-2] + "xx"),
        (first, 0, expired),
        (first, 0, "9" * 5000),
        (str(uuid4()), 0, token),
    ):
        error = await service.refused(
            "GetOutput", jobs_pb2.GetOutputRequest(job_id=job_id, index=index, access_token=shown), key=None
        )
        assert error.reason == "ACCESS_TOKEN_INVALID"
    await service.driver.database.fetch("UPDATE tenants SET signing_secret = 'another' WHERE id = $1", service.driver.tenant)
    error = await service.refused("GetOutput", jobs_pb2.GetOutputRequest(job_id=first, access_token=token), key=None)
    assert error.reason == "ACCESS_TOKEN_INVALID"


async def test_a_finished_job_cannot_be_canceled_and_a_canceled_one_is_canceled_again(service):
    done, waiting = str(await service.driver.reach(State.SUCCEEDED)), str(await service.driver.add())
    assert (await service.refused("CancelJob", jobs_pb2.CancelJobRequest(job_id=done))).reason == "JOB_FINISHED"
    for _ in range(2):
        answer = await service.call("CancelJob", jobs_pb2.CancelJobRequest(job_id=waiting))
        assert answer.job.status == jobs_pb2.JOB_STATUS_CANCELED


async def test_the_worker_port_takes_the_worker_token_and_the_public_port_knows_no_workers(service):
    request = worker_pb2.HeartbeatRequest(worker_id=str(uuid4()), slots=1)
    for shown in ([], [("authorization", f"Bearer {service.key}")], [("authorization", "Bearer ")]):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.worker.Heartbeat(request, timeout=5, metadata=shown)
        assert from_rpc_error(caught.value).reason == "WORKER_TOKEN_INVALID"
    authorized = [("authorization", f"Bearer {TOKEN}")]
    answer = await service.worker.Heartbeat(request, timeout=5, metadata=authorized)
    assert answer.timing.lease_seconds == 30
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await worker_pb2_grpc.WorkerServiceStub(service.channel).Heartbeat(request, timeout=5, metadata=authorized)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_malformed_reports_are_refused_by_field(service):
    authorized = [("authorization", f"Bearer {TOKEN}")]
    worker = str(uuid4())
    wrong = [
        ("Claim", worker_pb2.ClaimRequest(worker_id="x", slots=1)),
        ("Claim", worker_pb2.ClaimRequest(worker_id=worker, slots=0)),
        ("Claim", worker_pb2.ClaimRequest(worker_id=worker, slots=1, job_ids=["x"])),
        ("Claim", worker_pb2.ClaimRequest(worker_id=worker, slots=1, intent_ids=["x"])),
        ("Claim", worker_pb2.ClaimRequest(worker_id=worker, slots=2, intent_ids=[worker])),
        ("Claim", worker_pb2.ClaimRequest(worker_id=worker, slots=2, intent_ids=[worker, worker])),
        ("Claim", worker_pb2.ClaimRequest(worker_id=worker, slots=1, job_ids=[worker], intent_ids=[worker, worker])),
        ("Claim", worker_pb2.ClaimRequest(worker_id=worker, slots=2, intent_ids=[worker, worker.upper()])),
        ("Claim", worker_pb2.ClaimRequest(worker_id=worker, slots=2, job_ids=[worker], intent_ids=[worker, str(uuid4())])),
        ("RecordIntent", worker_pb2.RecordIntentRequest(worker_id=worker)),
        (
            "RecordIntent",
            worker_pb2.RecordIntentRequest(worker_id=worker, intents=[worker_pb2.Intent(job_id=worker, intent_id="x")]),
        ),
        ("Fail", worker_pb2.FailRequest(worker_id=worker, failures=[worker_pb2.Failure(job_id=worker, prediction_id="p")])),
        (
            "Complete",
            worker_pb2.CompleteRequest(worker_id=worker, completions=[worker_pb2.Completion(job_id=worker, prediction_id="a,b")]),
        ),
    ]
    for method, request in wrong:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(service.worker, method)(request, timeout=5, metadata=authorized)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT, method
    stale = worker_pb2.RecordIntentRequest(
        worker_id=worker, intents=[worker_pb2.Intent(job_id=str(uuid4()), epoch=1, intent_id=str(uuid4()))]
    )
    answer = await service.worker.RecordIntent(stale, timeout=5, metadata=authorized)
    assert answer.results[0].result == worker_pb2.RESULT_STALE


@pytest.mark.parametrize("named", [True, False])
async def test_a_create_is_granted_with_all_that_its_post_needs(service, named):
    job, other = await service.create(), str(uuid4())
    intents = [str(uuid4()) for _ in range(2 if named else 200)]
    claim = worker_pb2.ClaimRequest(
        worker_id=str(uuid4()), slots=len(intents), job_ids=[other, job.id] if named else [], intent_ids=intents
    )
    metadata = [("authorization", f"Bearer {TOKEN}")]
    for _ in range(2):  # its answer was lost once
        [grant] = (await service.worker.Claim(claim, timeout=5, metadata=metadata)).grants
        assert (grant.job_id, grant.mode, grant.intent_id) == (job.id, worker_pb2.MODE_CREATE, intents[1 if named else 0])
        assert 0 < grant.cancel_after_seconds <= 600
        [secret] = await service.driver.database.fetch("SELECT signing_secret FROM tenants t JOIN jobs j ON j.tenant_id = t.id")
        assert grant.webhook_token == access.sign_webhook(bytes(secret["signing_secret"]), grant.intent_id)


async def test_health_needs_no_key_and_work_is_handed_out_without_rabbitmq(service):
    health = await health_pb2_grpc.HealthStub(service.channel).Check(
        health_pb2.HealthCheckRequest(service="mediagen.jobs.v1.JobsService")
    )
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    job = await service.create()
    claim = worker_pb2.ClaimRequest(worker_id=str(uuid4()), slots=5)
    answer = await service.worker.Claim(claim, timeout=5, metadata=[("authorization", f"Bearer {TOKEN}")])
    assert [grant.job_id for grant in answer.grants] == [job.id]


async def test_after_the_database_dropped_every_connection_few_calls_fail_and_work_goes_on(service):
    job = await service.create()
    await asyncio.gather(*[service.call("GetJob", jobs_pb2.GetJobRequest(job_id=job.id)) for _ in range(20)])
    await service.driver.database.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    failures = 0
    for _ in range(20):
        try:
            await service.call("GetJob", jobs_pb2.GetJobRequest(job_id=job.id))
        except grpc.aio.AioRpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            failures += 1
    assert failures <= 3  # not once for each connection of the pool
    claim = worker_pb2.ClaimRequest(worker_id=str(uuid4()), slots=5)
    answer = await service.worker.Claim(claim, timeout=5, metadata=[("authorization", f"Bearer {TOKEN}")])
    assert [grant.job_id for grant in answer.grants] == [job.id]
    await service.driver.set(UUID(job.id), "lease_until = now() - interval '1 s'")

    async def queued() -> bool:
        return (await service.driver.row(UUID(job.id)))["state"] == "queued"

    await until(queued, what="the sweeper lives")


async def test_lists_name_what_is_wrong_with_their_filters(service):
    late = jobs_pb2.ListJobsRequest()
    late.created_after.seconds = 10**14
    for field, request in (("model", jobs_pb2.ListJobsRequest(model="a\0b")), ("created_after", late)):
        error = await service.refused("ListJobs", request)
        assert [violation.field for violation in error.violations] == [field]


async def test_what_a_call_says_of_itself_is_kept_only_where_it_is_sane(service):
    request = jobs_pb2.CreateJobRequest(job=jobs_pb2.JobSpec(prompt="a fox"))
    await service.call("CreateJob", request, **{"x-request-id": "x" * 5000, "traceparent": "junk; drop"})
    await service.call("CreateJob", request, **{"x-request-id": "good-1"})
    rows = await service.driver.database.fetch("SELECT request_id, traceparent FROM jobs ORDER BY created_at")
    assert [row["request_id"] for row in rows] == [None, "good-1"]
    # One of the service's own for each, as no trace came that is one.
    assert all(re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", row["traceparent"]) for row in rows)
    assert rows[0]["traceparent"] != rows[1]["traceparent"]


async def test_a_heartbeat_with_nonsense_in_it_harms_no_other(service):
    authorized = [("authorization", f"Bearer {TOKEN}")]
    job_id = await service.driver.reach(State.SUBMITTED)
    held = worker_pb2.HeldJob(job_id=str(job_id), epoch=1, provider_status="\0" + "x" * 1000)
    request = worker_pb2.HeartbeatRequest(worker_id=str(service.driver.worker), slots=1, held=[held])
    assert (await service.worker.Heartbeat(request, timeout=5, metadata=authorized)).lost_job_ids == []
    assert len((await service.driver.row(job_id))["provider_status"]) == 40


async def test_a_look_up_is_judged_by_when_its_worker_was_told_that_it_began(service):
    authorized, driver = [("authorization", f"Bearer {TOKEN}")], service.driver
    job_id, worker = await driver.reach(State.UNKNOWN), str(uuid4())
    await driver.apply(job_id, "release")
    claim = worker_pb2.ClaimRequest(worker_id=worker, slots=1)
    [grant] = (await service.worker.Claim(claim, timeout=5, metadata=authorized)).grants
    assert (grant.job_id, grant.lookup_begun_at) == (str(job_id), await driver.begun_at(job_id))
    await driver.set(job_id, "settle_at = now(), first_empty_at = now() - interval '1 min'")

    async def report(begun_at: int) -> worker_pb2.LookupResult:
        empty = worker_pb2.LOOKUP_OUTCOME_EMPTY
        seen = worker_pb2.Lookup(job_id=str(job_id), epoch=grant.epoch, outcome=empty, lookup_begun_at=begun_at)
        request = worker_pb2.ReportLookupRequest(worker_id=worker, lookups=[seen])
        [result] = (await service.worker.ReportLookup(request, timeout=5, metadata=authorized)).results
        return result

    first, again = await report(grant.lookup_begun_at), await report(grant.lookup_begun_at)
    assert first.result == again.result == worker_pb2.RESULT_TOO_EARLY
    assert grant.lookup_begun_at < first.lookup_begun_at < again.lookup_begun_at
    assert (await report(again.lookup_begun_at)).result == worker_pb2.RESULT_OK
    assert (await driver.row(job_id))["state"] == "queued"


async def test_without_keys_everybody_is_the_default_tenant_where_a_setting_says_so(postgres_url):
    async with running(postgres_url, auth="none") as service:
        job = (await service.call("CreateJob", jobs_pb2.CreateJobRequest(job=jobs_pb2.JobSpec(prompt="open")), key=None)).job
        assert (await service.call("GetJob", jobs_pb2.GetJobRequest(job_id=job.id), key=None)).job.prompt == "open"
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # generators need their token all the same
            await service.worker.Claim(worker_pb2.ClaimRequest(worker_id=str(uuid4()), slots=1), timeout=5)
        assert from_rpc_error(caught.value).reason == "WORKER_TOKEN_INVALID"


async def test_links_to_outputs_expire_where_a_setting_says_so(postgres_url):
    async with running(postgres_url, access_token_seconds=1) as service:
        job_id = str(await service.driver.reach(State.SUCCEEDED))
        token = (await service.call("GetJob", jobs_pb2.GetJobRequest(job_id=job_id))).job.outputs[0].access_token
        assert 0 < int(token.split(".")[0]) - time.time() <= 2
        await service.call("GetOutput", jobs_pb2.GetOutputRequest(job_id=job_id, access_token=token), key=None)
        await until(lambda: time.time() > int(token.split(".")[0]))
        error = await service.refused("GetOutput", jobs_pb2.GetOutputRequest(job_id=job_id, access_token=token), key=None)
        assert error.reason == "ACCESS_TOKEN_INVALID"


async def test_a_watch_ends_with_the_service_and_does_not_hold_it_up(postgres_url):
    async with running(postgres_url) as service:
        job = await service.create()
        metadata = [("authorization", f"Bearer {service.key}")]
        watch = service.jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id=job.id), timeout=60, metadata=metadata)
        assert (await watch.read()).job.id == job.id
        rest = asyncio.create_task(watch.read())
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert isinstance((await asyncio.gather(rest, return_exceptions=True))[0], grpc.aio.AioRpcError | asyncio.CancelledError)
