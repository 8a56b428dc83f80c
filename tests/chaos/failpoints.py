"""Every failpoint of the services: what has happened when it is reached, what has not, and how jobs are made to come by it.

tests/unit/test_failpoints.py holds this table and the names in services/ together.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

Fault = dict[str, Any]
"""A rule of the simulator; times in it are those of the protocol at its real pace."""


@dataclass(frozen=True)
class Way:
    """What is asked of the system so that it comes by a failpoint."""

    name: str
    fault: Fault | None = None
    """Strikes the predictions of the run's prompts."""
    strikes_each: int | None = None
    """How often it strikes a prompt, for each job that asks for it; None is every time."""
    status: Literal["completed", "failed", "canceled"] = "completed"
    """How every job has to end."""
    creates: int = 1
    """Predictions that each job has to cost: no more, and no fewer."""
    webhooks: bool = False
    """Webhooks arrive. Elsewhere all of them are lost, as they would tell what a fault hides."""
    then: Literal["", "cancel", "drain", "crash"] = ""
    """Once predictions run: the jobs' end is asked for, a generator gets SIGTERM, a generator gets SIGKILL."""
    first: bool = False
    """Jobs are at work before the failpoint is armed."""
    twins: int = 2
    """Jobs that ask for the very same picture: what is looked up for one may be the other's."""
    hit: int = 1
    """At which time of coming by it strikes."""
    frozen_at: str = ""
    """A failpoint where the process is frozen first, until every job has ended elsewhere: the prediction that it had made then is
    nobody's. The list hides it for longer than it may, as no fault within the assumptions brings this about."""


RUNS_LONG: Fault = {"effect": "prediction_duration", "seconds": 30}

PLAIN = Way("plain")
SWEPT = replace(PLAIN, hit=10)
STREAMED = Way("a file of many pieces", {"effect": "file_big", "size": 1 << 20}, hit=4)
LATE = Way("the answer comes late", {"effect": "create_late", "seconds": 10})
LOST = Way("the answer is lost", {"effect": "create_reset", "accepted": True})
FOUND = replace(LOST, name="the answer is lost, at a second look", twins=1, hit=2)
TOLD = replace(LOST, name="the answer is lost, and a webhook tells", webhooks=True)
NOTED = replace(PLAIN, name="webhooks", webhooks=True)
RULED_OUT = Way("nothing was made, at a second look", {"effect": "create_reset", "accepted": False}, 1, twins=1, hit=2)
THROTTLED = Way("429", {"effect": "create_answer", "answer": "throttled_about", "retry_after": 10}, 1)
REJECTED = Way("422", {"effect": "create_answer", "answer": "invalid_input"}, status="failed", creates=0)
RETRIED = Way(
    "the prediction fails once",
    {"effect": "prediction_ends", "status": "failed", "error": "Prediction interrupted; please retry (code: PA)"},
    1,
    creates=2,
)
FAILED = Way("the prediction fails", {"effect": "prediction_ends", "status": "failed", "error": "NSFW (E005)"}, status="failed")
HELD = Way("jobs are held", RUNS_LONG, first=True)
HELD_LATER = Way("jobs are held", RUNS_LONG, hit=5)
CANCELED = Way("the jobs are canceled", {"effect": "prediction_duration", "seconds": 400}, status="canceled", then="cancel")
DRAINED = Way("a generator drains", RUNS_LONG, then="drain")
CRASHED = Way("a generator dies", RUNS_LONG, then="crash")
ORPHANED = Way(
    "the answer comes after the create was ruled out", {"effect": "list_lag", "seconds": 3000}, twins=1,
    frozen_at="generator.create.answered",
)  # fmt: skip


@dataclass(frozen=True)
class Failpoint:
    """One instant at which a process may die, with an effect that is done or still to be done."""

    name: str
    """part.what.when; the part is the service that it is in."""
    done: str
    """What has happened by then."""
    open: str
    """What has not."""
    ways: tuple[Way, ...]
    """How it is reached; one pass takes the first."""

    @property
    def part(self) -> str:
        """The service."""
        return self.name.partition(".")[0]


def _at(name: str, done: str, to_do: str, *ways: Way) -> Failpoint:
    return Failpoint(name, done, to_do, ways or (PLAIN,))


