"""What clients are told: I7 and I8."""

from unit.history.plants import STRANGER, drop, plant
from unit.history.world import KILLED, PLAIN, REPEATED, World

# --- I7


@plant("I7", "was answered with")
def a_repeated_request_makes_a_second_job(world: World) -> None:
    world.told("create", PLAIN, key="twice", prompt="a plain fox", status=202)


@plant("I7", "a job is recorded with")
def a_job_without_a_key(world: World) -> None:
    drop(world.evidence.keys, lambda key: key["job_id"] == REPEATED)


@plant("I7", "was answered with")
def a_lost_answer_left_a_second_job(world: World) -> None:
    world.accept(STRANGER, "a repeated fox", key="twice")


@plant("I7", "nobody sent the key")
def a_key_that_nobody_sent(world: World) -> None:
    world.evidence.keys[0]["key"] = "invented"


@plant("I7", "and got a job for another prompt")
def a_client_gets_the_job_of_another(world: World) -> None:
    world.told("create", PLAIN, key=f"key-of-{PLAIN}", prompt="another fox", status=202)


@plant("I7", "is recorded with another job than it was answered with")
def a_key_is_recorded_with_another_job(world: World) -> None:
    mine, other = world.evidence.keys[:2]
    mine["job_id"], other["job_id"] = other["job_id"], mine["job_id"]


# --- I8


@plant("I8", "was told, and later version")
def a_read_goes_back_in_time(world: World) -> None:
    world.told("status", PLAIN).update(version=3, job_status="processing")


@plant("I8", "a watch showed the versions")
def a_watch_shows_a_version_twice(world: World) -> None:
    note = world.told("watch", KILLED, stream=1)
    note["version"] -= 3
    note["job_status"] = "processing"


@plant("I8", "a watch was closed at version")
def a_watch_is_closed_before_the_end(world: World) -> None:
    drop(world.evidence.told, lambda note: note["kind"] == "watch" and note.get("closed"))
    next(note for note in world.evidence.told if note["kind"] == "watch")["closed"] = True


@plant("I8", "a watch went on after a final version")
def a_watch_goes_on_after_the_end(world: World) -> None:
    for note in world.evidence.told:
        if note["kind"] == "watch":
            note["job_status"] = "completed"


@plant("I8", "was told at version")
def a_status_is_told_that_was_never_true(world: World) -> None:
    note = next(note for note in world.evidence.told if note["kind"] == "status" and note["job_status"] == "processing")
    note["job_status"] = "pending"


@plant("I8", "was told of a job at version")
def a_version_is_told_that_never_was(world: World) -> None:
    world.told("status", PLAIN)["version"] += 1


@plant("I8", "no client was told how a job ended")
def nobody_is_told_of_an_end(world: World) -> None:
    drop(world.evidence.told, lambda note: note.get("job") == PLAIN and note.get("job_status") == "completed")
