"""Rows a, e and j: how many jobs are accepted and read a second, and what one costs where there is little to do."""

from bench.load import Load
from bench.measure import answered, begun, low_rates, posting, warm
from bench.ours import TENANTS
from bench.records import Sample
from bench.run import WARM_UP_SECONDS, Run
from bench.settings import PEERS
from bench.subjects import STATUS_PATH, Subject, Workers

DISTINCT_IDS = 5000
"""Jobs that are read in turn: one job alone would flatter whatever reads equal ids together."""

CLIENTS = (1, 64, 256)

ONE_CLIENT = "1 client, worked on"
"""The quiet hour's line."""


async def row_a(run: Run) -> None:
    """Accepted jobs a second, each with its durable commit. Nobody works meanwhile, so that accepting is all that is measured."""
    peers = await run.beside(*PEERS, every_form=True)

    for clients in CLIENTS:
        what = _what(clients, 1)
        subjects: list[Subject] = [run.rig.ours, *peers]
        await run.by_turns("a", what, "jobs/s", subjects, lambda subject, clients=clients: accepts(run, subject, clients))
        if clients > 1:
            tenants = _what(clients, TENANTS)
            await run.by_turns(
                "a", tenants, "jobs/s", [run.rig.ours], lambda subject, clients=clients: accepts(run, subject, clients, TENANTS)
            )


async def accepts(run: Run, subject: Subject, clients: int, keys: int = 1) -> Sample:
    """Posts of so many clients with so many keys, on a clean table, while nobody works."""
    await subject.working(None)
    await subject.clean()
    return await answered(run, subject, posting(run, subject, clients, keys))


def _what(clients: int, keys: int) -> str:
    return f"{clients} client{'s' if clients > 1 else ''}, {'one key' if keys == 1 else f'{keys} tenants'}"


async def row_e(run: Run) -> None:
    """Reads of a job's status a second, of different jobs."""
    peers = await run.beside("first_design", every_form=True)

    await run.by_turns("e", "64 clients", "reads/s", [run.rig.ours, *peers], lambda subject: reads(run, subject))


async def reads(run: Run, subject: Subject) -> Sample:
    """Reads of 64 clients, while nobody works."""
    await subject.working(None)
    await subject.clean()
    paths = [STATUS_PATH + job_id for job_id in await subject.finished_ids(DISTINCT_IDS)]
    timed = {"seconds": run.settings.seconds, "warm_up": WARM_UP_SECONDS}
    load = Load(subject.port, paths, keys=subject.keys[:1], clients=64, further_ports=subject.further_ports, **timed)
    return await answered(run, subject, load)


async def one_client(run: Run, subject: Subject) -> Sample:
    """Posts that follow each other, while their jobs are worked on."""
    await warm(run, subject, Workers())
    return await answered(run, subject, posting(run, subject, clients=1))


async def row_j(run: Run) -> None:
    """What a job costs in a quiet hour: posts one after the other, and jobs that are completed at low rates."""
    peers = await run.beside("first_design")
    subjects: list[Subject] = [run.rig.ours, *peers]
    await run.by_turns("j", ONE_CLIENT, "jobs/s", subjects, lambda subject: one_client(run, subject))
    for what, rate in low_rates(run):

        async def quietly(subject: Subject, rate: float = rate) -> Sample:
            return await begun(run, subject, Workers(), rate)

        await run.by_turns("j", what, "ms to start", subjects, quietly)
