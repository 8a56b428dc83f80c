"""Any order of claims, reports, crashes, expiries, cancels and look-ups, early, late and repeated, on the real statement.

After every step the invariants of snapshot.py hold, no job is paid for twice, and the store has come to what the model says
(lockstep.py). In the end everything that is still open is brought to its end, as nothing may be stuck.

PROPERTIES_EXAMPLES is how many examples are run (300), PROPERTIES_STEPS how many steps each has (60), also as
`make properties EXAMPLES=20000 STEPS=60`.
"""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
import uvloop
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test
from sqlalchemy import event

from choices import chosen
from driver import Driver
from jobs.database import Database
from jobs.lanes import set_rates
from jobs.states import FINAL
from jobs.store import ClaimCall, Report, Store
from jobs.timing import Timing
from properties import clock, lockstep, snapshot
from properties.bench import PROMPTS, Bench
from properties.provider import Run
from properties.workers import go_on

EXAMPLES = chosen("PROPERTIES_EXAMPLES", 300, int)
STEPS = chosen("PROPERTIES_STEPS", 60, int)

AGES = [700, 700, 16_300, 16_300, 16_300, 31_100, 31_100, 84_900, 95_900, 95_900, 650_000, 3_101_000]
"""How far time jumps, in milliseconds: nothing, a look-up's gap, a lease, a settle time almost and whole, a prediction's life, an
unknown's end."""

OF_AN_EPOCH = ["intend", "release", "complete", "retry", "fail", "aborted", "canceled", "empty", "found"]
"""The verbs that only the epoch's holder is believed."""

LOOK_UPS = ["found", "empty", "unreadable"]
"""The verbs whose repetition counts, as another look-up."""

MAKING = ["granted", "intended", "sent", "answered"]
"""The steps of a run whose prediction is not recorded yet."""

UNKNOWN_LIMIT = Timing().unknown_limit

index = st.integers(0, 7)


