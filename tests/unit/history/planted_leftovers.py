"""What is left behind: I9, I11 and I12."""

from unit.history.plants import STRANGER, drop, plant
from unit.history.world import LOST, PLAIN, QUEUE, World, bell

# --- I9


@plant("I9", "a job is still")
def a_job_stays_unknown(world: World) -> None:
    world.job(LOST)["state"] = "unknown"


@plant("I9", "a job is still held by worker")
def a_lease_is_left(world: World) -> None:
    world.job(PLAIN)["lease_worker"] = STRANGER


@plant("I9", "that nobody acked")
def a_bell_is_left(world: World) -> None:
    world.evidence.queues[0]["ready"] = 1


@plant("I9", "that nobody acked")
def a_message_is_never_acknowledged(world: World) -> None:
    world.evidence.queues[0]["unacked"] = 1


@plant("I9", "consumers, and")
def a_consumer_is_gone_and_its_generator_is_not(world: World) -> None:
    world.evidence.queues[0]["consumers"] = 1


@plant("I9", "the queue is gone")
def the_queue_is_gone(world: World) -> None:
    drop(world.evidence.queues, lambda queue: queue["name"] == QUEUE)


@plant("I9", "holds a bell for a job that does not exist")
def a_dead_letter_of_an_unknown_job(world: World) -> None:
    world.evidence.queues[1]["bodies"].append(bell(STRANGER))


@plant("I9", "holds a message that is none of ours")
def a_dead_letter_that_is_no_bell(world: World) -> None:
    world.evidence.queues[1]["bodies"].append("Ly8vLw==")


# --- I11


@plant("I11", "holds the prompt of a job, 1 times")
def a_prompt_is_logged(world: World) -> None:
    world.evidence.leaks.append({"where": "jobs.log", "what": "the prompt of a job", "line": "{}"})


@plant("I11", "no log was searched")
def nothing_was_searched(world: World) -> None:
    world.evidence.logs_read = 0


# --- I12


@plant("I12", "grew from")
def memory_grows(world: World) -> None:
    world.vital("jobs", 900 << 20, 40, 9)


@plant("I12", "to 400 descriptors")
def descriptors_leak(world: World) -> None:
    world.vital("generator-1", 110 << 20, 400, 9)


@plant("I12", "to 200 connections")
def connections_leak(world: World) -> None:
    world.vital("gateway", 110 << 20, 40, 200)


@plant("I12", "PostgreSQL has")
def sessions_leak(world: World) -> None:
    world.evidence.vitals[-1]["sessions"] = 90


@plant("I12", "sessions are idle in a transaction, the oldest of all")
def a_transaction_is_left_open(world: World) -> None:
    world.evidence.vitals[-1].update(in_transaction=1, oldest_transaction=60.0)


@plant("I12", "no process was looked at")
def nobody_looked_at_the_processes(world: World) -> None:
    world.evidence.vitals.clear()
