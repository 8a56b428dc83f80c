"""What lies in the bucket: I5 and I10."""

from unit.history.plants import STRANGER, drop, plant
from unit.history.world import PLAIN, World

# --- I5


@plant("I5", "does not exist")
def an_object_is_missing(world: World) -> None:
    drop(world.evidence.objects, lambda row: PLAIN in row["key"])


@plant("I5", "are not those of its sha256")
def an_object_holds_other_bytes(world: World) -> None:
    next(row for row in world.evidence.objects if PLAIN in row["key"])["sha256"] = "other"


@plant("I5", "bytes instead of")
def an_object_is_cut_short(world: World) -> None:
    next(row for row in world.evidence.objects if PLAIN in row["key"])["size"] -= 1


@plant("I5", "the provider never sent the bytes of")
def half_a_picture_is_stored_in_good_faith(world: World) -> None:
    for row in (next(row for row in world.evidence.objects if PLAIN in row["key"]), world.job(PLAIN)["outputs"][0]):
        row["sha256"] = "half"


@plant("I5", "files that the provider sent are no output of the job")
def a_file_of_the_prediction_is_not_stored(world: World) -> None:
    world.prediction(f"p-{PLAIN[-2:]}-1")["files"]["out-1.webp"] = {"size": 3, "sha256": "second"}


@plant("I5", "a client read other bytes of output")
def a_client_reads_other_bytes(world: World) -> None:
    world.told("media", PLAIN, index=0, sha256="other")


@plant("I5", "a client who read output")
def a_client_cannot_read_its_picture(world: World) -> None:
    world.told("media", PLAIN, index=0, status=404)


@plant("I5", "a client was told another sha256 than that of the row")
def a_client_is_told_another_sha256(world: World) -> None:
    world.told("status", PLAIN)["outputs"] = [[0, "other"]]


@plant("I5", "a job succeeded without an output")
def a_job_succeeds_with_nothing(world: World) -> None:
    world.job(PLAIN)["outputs"] = []


# --- I10


@plant("I10", "belongs to no job")
def an_object_of_an_unknown_job(world: World) -> None:
    world.evidence.objects.append({"key": f"out/{STRANGER}/1/0.webp", "size": 1, "sha256": "x"})


@plant("I10", "is of an epoch that its job never had")
def an_object_of_an_epoch_to_come(world: World) -> None:
    world.evidence.objects.append({"key": f"out/{PLAIN}/7/0.webp", "size": 1, "sha256": "x"})


@plant("I10", "has a name that no job gives")
def an_object_with_a_strange_name(world: World) -> None:
    world.evidence.objects.append({"key": "out/../../etc/passwd", "size": 1, "sha256": "x"})
