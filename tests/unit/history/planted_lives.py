"""How a job lives: I1, I2 and I6."""

from unit.history.plants import drop, plant
from unit.history.world import CANCELED, KILLED, PLAIN, World

# --- I1


@plant("I1", "a job that was answered with 202 does not exist")
def an_accepted_job_is_gone(world: World) -> None:
    evidence = world.evidence
    drop(evidence.jobs, lambda job: job["id"] == PLAIN)
    drop(evidence.events, lambda event: event["job_id"] == PLAIN)
    drop(evidence.keys, lambda key: key["job_id"] == PLAIN)
    drop(evidence.submissions, lambda row: row["job_id"] == PLAIN)


@plant("I1", "0 final events")
def a_job_never_ends(world: World) -> None:
    world.evidence.events.remove(world.events(PLAIN)[-1])
    world.job(PLAIN).update(state="submitted", finished_at=None)


@plant("I1", "2 final events")
def a_job_ends_twice(world: World) -> None:
    end = world.events(PLAIN)[-1]
    world.evidence.events.append({**end, "version": end["version"] + 1, "from_state": "succeeded", "to_state": "failed"})


@plant("I1", "and its final event says")
def the_row_and_its_last_event_disagree(world: World) -> None:
    world.job(PLAIN)["state"] = "failed"


@plant("I1", "a client was told")
def a_client_was_told_of_another_end(world: World) -> None:
    world.told("status", CANCELED)["job_status"] = "completed"


@plant("I1", "and was finished at")
def a_finished_job_has_no_time_of_its_end(world: World) -> None:
    world.job(PLAIN)["finished_at"] = None


@plant("I1", "there is no job to decide on")
def nothing_happened_at_all(world: World) -> None:
    world.evidence.jobs.clear()


# --- I2


@plant("I2", "happened at version")
def something_happens_after_the_end(world: World) -> None:
    end = world.events(CANCELED)[-1]
    world.evidence.events.append({**end, "version": end["version"] + 1, "from_state": "canceled", "to_state": "queued"})


@plant("I2", "a job ended at version")
def the_version_grows_after_the_end(world: World) -> None:
    world.job(PLAIN)["version"] += 1


@plant("I2", "a client was told")
def a_final_answer_is_taken_back(world: World) -> None:
    world.told("status", PLAIN)["job_status"] = "processing"


@plant("I2", "a client was told")
def the_outputs_change_after_the_end(world: World) -> None:
    world.told("status", PLAIN)["outputs"] = [[0, "other"]]


# --- I6


@plant("I6", "the epoch went from")
def an_epoch_goes_back(world: World) -> None:
    world.events(KILLED)[-1]["epoch"] = 1


@plant("I6", "the epoch went from")
def a_claim_does_not_raise_the_epoch(world: World) -> None:
    for event in [event for event in world.events(KILLED) if event["epoch"] == 2]:
        event["epoch"] = 1
    world.job(KILLED)["epoch"] = 1


@plant("I6", "the version did not grow")
def a_version_comes_twice(world: World) -> None:
    world.events(PLAIN)[2]["version"] -= 1


@plant("I6", "and left")
def an_event_is_missing(world: World) -> None:
    world.evidence.events.remove(world.events(PLAIN)[2])


@plant("I6", "no job may go from")
def a_job_skips_its_intent(world: World) -> None:
    events = world.events(PLAIN)
    world.evidence.events.remove(events[2])
    events[3]["from_state"] = "claimed"


@plant("I6", "succeeded with the object")
def a_stale_worker_completes_a_newer_epoch(world: World) -> None:
    world.job(KILLED)["outputs"][0]["object_key"] = f"out/{KILLED}/1/0.webp"


@plant("I6", "which its history does not lead to")
def the_row_is_older_than_its_history(world: World) -> None:
    world.job(PLAIN)["version"] -= 1


@plant("I6", "a job has no history")
def a_job_has_no_history(world: World) -> None:
    drop(world.evidence.events, lambda event: event["job_id"] == PLAIN)
