"""What a run does next, as the generator does it: one function for each step. A choice decides where several things may happen."""

from collections.abc import Callable

from properties.bench import Bench
from properties.provider import LANDS_WITHIN, Post, Run, outputs


def granted(bench: Bench, run: Run, choice: int) -> None:
    run.intent, run.intended_at = bench.new_id(), bench.clock
    if bench.report(run, "intend", intent_id=run.intent)["result"] == "ok":
        run.step = "intended"
    else:
        bench.done(run)


def intended(bench: Bench, run: Run, choice: int) -> None:
    assert run.intent
    if choice == 7 or bench.clock > run.intended_at + 5:
        run.step = "unsent"
    else:
        bench.provider.posts.append(Post(run, run.intent, run.prompt, choice > 4, run.intended_at + LANDS_WITHIN))
        run.step = "sent"


def sent(bench: Bench, run: Run, choice: int) -> None:
    post = next((one for one in bench.provider.posts if one.run is run), None)
    if post is None or choice in (5, 7):
        run.step = "unsure"  # it may be on its way still
    elif choice == 6:
        bench.provider.posts.remove(post)
        run.step = "refused"
    else:
        run.prediction = bench.provider.land(post, bench.clock).id
        run.step = "unsure" if choice in (3, 4) else "answered"
        bench.check_money()


def answered(bench: Bench, run: Run, choice: int) -> None:
    assert run.prediction
    before = bench.now
    result = bench.report(run, "created", intent_id=run.intent, prediction_ids=run.prediction)["result"]
    if result == "ok":
        run.step = "following"
        return
    if result == "orphan":
        made = bench.provider.get(run.prediction)
        equal = [row for row in before.jobs.values() if row["prompt"] == run.prompt]
        assert all(row["prediction_id"] != made.id for row in equal), "a bound prediction is called an orphan"
        assert not any(row["state"] in ("submitting", "unknown") for row in equal), "it may be what an equal job looks for"
        made.status = "canceled" if made.status == "running" else made.status
    bench.done(run)


def refused(bench: Bench, run: Run, choice: int) -> None:
    bench.report(run, ["rate_limit", "account", "reject"][choice % 3], intent_id=run.intent, code="refused")
    bench.done(run)


def unsent(bench: Bench, run: Run, choice: int) -> None:
    bench.report(run, "not_sent", intent_id=run.intent)
    bench.done(run)


def unsure(bench: Bench, run: Run, choice: int) -> None:
    bench.report(run, "lost", intent_id=run.intent)
    bench.done(run)


def looking(bench: Bench, run: Run, choice: int) -> None:
    run.seen, run.marked = bench.provider.list(run.prompt, bench.now.jobs[str(run.job_id)]["intent_id"])
    run.step = "looked"


def looked(bench: Bench, run: Run, choice: int) -> None:
    verb = "unreadable" if choice == 7 else "found" if run.seen else "empty"
    ids = ",".join(run.seen) if verb == "found" else None
    row = bench.report(run, verb, prediction_ids=ids, marked=run.marked, lookup_begun_at=run.begun)
    if row["result"] in ("too_early", "taken"):
        begun = row["lookup_begun_at"] or 0
        assert begun > run.begun, "the next look-up begins when this one did"
        run.begun, run.step, run.looked_before = begun, "looking", True
    elif row["result"] == "ok" and row["state"] == "submitted":
        run.prediction, run.step = row["prediction_id"], "following"
    else:
        bench.done(run)


def following(bench: Bench, run: Run, choice: int) -> None:
    assert run.prediction
    prediction, job = bench.provider.get(run.prediction), bench.now.jobs[str(run.job_id)]
    to_end = job["cancel_requested_at"] is not None and job["epoch"] == run.epoch
    if prediction.status == "running":
        prediction.status = "canceled" if to_end else "done" if choice < 6 else "failed"
    elif to_end:
        bench.end(run, "canceled")
    elif prediction.status == "done":
        bench.end(run, "complete", **outputs(prediction.id))
    else:
        transient = "retry" if choice % 2 else "fail"
        bench.end(run, {"failed": transient, "aborted": "aborted"}.get(prediction.status, "canceled"))


_STEPS = [granted, intended, sent, answered, refused, unsent, unsure, looking, looked, following]
_BY_NAME: dict[str, Callable[[Bench, Run, int], None]] = {step.__name__: step for step in _STEPS}


def go_on(bench: Bench, run: Run, choice: int) -> None:
    """Does the run's next step, unless it is done."""
    if run in bench.runs:
        _BY_NAME[run.step](bench, run, choice)
