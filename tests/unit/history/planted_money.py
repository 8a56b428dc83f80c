"""What was paid: I3 and I4."""

from unit.history.plants import STRANGER, plant
from unit.history.world import CANCELED, KILLED, LOST, OTHER_TWIN, PLAIN, RETRIED, TWIN, World, iso

# --- I3


@plant("I3", "predictions that live or were paid for")
def a_lost_create_is_repeated(world: World) -> None:
    world.predict("again", "a lost fox")
    world.end("again", "succeeded")


@plant("I3", "predictions that live or were paid for")
def a_second_prediction_was_canceled_but_ran(world: World) -> None:
    world.predict("again", "a plain fox")
    world.prediction("again")["completed_at"] = iso(world.now + 9)
    world.prediction("again").update(status="canceled", canceled_by_client=True)


@plant("I3", "predictions that live or were paid for")
def three_predictions_for_two_twins(world: World) -> None:
    world.predict("again", "a twin fox")
    world.end("again", "succeeded")


@plant("I3", "jobs lived at once")
def a_retry_begins_before_the_failure_is_known(world: World) -> None:
    world.prediction(f"p-{RETRIED[-2:]}-1")["completed_at"] = iso(world.now + 9)


@plant("I3", "was authorised 2 times")
def an_attempt_is_authorised_twice(world: World) -> None:
    world.evidence.submissions.append({**world.submission(PLAIN), "state": "failed", "prediction_id": None})


@plant("I3", "of at most 4 was authorised")
def more_attempts_than_allowed(world: World) -> None:
    world.submission(PLAIN)["attempt"] = 5


@plant("I3", "0 jobs have 1 predictions")
def a_prediction_that_nobody_asked_for(world: World) -> None:
    world.predict("stranger", "a stranger's fox")
    world.end("stranger", "succeeded")


# --- I4


@plant("I4", "no job knows of prediction")
def a_prediction_is_bound_to_nobody(world: World) -> None:
    world.submission(LOST)["prediction_id"] = None


@plant("I4", "is still processing")
def a_prediction_still_runs(world: World) -> None:
    world.prediction(f"p-{CANCELED[-2:]}-1").update(status="processing", completed_at=None)


@plant("I4", "is recorded 2 times")
def one_prediction_serves_two_jobs(world: World) -> None:
    world.submission(OTHER_TWIN)["prediction_id"] = world.submission(TWIN)["prediction_id"]


@plant("I4", "is recorded and was never made")
def a_recorded_prediction_was_never_made(world: World) -> None:
    world.submission(PLAIN)["prediction_id"] = "invented"


@plant("I4", "a job succeeded with prediction")
def a_prediction_of_another_request_is_bound(world: World) -> None:
    one, other = world.submission(PLAIN), world.submission(KILLED)
    one["prediction_id"], other["prediction_id"] = other["prediction_id"], one["prediction_id"]


@plant("I4", "was made for another request")
def another_model_was_paid(world: World) -> None:
    world.prediction(f"p-{PLAIN[-2:]}-1")["model"] = "black-forest-labs/flux-dev"


@plant("I4", "succeeded and was paid for, and its job is")
def a_paid_result_is_dropped(world: World) -> None:
    world.job(PLAIN).update(state="failed", error_code="model_error")


@plant("I4", "is recorded as succeeded and has")
def a_failed_prediction_is_recorded_as_good(world: World) -> None:
    world.prediction(f"p-{PLAIN[-2:]}-1")["status"] = "failed"


@plant("I4", "is recorded as failed and has canceled")
def a_canceled_prediction_is_recorded_as_failed(world: World) -> None:
    world.prediction(f"p-{RETRIED[-2:]}-1")["status"] = "canceled"


@plant("I4", "lived on after its job was")
def a_prediction_outlives_its_canceled_job(world: World) -> None:
    world.prediction(f"p-{CANCELED[-2:]}-1")["completed_at"] = iso(world.now + 60)


@plant("I4", "was left as")
def an_attempt_stays_unknown(world: World) -> None:
    world.submission(LOST)["state"] = "unknown"


@plant("I4", "belongs to no job")
def an_attempt_of_no_job(world: World) -> None:
    world.evidence.submissions.append({**world.submission(PLAIN), "job_id": STRANGER, "prediction_id": None})


@plant("I4", "creates and lists")
def the_ledger_counts_more_than_it_lists(world: World) -> None:
    world.evidence.ledger["creates"] += 1


@plant("I4", "is recorded as aborted and has")
def a_failed_prediction_is_given_for_free(world: World) -> None:
    next(row for row in world.evidence.submissions if row["state"] == "failed")["state"] = "aborted"