FAILPOINTS = (
    # --- accepting
    _at("gateway.create.received", "a request for a job was read", "jobs was not asked"),
    _at("gateway.create.accepted", "jobs committed the job and said so", "the client has no answer"),
    _at("jobs.create.received", "requests wait for one commit, and credit was taken for them", "nothing is committed"),
    _at("jobs.create.committed", "the jobs are committed", "no worker knows of them, nobody was rung for, nobody has an answer"),
    _at("jobs.create.accepted", "the job is committed and handed to its worker, or to the bell", "the gateway has no answer"),
    _at("jobs.cancel.received", "a cancel was read", "nothing is committed", CANCELED),
    _at("jobs.cancel.committed", "the cancel is committed", "the client has no answer", CANCELED),
    # --- beginning what is accepted, in slots that are held out
    _at("jobs.offer.granted", "jobs were begun by the commit that accepted them", "their worker does not know of them"),
    _at("generator.offer.granted", "a worker was told of jobs that have begun", "nobody works on them"),
    # --- ringing for what was not, as what comes a second time
    _at("jobs.bell.publishing", "the jobs count as rung for", "nothing is published", THROTTLED),
    _at("jobs.bell.published", "the message is out", "RabbitMQ has not confirmed it", THROTTLED),
    _at("jobs.bell.confirmed", "RabbitMQ confirmed the message", "it is not counted", THROTTLED),
    _at("jobs.relay.rung", "due jobs are committed as rung for", "nothing is published", THROTTLED),
    _at("generator.bell.received", "a message came", "nothing is claimed or acknowledged", THROTTLED),
    # --- claiming
    _at("jobs.claim.received", "a claim was read", "nothing is leased", THROTTLED),
    _at("jobs.claim.committed", "the lease and its intent are committed", "the generator does not know of them", THROTTLED),
    _at("generator.claim.granted", "the answer to a claim came", "nobody works on it, the message is not acknowledged", THROTTLED),
    _at("generator.claim.taken", "work on the granted jobs has begun", "the message is not acknowledged", THROTTLED),
    _at("generator.bell.acknowledged", "the message is gone", "nothing is created", THROTTLED),
    # --- creating
    _at("generator.create.intended", "the generator has leave to send", "whether it is still in time was not looked at"),
    _at("generator.create.sending", "it is in time", "not a byte is out"),
    _at("generator.create.sent", "the request is out, and paid for", "no answer came", LATE),
    _at("generator.create.answered", "the prediction's id is known here", "it is recorded nowhere"),
    _at("jobs.prediction.received", "the id was read", "it is not committed"),
    _at("jobs.prediction.committed", "the id is committed", "the generator does not know that it is"),
    _at("generator.create.recorded", "the generator knows that the id is recorded", "nobody follows it"),
    _at("generator.create.refused", "Replicate refused", "it is not recorded", THROTTLED, REJECTED),
    _at("jobs.refusal.received", "a refusal was read", "it is not committed", THROTTLED, REJECTED),
    _at("jobs.refusal.committed", "the refusal is committed", "the generator has no answer", THROTTLED, REJECTED),
    _at("generator.create.refusal_recorded", "the refusal is recorded", "the slot is not free", THROTTLED, REJECTED),
    _at("generator.create.lost", "the answer to a create was lost", "it is not recorded", LOST),
    _at("jobs.unknown.received", "a lost create was read", "it is not committed", LOST),
    _at("jobs.unknown.committed", "the lost create is committed", "the generator has no answer", LOST),
    _at("generator.create.loss_recorded", "the lost create is recorded", "the slot is not free", LOST),
    # --- looking a lost create up
    _at("generator.lookup.read", "the list was read for a lost create", "nothing is reported", FOUND, RULED_OUT, LOST),
    _at("jobs.lookup.received", "what the list showed was read", "it is not committed", FOUND, RULED_OUT, LOST),
    _at("jobs.lookup.committed", "what the list showed is committed", "the generator has no answer", FOUND, RULED_OUT, LOST),
    _at("generator.lookup.reported", "what the list showed is recorded", "nobody acts on it", FOUND, RULED_OUT, LOST),
    # --- hearing from Replicate
    _at("gateway.webhook.verified", "a webhook is believed", "jobs was not told", TOLD, NOTED),
    _at("jobs.webhook.stored", "what a webhook said is committed", "it is not acted on, Replicate has no answer", TOLD, NOTED),
    # --- following and storing
    _at("generator.prediction.ended", "the end of a prediction was seen", "nothing is stored"),
    _at("generator.prediction.canceling", "a cancel reached the generator", "Replicate does not know", CANCELED),
    _at("generator.prediction.canceled", "Replicate canceled the prediction", "jobs does not know", CANCELED),
    _at("generator.output.downloading", "a part of an output came", "the rest did not", replace(STREAMED, hit=2)),
    _at("generator.output.uploading", "a part of an output is with the bucket", "the rest is not", STREAMED),
    _at("generator.output.sent", "the bucket has an output", "its size was not checked"),
    _at("generator.job.stored", "all outputs are stored", "the job is not complete"),
    _at("jobs.complete.received", "a completion was read", "it is not committed"),
    _at("jobs.complete.committed", "the job has completed", "the generator has no answer"),
    _at("generator.job.completed", "the generator knows that the job has completed", "the slot is not free"),
    _at("generator.job.failing", "a prediction came to nothing", "it is not reported", RETRIED, FAILED),
    _at("jobs.fail.received", "a failure was read", "it is not committed", RETRIED, FAILED),
    _at("jobs.fail.committed", "the failure is committed", "the generator has no answer", RETRIED, FAILED),
    _at("generator.job.failed", "the failure is recorded", "the slot is not free", RETRIED, FAILED),
    _at("generator.orphan.canceling", "a prediction that no job can have is known", "Replicate does not know", ORPHANED),
    _at("generator.orphan.canceled", "Replicate canceled it", "the slot is not free", ORPHANED),
    # --- living, leaving and dying
    _at("generator.heartbeat.sending", "a heartbeat is due", "it is not sent", HELD_LATER),
    _at("jobs.heartbeat.received", "a heartbeat was read", "no lease is extended", HELD),
    _at("jobs.heartbeat.committed", "leases are extended", "the generator does not know", HELD),
    _at("generator.heartbeat.answered", "a heartbeat was answered", "nothing is done about it", HELD_LATER),
    _at("generator.drain.began", "nothing new is begun", "nothing is given back", DRAINED),
    _at("jobs.release.received", "jobs that are given back were read", "nothing is committed", DRAINED),
    _at("jobs.release.committed", "the jobs are given back", "the generator has no answer", DRAINED),
    _at("generator.drain.released", "everything is given back", "the worker has not said goodbye", DRAINED),
    _at("jobs.sweep.began", "it is time to look for what time has ended", "nothing is ended", SWEPT),
    _at("jobs.sweep.committed", "leases that lapsed are ended", "the relay was not woken", CRASHED),
)
"""In the order of a job's life."""