class Machine(Bench):
    """Everything that may happen, one rule each."""

    @initialize(rate=st.sampled_from([0, 0, 0, 60]), prompts=st.lists(st.sampled_from(PROMPTS), min_size=1, max_size=3))
    def begin(self, rate: int, prompts: list[str]) -> None:
        """A lane with or without a limit, and nothing but some fresh jobs."""
        self.wait(self.driver.database.fetch("DELETE FROM jobs"))
        self.wait(self.driver.database.fetch(clock.RESET))
        fresh = "creates_per_minute = $1, create_tokens = 3, creates_refilled_at = now(), paused_until = NULL, pauses = 0"
        self.wait(self.driver.database.fetch(f"UPDATE lanes SET {fresh}", rate))
        self.now = self.wait(snapshot.read(self.driver.database))
        for prompt in prompts:
            self.accept(prompt, 86_400.0)

    # --- what clients and time do

    @precondition(lambda self: len(self.now.jobs) < 4)
    @rule(prompt=st.sampled_from(PROMPTS), deadline=st.sampled_from([86_400.0, 86_400.0, 52.45]))
    def accept(self, prompt: str, deadline: float) -> None:
        self.ids.append(self.wait(self.driver.add(prompt=prompt, deadline=deadline, job_id=self.new_id())))
        self.look()

    @precondition(lambda self: len(self.now.jobs) < 4)
    @rule(prompt=st.sampled_from(PROMPTS), worker=st.integers(0, 2), told=st.booleans())
    def accept_and_begin(self, prompt: str, worker: int, told: bool) -> None:
        """A job begins with the commit that accepts it; whether its worker is told of that is another matter."""
        before, me, intent_id = self.now, self.workers[worker], self.new_id()
        job = self.driver.new(prompt=prompt, deadline=86_400.0, job_id=self.new_id())
        rows = self.wait(self.driver.store.create([job], 1, [(me, intent_id)]))
        self.ids.append(job.id)
        self.look()
        begun = self.now.jobs[str(job.id)]["state"] == "submitting"
        assert begun == (rows[job.id]["input"] is not None)
        assert not (begun and before.lane["paused"]), "a create was granted while the lane is paused"
        assert self.now.lane["creates_per_minute"] == 0 or self.now.lane["create_tokens"] >= 0
        assert all(self.unchanged(before, job_id) for job_id in before.jobs)
        if begun and told:
            run = Run(me, job.id, 1, "intended", prompt, 0, prediction=None)
            run.intent, run.intended_at = intent_id, before.read_at / 1_000_000
            self.runs.append(run)

    @rule(number=index, often=st.integers(0, 9))
    def cancel(self, number: int, often: int) -> None:
        """One in ten, as nothing else happens to a job that is canceled."""
        if often == 9:
            self.tell(Report(self.job(number), "cancel", "client"))

    @rule(age=st.sampled_from(AGES))
    def pass_time(self, age: int) -> None:
        self.wait(self.driver.database.fetch(clock.PASS_TIME, age / 1000))
        self.now = self.wait(snapshot.read(self.driver.database))
        self.provider.pass_time(self.clock)

    @rule()
    def sweep(self) -> None:
        before = self.now
        self.wait(self.driver.store.sweep())
        self.look()
        for job_id, row in before.jobs.items():
            verbs = [event["reason"].split(":")[0] for event in self.now.events[job_id][len(before.events[job_id]) :]]
            assert verbs == [verb for verb in ("expire", "give_up", "outcome_unknown") if verb in verbs]
            assert ("expire" in verbs) == bool(row["lease_over"])
            ended = any(event["to_state"] in FINAL for event in self.now.events[job_id])
            assert ended or not row["deadline_over"] or self.now.jobs[job_id]["cancel_reason"], "nobody notices its deadline"
            assert ended or before.unknown_for(job_id) < UNKNOWN_LIMIT, "it stays unknown for ever"
            step = before
            for verb in verbs:
                answer = lockstep.expected(step, Report(UUID(job_id), verb, "sweeper"))
                assert answer.result == "ok", f"the model would not {verb} a job that is {row['state']}"
                step = replace(step, jobs={**step.jobs, job_id: {**row, **_as_row(answer)}})
            assert lockstep.same(answer, self.now, job_id) if verbs else self.unchanged(before, job_id)

    @rule()
    def ring(self) -> None:
        before = self.now
        self.wait(self.driver.store.ring())
        self.look()
        assert all(self.unchanged(before, job_id) for job_id in before.jobs)

    # --- what workers do

    @rule(
        worker=st.integers(0, 2),
        named=st.booleans(),
        slots=st.integers(1, 3),
        choices=st.lists(index, max_size=5),
        begins=st.booleans(),
    )
    def claim(self, worker: int, named: bool, slots: int, choices: list[int], begins: bool = True) -> None:
        """A worker claims jobs, with intents or without, and does some steps of what it was granted last."""
        before, me = self.now, self.workers[worker]
        intents = tuple(self.new_id() for _ in range(len(self.ids) if named else slots)) if begins else ()
        if named:
            rows = self.wait(self.driver.store.claim([ClaimCall(me, tuple(self.ids), slots, False, intents)]))[0]
        else:
            rows = self.wait(self.driver.store.claim_due(me, slots, False, intents))
        self.look()
        granted = {str(row["job_id"]): row for row in rows}
        fresh = {job_id for job_id in granted if self.now.jobs[job_id]["epoch"] > before.jobs[job_id]["epoch"]}
        creates = [job_id for job_id in fresh if before.jobs[job_id]["state"] == "queued"]
        assert not (creates and before.lane["paused"]), "a create was granted while the lane is paused"
        assert self.now.lane["creates_per_minute"] == 0 or self.now.lane["create_tokens"] >= 0
        assert len(fresh) <= slots
        for job_id in before.jobs:
            if job_id not in fresh:
                assert self.unchanged(before, job_id)
                continue
            assert not before.jobs[job_id]["resting"] or not self.now.jobs[job_id]["resting"]
            row = granted[job_id]
            answer = lockstep.expected(before, Report(UUID(job_id), row["verb"], "worker", intent_id=row["intent_id"]))
            assert lockstep.same(answer, self.now, job_id)
            assert row["verb"] != ("claim" if begins else "begin")
            assert row["verb"] != "begin" or row["intent_id"] in intents
        for job_id, row in granted.items():
            assert job_id in fresh or row["verb"] == "claim", "a grant whose POST may be on its way came again"
            if not any((run.worker, str(run.job_id), run.epoch) == (me, job_id, row["epoch"]) for run in self.runs):
                step = {"claim": "granted", "begin": "intended", "attach": "following", "reconcile": "looking"}[row["verb"]]
                prompt, begun = self.now.jobs[job_id]["prompt"], row["lookup_begun_at"] or 0
                run = Run(me, row["job_id"], row["epoch"], step, prompt, begun, prediction=row["prediction_id"])
                if row["verb"] == "begin":
                    run.intent, run.intended_at = row["intent_id"], before.read_at / 1_000_000
                self.runs.append(run)
        if self.runs:
            self.steps(self.runs[-1], choices)

    @precondition(lambda self: self.runs)
    @rule(number=index, choices=st.lists(index, min_size=1, max_size=5))
    def a_run_goes_on(self, number: int, choices: list[int]) -> None:
        self.steps(self.runs[number % len(self.runs)], choices)

    @precondition(lambda self: self.runs)
    @rule(choices=st.lists(index, min_size=1, max_size=5))
    def the_latest_run_goes_on(self, choices: list[int]) -> None:
        self.steps(self.runs[-1], choices)

    def steps(self, run: Run, choices: list[int]) -> None:
        """A run does its next steps; a choice decides what happens where several things may."""
        for choice in choices:
            go_on(self, run, choice)

    @precondition(lambda self: self.runs)
    @rule(number=index)
    def crash(self, number: int) -> None:
        self.runs.pop(number % len(self.runs))

    @precondition(lambda self: any(run.step in ("granted", "looking", "following") for run in self.runs))
    @rule(number=index)
    def drain(self, number: int) -> None:
        able = [run for run in self.runs if run.step in ("granted", "looking", "following")]
        run = able[number % len(able)]
        self.report(run, "release")
        self.done(run)

    @precondition(lambda self: self.runs)
    @rule(chosen=st.lists(index, min_size=1, max_size=3))
    def heartbeat(self, chosen: list[int]) -> None:
        before = self.now
        held = {(run.worker, run.job_id): run for run in (self.runs[number % len(self.runs)] for number in chosen)}
        beats = [(run.worker, run.job_id, run.epoch, None, None) for run in held.values()]
        rows = self.wait(self.driver.store.heartbeat(beats))
        self.look()
        assert all(self.unchanged(before, job_id) for job_id in before.jobs), "a heartbeat is no transition"
        for row in rows:
            job, run = before.jobs[str(row["job_id"])], held[row["worker"], row["job_id"]]
            assert row["lost"] == (job["epoch"] != run.epoch or job["state"] == "queued" or job["state"] in FINAL)
            if row["lost"] and run.step not in ("sent", "answered", "refused", "unsent", "unsure", "intended"):
                self.done(run)

    @precondition(lambda self: self.sent)
    @rule(number=st.integers(0, 200), latest=st.booleans())
    def repeat(self, number: int, latest: bool) -> None:
        """A report comes again, at once or at any time later."""
        again, before = self.sent[-1] if latest else self.sent[number % len(self.sent)], self.now
        self.tell(again)
        assert again.verb in LOOK_UPS or self.unchanged(before, str(again.job_id)), f"{again.verb} happened twice"

    @rule(age=st.sampled_from(AGES), often=index)
    def look_up_reported_late_and_twice(self, age: int, often: int) -> None:
        """A list is read and kept for a while, and the answer to what is reported of it is lost."""
        if often == 7 and (looker := self.looker()):
            self.steps(looker, [0])
            self.pass_time(age)
            self.steps(looker, [0])
            self.tell(self.sent[-1])

    @rule(age=st.sampled_from(AGES), often=index)
    def equal_job_binds_what_a_list_showed(self, age: int, often: int) -> None:
        """A list is read and kept, and reported only when an equal job has bound what it showed."""
        if often == 7 and (looker := self.looker()):
            self.steps(looker, [0, 0])
            self.pass_time(age)
            self.steps(looker, [0, 0])
            if looker in self.runs and (maker := self.one_run(MAKING, equal_to=looker)):
                while maker in self.runs and maker.step in ("granted", "intended", "sent"):
                    self.steps(maker, [0])
                for run in (looker, maker, looker):
                    self.steps(run, [0])

    def looker(self) -> Run | None:
        """A run that looks a lost create up; where there is none, a create is lost."""
        if not any(run.step == "looking" for run in self.runs) and (run := self.one_run(MAKING)):
            while run in self.runs and run.step in ("granted", "intended", "sent", "unsure"):
                self.steps(run, [5 if run.step == "sent" else 0])
            self.claim(0, named=True, slots=3, choices=[])
        return next((run for run in self.runs if run.step == "looking"), None)

    def one_run(self, steps: list[str], equal_to: Run | None = None) -> Run | None:
        """A run at one of these steps; where there is none, a job is accepted for it. None where its claim is not granted."""
        for _ in range(2):
            for run in self.runs:
                if run.step in steps and (not equal_to or (run.prompt == equal_to.prompt and run.job_id != equal_to.job_id)):
                    return run
            if len(self.now.jobs) < 6:
                self.accept(equal_to.prompt if equal_to else PROMPTS[0], 86_400.0)
            self.claim(0, named=True, slots=3, choices=[])
        return None

    @rule(number=index, verb=st.sampled_from(OF_AN_EPOCH))
    def report_of_an_epoch_that_passed(self, number: int, verb: str) -> None:
        job_id = self.job(number)
        row, before = self.now.jobs[str(job_id)], self.now
        report = Report(job_id, verb, "stale", self.workers[0], row["epoch"] - 1, None, row["prediction_id"])
        assert self.tell(report._replace(intent_id=self.new_id()) if verb == "intend" else report)["result"] in ("stale", "ok")
        assert self.now.jobs[str(job_id)] == before.jobs[str(job_id)]

    # --- what the provider does

    @precondition(lambda self: self.provider.posts)
    @rule(number=index, arrives=st.booleans())
    def post_arrives_or_is_lost(self, number: int, arrives: bool) -> None:
        post = self.provider.posts[number % len(self.provider.posts)]
        if arrives:
            self.provider.land(post, self.clock)
        else:
            self.provider.posts.remove(post)
        if post.run.step == "sent":
            post.run.step = "unsure"
        self.check_money()

    @precondition(lambda self: any(one.status == "running" for one in self.provider.predictions))
    @rule(number=index, status=st.sampled_from(["done", "done", "failed", "aborted", "late"]))
    def prediction_ends(self, number: int, status: str) -> None:
        running = [one for one in self.provider.predictions if one.status == "running"]
        running[number % len(running)].status = status

    def teardown(self) -> None:
        """Every worker dies, all faults end: whatever is open comes to its end within a few claims."""
        if not hasattr(self, "now"):
            return
        self.runs.clear()
        self.provider.posts.clear()
        for _ in range(10):
            if all(row["state"] in FINAL for row in self.now.jobs.values()):
                break
            self.pass_time(650_000)
            self.sweep()
            self.claim(0, named=False, slots=3, choices=[])
            for run in [*self.runs]:
                for _ in range(8):
                    if run.looked_before and run.step == "looking":
                        self.pass_time(16_300)
                    go_on(self, run, 0)
            self.runs.clear()
        assert all(row["state"] in FINAL for row in self.now.jobs.values()), "a job is stuck"


