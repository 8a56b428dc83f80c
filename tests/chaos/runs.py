"""One run: jobs come by an armed failpoint, it strikes, and in the end every job is what it should be and was paid for once."""

import asyncio
import signal
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from chaos.failpoints import Failpoint, Fault, Way
from chaos.lane import Lane
from part import PartFailed
from waiting import until

Action = Literal["kill", "stop", "raise"]

LEASE_SECONDS = 30.0
STOPPED_LEASES = 1.5
PROMPTS = 72
"""How many pictures a run asks for at most until its failpoint is reached; one of four generators may be long in coming by it."""

PACE_SECONDS = 0.15
"""Between the first prompts: what comes together is rung for together, and one generator would take it all."""

BRISK = 12
"""So many prompts come at this pace, the others ten times as slowly."""

ALONE_SECONDS = 1.0
"""Between them where the process is frozen beyond the assumptions: one create is to be in it, and not several."""

EXAMPLES = 3
"""Jobs whose history a failure tells."""

FINAL = {"succeeded": "completed", "failed": "failed", "canceled": "canceled"}


@dataclass
class Run:
    """What is to happen at one failpoint, in one way of coming by it."""

    point: Failpoint
    way: Way
    action: Action
    ids: dict[str, list[str]] = field(default_factory=dict)
    """The jobs of each prompt."""
    reached_after: float = 0.0
    """Seconds from the first request."""
    over_after: float = 0.0
    """Seconds from the strike until every job had ended."""
    cancels: list[asyncio.Task[None]] = field(default_factory=list)
    """Cancels that are asked for until they are answered."""
    problems: list[str] = field(default_factory=list)
    """What went wrong."""

    @property
    def jobs(self) -> list[str]:
        """The ids of all of them."""
        return [job_id for ids in self.ids.values() for job_id in ids]

    def __str__(self) -> str:
        """The run's name."""
        return f"{self.action} {self.point.name} ({self.way.name})"

    @property
    def armed(self) -> str:
        """The value of MEDIAGEN_FAILPOINTS."""
        frozen = f"{self.way.frozen_at}=stop," if self.way.frozen_at else ""
        return f"{frozen}{self.point.name}={self.action}@{self.way.hit}"

    def prompt(self, number: int) -> str:
        """A prompt of this run and no other."""
        return f"{self} {id(self):x}-{number}."

    def faults(self, scale: float) -> list[Fault]:
        """The simulator's rules for the run's prompts: one for its way, or for each prompt where strikes are counted."""
        way = {"prompt": f"({self.way.name})"}
        lost: list[Fault] = [] if self.way.webhooks else [{"effect": "webhook_lost", "when": way}]
        if self.way.fault is None:
            return lost
        fault = dict(self.way.fault)
        for name in ("seconds", "retry_after"):
            if name in fault:
                fault[name] *= scale
        if self.way.strikes_each is None:
            return [*lost, {**fault, "when": way}]
        times = self.way.strikes_each * self.way.twins
        return [*lost, *({**fault, "times": times, "when": {"prompt": self.prompt(number)}} for number in range(PROMPTS))]


class Asking:
    """The client's side of a run: asks for one picture after the other until it is told to stop."""

    def __init__(self, run: Run, lane: Lane) -> None:
        self._run = run
        self._lane = lane
        self._posts: list[asyncio.Task[None]] = []
        self._going_on: asyncio.Task[None] | None = None

    def once(self) -> None:
        """Asks for one picture, once for each twin."""
        self._posts.append(asyncio.create_task(self._post(len(self._posts))))

    def go_on(self) -> None:
        """Asks on and on. Only one generator of several may miss a job; the other parts come by each of them."""
        pace = ALONE_SECONDS if self._run.way.frozen_at else PACE_SECONDS
        self._going_on = asyncio.create_task(self._ask(pace if self._run.point.part == "generator" else 20 * PACE_SECONDS))

    def stop(self) -> None:
        """Asks for nothing more; what was asked for is repeated until it is accepted."""
        if self._going_on is not None:
            self._going_on.cancel()

    async def accepted(self, seconds: float) -> list[str]:
        """The ids of all jobs that were asked for, once they are accepted; raises TimeoutError."""
        async with asyncio.timeout(seconds):
            await asyncio.gather(*self._posts)
        return self._run.jobs

    async def aclose(self) -> None:
        """Gives up."""
        self.stop()
        for post in self._posts:
            post.cancel()
        await asyncio.gather(*self._posts, return_exceptions=True)

    async def _ask(self, pace: float) -> None:
        while len(self._posts) < PROMPTS:
            self.once()
            await asyncio.sleep(pace if len(self._posts) < BRISK else 10 * pace)

    async def _post(self, number: int) -> None:
        prompt = self._run.prompt(number)
        keys = [str(uuid.uuid4()) for _ in range(self._run.way.twins)]
        self._run.ids[prompt] = await asyncio.gather(*[self._lane.post(prompt, key) for key in keys])


