"""Jobs that begin with the commit that accepts them, in slots that workers hold out: what is stored, what is granted to whom."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import grpc
import pytest

from chassis import failpoints
from driver import driving
from integration.test_jobs_service import TOKEN, Service, running
from jobs import access
from mediagen.jobs.v1 import jobs_pb2, worker_pb2
from waiting import holds, until

AUTHORIZED = [("authorization", f"Bearer {TOKEN}")]
TIMES = {"created_at", "updated_at", "started_at", "not_before", "settle_at", "lease_until", "deadline_at"}
OWN = {"id", "job_id", "intent_id", "at"} | TIMES


def intents(count: int) -> list[str]:
    return [str(uuid4()) for _ in range(count)]


@contextlib.asynccontextmanager
async def offering(service: Service, *intent_ids: str, worker: str | None = None) -> AsyncIterator[grpc.aio.StreamStreamCall]:
    """An offer of these slots, by a worker that lives, as jobs knows."""
    worker = worker or str(uuid4())
    await service.worker.Heartbeat(worker_pb2.HeartbeatRequest(worker_id=worker, slots=100), timeout=5, metadata=AUTHORIZED)
    call = service.worker.Offer(timeout=30, metadata=AUTHORIZED)
    await call.write(worker_pb2.OfferRequest(worker_id=worker, intent_ids=intent_ids))
    try:
        yield call
    finally:
        call.cancel()


async def begun(service: Service, **fields) -> jobs_pb2.Job:
    """A job that was begun as it was accepted, as soon as the service has seen that there are slots, and that nothing is due."""
    async with asyncio.timeout(20):
        while True:
            job = await service.create(**fields)
            if (await service.driver.row(UUID(job.id)))["state"] == "submitting":
                return job
            await service.driver.apply(UUID(job.id), "cancel")
            await asyncio.sleep(0.05)


async def grants(call: grpc.aio.StreamStreamCall) -> list[worker_pb2.Grant]:
    """All that is granted from now on until the call ends, which must end well."""
    granted: list[worker_pb2.Grant] = []
    while (response := await call.read()) is not grpc.aio.EOF:
        granted.extend(response.grants)
    return granted


async def test_what_begins_as_it_is_accepted_is_stored_as_if_it_were_claimed_a_moment_later(postgres_url):
    async with driving(postgres_url) as driver:
        at_once, later, intent_id = driver.new(), driver.new(), uuid4()
        assert (await driver.store.create([at_once], 1, [(driver.worker, intent_id)]))[at_once.id]["input"] == '{"prompt": "a fox"}'
        assert (await driver.store.create([later], 1))[later.id]["input"] is None
        assert await driver.claim(later.id, intent_id=uuid4())
        rows = [await driver.row(job.id) for job in (at_once, later)]
        assert rows[0]["intent_id"] == intent_id
        one, other = ({name: value for name, value in row.items() if name not in OWN} for row in rows)
        assert one == other
        for name in TIMES - {"created_at", "deadline_at"}:
            spans = [(row[name] - row["started_at"]).total_seconds() for row in rows]
            assert spans[0] == pytest.approx(spans[1], abs=2), name
        for read in (driver.events, driver.submissions):
            told = [[{k: v for k, v in row.items() if k not in OWN} for row in await read(job.id)] for job in (at_once, later)]
            assert told[0] == told[1]
            assert told[0]


@pytest.mark.parametrize("paused", [False, True])
async def test_no_more_is_begun_at_once_than_the_lane_allows(postgres_url, paused):
    async with driving(postgres_url, creates_per_minute=60) as driver:  # three at once, then one a second
        if paused:
            await driver.database.fetch("UPDATE lanes SET paused_until = now() + interval '1 min', paused_reason = 'rate_limit'")
        jobs = [driver.new() for _ in range(6)]
        rows = await driver.store.create(jobs, 6, [(driver.worker, uuid4()) for _ in range(5)])
        states = [(await driver.row(job.id))["state"] for job in jobs]
        assert states == ["submitting"] * (0 if paused else 3) + ["queued"] * (6 if paused else 3)
        assert [rows[job.id]["input"] is not None for job in jobs] == [state == "submitting" for state in states]
        assert [(await driver.row(job.id))["rings"] for job in jobs[3:]] == [0, 0, 1]  # due, due, rung for
        assert await driver.store.claim_due(uuid4(), 10, False, [uuid4() for _ in range(10)]) == []


async def test_a_known_key_begins_nothing_and_leaves_its_intent_unused(postgres_url):
    async with driving(postgres_url) as driver:
        first, again, intent_id = driver.new(key="k"), driver.new(key="k"), uuid4()
        await driver.store.create([first], 0)
        assert await driver.store.create([again], 1, [(driver.worker, intent_id)]) == {}
        assert (await driver.store.create([driver.new()], 1, [(driver.worker, intent_id)])) != {}
        with pytest.raises(asyncpg.UniqueViolationError):
            await driver.store.create([driver.new()], 1, [(driver.worker, intent_id)])


async def test_a_job_is_granted_with_all_that_its_post_needs_and_its_client_sees_it_accepted(service):
    [intent_id], worker = intents(1), str(uuid4())
    async with offering(service, intent_id, worker=worker) as call:
        job = await begun(service, prompt="a hare")
        assert (job.status, job.version, job.HasField("started_at")) == (jobs_pb2.JOB_STATUS_PENDING, 1, False)
        response = await call.read()
        [grant] = response.grants
        assert (grant.job_id, grant.epoch, grant.mode) == (job.id, 1, worker_pb2.MODE_CREATE)
        assert (grant.intent_id, grant.input, grant.model) == (intent_id, '{"prompt": "a hare"}', job.model)
        assert 0 < grant.cancel_after_seconds <= 600
        assert 0 < grant.deadline_in_seconds <= 86400
        assert 0 <= grant.offered_seconds < 20
        [tenant] = await service.driver.database.fetch(
            "SELECT signing_secret FROM tenants t JOIN jobs j ON j.tenant_id = t.id WHERE j.id = $1", UUID(job.id)
        )
        assert grant.webhook_token == access.sign_webhook(bytes(tenant["signing_secret"]), intent_id)
        row = await service.driver.row(UUID(job.id))
        assert str(row["lease_worker"]) == worker
        seen = (await service.call("GetJob", jobs_pb2.GetJobRequest(job_id=job.id))).job
        assert (seen.status, seen.version) == (jobs_pb2.JOB_STATUS_PROCESSING, 2)
        # The slot is used up.
        assert (await service.driver.row(UUID((await service.create()).id)))["state"] == "queued"


async def test_slots_of_several_workers_are_taken_by_turns(service):
    workers = [str(uuid4()), str(uuid4())]
    async with offering(service, *intents(9), worker=workers[0]), offering(service, *intents(9), worker=workers[1]):
        await begun(service)
        taken = [str((await service.driver.row(UUID((await begun(service)).id)))["lease_worker"]) for _ in range(4)]
        assert sorted(taken) == sorted(workers * 2)


async def test_nothing_is_begun_before_what_is_due(service):
    async with offering(service, *intents(50)):
        await begun(service)
        older = await service.driver.add()

        async def waits() -> bool:
            job = UUID((await service.create()).id)
            state = (await service.driver.row(job))["state"]
            await service.driver.apply(job, "cancel")
            return bool(state == "queued")

        await until(waits, what="the service sees what is due")
        await holds(waits, 1.0)
        assert (await service.driver.row(older))["state"] == "queued"
        await service.driver.apply(older, "cancel")
        await begun(service)


async def test_of_a_batch_beyond_the_slots_nobody_later_is_begun_first(service):
    """Without RabbitMQ nobody is rung for: what found no slot is due, and comes before whatever comes then."""
    async with offering(service, *intents(3)) as call:
        first = await begun(service)
        requests = [jobs_pb2.CreateJobRequest(job=jobs_pb2.JobSpec(prompt=f"{number}")) for number in range(6)]
        await service.call("BatchCreateJobs", jobs_pb2.BatchCreateJobsRequest(requests=requests))
        await call.write(worker_pb2.OfferRequest(intent_ids=intents(50)))
        later = UUID((await service.create()).id)
        states = await service.driver.database.fetch("SELECT state FROM jobs WHERE prompt ~ '^[0-5]$' ORDER BY created_at, id")
        assert sorted(row["state"] for row in states) == ["queued"] * 4 + ["submitting"] * 2
        assert (await service.driver.row(later))["state"] == "queued"
        assert first


async def test_an_offer_that_is_ended_ends_well_and_no_slot_of_it_is_used_any_more(service):
    async with offering(service, *intents(5)) as call:
        job = await begun(service)
        await call.done_writing()
        assert [grant.job_id for grant in await grants(call)] == [job.id]
        assert await call.code() == grpc.StatusCode.OK
        assert (await service.driver.row(UUID((await service.create()).id)))["state"] == "queued"


async def test_the_slots_of_a_worker_that_is_not_heard_any_more_are_not_used(postgres_url):
    async with running(postgres_url, time_scale=0.2) as service, offering(service, *intents(50)) as call:  # heartbeats every second

        async def speak() -> None:
            while True:
                await call.write(worker_pb2.OfferRequest())
                await asyncio.sleep(0.1)

        speaking = asyncio.create_task(speak())
        await begun(service)
        speaking.cancel()
        await asyncio.sleep(0.6)
        silent = await service.create()
        assert (await service.driver.row(UUID(silent.id)))["state"] == "queued"
        await service.driver.apply(UUID(silent.id), "cancel")
        await call.write(worker_pb2.OfferRequest())
        await begun(service)


@pytest.mark.parametrize("strike", ["jobs.create.committed", "jobs.offer.granted"])
async def test_what_its_worker_was_not_told_of_is_granted_to_a_claim_with_the_same_intents(service, strike):
    offered, worker = intents(100), str(uuid4())
    async with offering(service, *offered, worker=worker) as call:
        first = await begun(service)
        [granted] = (await call.read()).grants
        assert granted.job_id == first.id
        failpoints.arm(f"{strike}=raise")
        try:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await service.create("lost")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await grants(call)
            assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL)
        finally:
            failpoints.arm("")
    [state] = await service.driver.database.fetch("SELECT state FROM jobs WHERE prompt = 'lost'")
    assert state["state"] == "submitting"
    await service.driver.add()  # something is due, too
    left = [intent_id for intent_id in offered if intent_id != granted.intent_id]
    claim = worker_pb2.ClaimRequest(worker_id=worker, slots=len(left), intent_ids=left)
    for _ in range(2):  # the answer may be lost, too
        got = (await service.worker.Claim(claim, timeout=5, metadata=AUTHORIZED)).grants
        assert sorted(grant.input for grant in got) == ['{"prompt": "a fox"}', '{"prompt": "lost"}']
        assert len({grant.intent_id for grant in got} & set(left)) == 2
    one = worker_pb2.ClaimRequest(worker_id=worker, slots=1, intent_ids=[next(g.intent_id for g in got if "lost" in g.input)])
    await service.driver.add()
    assert len((await service.worker.Claim(one, timeout=5, metadata=AUTHORIZED)).grants) == 1  # no more than slots


async def test_where_an_intent_was_used_already_the_job_is_accepted_all_the_same_and_the_offer_ends(service):
    intent_id, worker = str(uuid4()), str(uuid4())
    await service.driver.add()
    claim = worker_pb2.ClaimRequest(worker_id=worker, slots=1, intent_ids=[intent_id])
    assert (await service.worker.Claim(claim, timeout=5, metadata=AUTHORIZED)).grants
    async with offering(service, intent_id, worker=worker) as call:
        for _ in range(100):
            job = await service.create()
            if call.done():
                break
            await service.driver.apply(UUID(job.id), "cancel")
            await asyncio.sleep(0.05)
        assert (await service.driver.row(UUID(job.id)))["state"] == "queued"
        assert await call.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    "wrong",
    [["x"], [str(UUID(int=1))] * 2, [str(UUID(int=n)) for n in range(1, 1002)]],
    ids=["no UUID", "twice", "too many"],
)
async def test_a_wrong_offer_is_refused_and_named(service, wrong):
    async with offering(service, *wrong) as call:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await grants(call)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_offers_end_well_when_the_service_does(postgres_url):
    async with contextlib.AsyncExitStack() as until_then:
        service = await until_then.enter_async_context(running(postgres_url))
        async with offering(service, *intents(5)) as call:
            job = await begun(service)
            ending = asyncio.create_task(grants(call))
            await until_then.aclose()
            assert [grant.job_id for grant in await ending] == [job.id]