def _as_row(answer) -> dict[str, object]:
    job = answer.job
    lease = "somebody" if job.leased else None
    return {"state": job.state, "epoch": job.epoch, "lease_worker": lease, "cancel_reason": job.end_asked or None}


@pytest.fixture(scope="module")
def machine(servers):
    """The machine's class, with a loop and a store that all examples share."""
    loop = uvloop.new_event_loop()
    with servers.database(servers.template) as url:
        database = Database(url, pool_size=1)
        event.listen(database.engine.sync_engine, "do_connect", connecting)
        # With next to no rest a job may be claimed again at once, as after any rest.
        store = Store(database, Timing(), max_attempts=4, time_scale=1e-9)
        Machine.loop, Machine.driver = loop, Driver(database, store, uuid4())
        loop.run_until_complete(prepare(Machine.driver))
        yield Machine
        loop.run_until_complete(database.close())
    loop.close()


def connecting(dialect: object, record: object, arguments: object, parameters: dict[str, Any]) -> None:
    """Planning is most of what these statements cost on a few rows: each is planned once, however long its text is."""
    parameters["max_cacheable_statement_size"] = 0
    parameters["server_settings"] = {**parameters["server_settings"], "plan_cache_mode": "force_generic_plan"}
    clock.connect_by_it(parameters)


async def prepare(driver: Driver) -> None:
    """The clock, a tenant and a lane."""
    await clock.install(driver.database)
    await set_rates(driver.database.engine, 0, 3000)
    await driver.add_tenant("main")
    driver.tenant = (await driver.database.fetch("SELECT id FROM tenants"))[0]["id"]


@pytest.mark.timeout(EXAMPLES * 10)
def test_whatever_happens_in_whatever_order_the_promises_hold(machine):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,  # a loaded machine is slow
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
            print_blob=True,
        ),
    )