async def perform(run: Run, lane: Lane, name: str) -> None:
    """Does the run, with the part `name` armed. What is wrong is in the run's `problems`; the lane goes on in any case."""
    asking = Asking(run, lane)
    try:
        await _perform(run, lane, name, asking)
        await _judge(run, lane)
    except (AssertionError, TimeoutError, PartFailed) as error:
        run.problems.append(f"{type(error).__name__}: {error}")
        await _tell(run, lane, [job_id for job_id, state in (await lane.states(run.jobs)).items() if state not in FINAL])
    finally:
        lane.signal(name, signal.SIGCONT)
        await asking.aclose()
        for cancel in run.cancels:
            cancel.cancel()
        lane.beyond |= set(run.jobs if run.way.frozen_at else [])


async def _perform(run: Run, lane: Lane, name: str, asking: Asking) -> None:
    limit = 60 + 15 * LEASE_SECONDS * lane.scale  # generous: the machine may have much else to do
    if run.way.first:
        asking.once()
        await _until_state(lane, await asking.accepted(limit), {"submitted"}, limit)
    await lane.start_armed(name, run.armed)
    asked_at = time.monotonic()
    asking.go_on()
    if run.way.frozen_at:
        await until(lambda: lane.frozen(name), limit, what=f"the freezing of {name}")
        asking.stop()
        await _until_state(lane, await asking.accepted(limit), set(FINAL), limit)
        lane.signal(name, signal.SIGCONT)
    elif run.way.then:
        await _disturb(run, lane, name, asking, limit)
    await until(lambda: run.point.name in lane.reached(name), limit, what=f"coming by {run.point.name}")
    asking.stop()
    struck_at = time.monotonic()
    run.reached_after = struck_at - asked_at
    if run.action == "kill":
        await until(lambda: lane.died(name), limit, what=f"the death of {name}")
    elif run.action == "stop":
        await until(lambda: lane.frozen(name), limit, what=f"the freezing of {name}")
        await asyncio.sleep(STOPPED_LEASES * LEASE_SECONDS * lane.scale)
        lane.signal(name, signal.SIGCONT)
    await _until_state(lane, await asking.accepted(limit), set(FINAL), limit)
    run.over_after = time.monotonic() - struck_at
    await lane.ready(name)


async def _disturb(run: Run, lane: Lane, name: str, asking: Asking, limit: float) -> None:
    """Brings predictions that run to the failpoint."""
    victim = name if run.point.part == "generator" else "generator-1"
    offset = None if victim == name else lane.log_size(victim)

    def has_one_of_ours() -> bool:
        """Another run's job in its hands would do only where that has brought it to the failpoint already."""
        created = lane.logged(victim, "prediction.created", offset)
        return any(line["job_id"] in run.jobs for line in created) or (victim == name and run.point.name in lane.reached(name))

    await until(has_one_of_ours, limit, what=f"a prediction of {victim} for {run}")
    asking.stop()
    ids = await asking.accepted(limit)
    match run.way.then:
        case "cancel":
            await _until_state(lane, ids, {"submitted"}, limit)  # what is canceled before its create costs nothing
            run.cancels = [asyncio.create_task(lane.cancel(job_id)) for job_id in ids]
        case "drain":
            lane.signal(victim, signal.SIGTERM)
        case "crash":
            lane.signal(victim, signal.SIGKILL)


async def _until_state(lane: Lane, ids: list[str], wanted: set[str], limit: float) -> None:
    async def all_are() -> bool:
        return set((await lane.states(ids)).values()) <= wanted

    await until(all_are, limit, what=f"jobs that are {' or '.join(sorted(wanted))}")


async def _judge(run: Run, lane: Lane) -> None:
    """Every job ended as it should, and each prompt cost as many predictions as it should."""
    states = await lane.states(run.jobs)
    made = Counter(prediction["prompt"] for prediction in (await lane.client.ledger())["predictions"])
    expected = len(run.jobs) * run.way.creates + (1 if run.way.frozen_at else 0)
    suspects: list[str] = []
    for prompt, ids in run.ids.items():
        wrong = [job_id for job_id in ids if FINAL[states[job_id]] != run.way.status]
        if wrong:
            run.problems.append(f"not {run.way.status} but {[states[job_id] for job_id in wrong]}")
        if made[prompt] != len(ids) * run.way.creates and not run.way.frozen_at:
            run.problems.append(f"{made[prompt]} predictions were made where {len(ids) * run.way.creates} were to be")
            suspects += ids
        suspects += wrong
    if (total := sum(made[prompt] for prompt in run.ids)) != expected:
        run.problems.append(f"{total} predictions in all, and not {expected}")
    await _tell(run, lane, list(dict.fromkeys(suspects)))


async def _tell(run: Run, lane: Lane, ids: list[str]) -> None:
    """Adds the history of the first of these jobs to what went wrong."""
    for job_id in ids[:EXAMPLES]:
        run.problems += [f"job {job_id}:", *await lane.events(job_id)]
