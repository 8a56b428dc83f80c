"""`make up`, `make down` and `make status`: which part starts after which, and what a person sees of it."""

import re
import time

from rich.console import Console
from rich.table import Table

from instance import BUCKET, STATE, STOP_ORDER, Instance, end_strays, found, generator_numbers, started_names
from part import POLL_SECONDS, READY_SECONDS, Part, stop_together
from ports import PORTS, remembered

GENERATORS = 2
TENANT = "demo"


def up(console: Console, generators: int | None) -> Instance:
    """Start what does not run and wait until all of it is ready.

    Without a number there stay as many generators as there are, or GENERATORS of them where there are none. Raises
    PartFailed, PortRefused.
    """
    instance = Instance()
    numbers = generator_numbers()
    wanted = generators if generators is not None else (numbers[-1] if numbers else GENERATORS)
    surplus = [f"generator-{number}" for number in numbers if number > wanted]
    if instance.replicate_token and "simulator" in started_names():
        surplus.append("simulator")
    if surplus:
        _stop(console, surplus)
    began = time.monotonic()
    _start_servers(console, instance)
    services = instance.services
    jobs = services.jobs()
    if jobs.pid() is None:
        with console.status("bringing the database to the current schema"):
            services.migrate()
    if not instance.credentials.api_key:
        with console.status("making an API key"):
            instance.credentials.api_key = services.create_key(TENANT, "make")
    generator_parts = [services.generator(number + 1) for number in range(wanted)]
    _start(console, [jobs, services.gateway(), *generator_parts], [instance.rabbitmq])
    instance.write_env()
    provider = "Replicate" if instance.replicate_token else f"the simulator at {instance.simulator_url}"
    plural = "" if wanted == 1 else "s"
    seconds = time.monotonic() - began
    console.print(
        f"mediagen runs at {instance.url} with {wanted} generator{plural} on {provider} ({seconds:.1f} s)", highlight=False
    )
    console.print("a shell reads .local/env; make down ends the system", highlight=False)
    return instance


def down(console: Console) -> None:
    """End everything that runs; the data stays."""
    names = started_names()
    _stop(console, names)
    end_strays()
    console.print("mediagen is down; its data is kept" if names else "nothing runs", highlight=False)


def status(console: Console) -> None:
    """Show every part that was started: whether it lives, where it listens, where it logs."""
    names = started_names()
    if not names:
        console.print("nothing runs; make up starts the system")
        return
    table = Table("part", "process", "ports", "log", box=None, pad_edge=False)
    chosen = remembered(STATE / "ports.json")
    for name in names:
        part = found(name)
        pid = part.pid()
        ports = [str(port) for setting, port in chosen.items() if _part_of(setting) == name]
        log = part.log_file.relative_to(STATE.parent)
        table.add_row(name, str(pid) if pid else "[red]gone[/red]", " ".join(ports), str(log))
    console.print(table)


def _start_servers(console: Console, instance: Instance) -> None:
    """Start what the services stand on. RabbitMQ takes longest, and nobody has to wait for it."""
    instance.epmd.start()
    instance.epmd.wait()
    instance.rabbitmq.start()
    servers: list[Part] = [instance.s3, instance.postgresql]
    if not instance.replicate_token:
        servers.append(instance.services.simulator())
    instance.s3.make_bucket(BUCKET)
    if instance.postgresql.is_new():
        instance.credentials.api_key = ""  # of a database that is gone
    _start(console, servers)


def _start(console: Console, parts: list[Part], others: list[Part] | None = None) -> None:
    """Start these parts and wait until they, and the others that were started before, are ready."""
    for part in parts:
        part.start()
    pending = [*parts, *(others or [])]
    deadline = time.monotonic() + READY_SECONDS
    with console.status("") as waiting:
        while pending:
            waiting.update(f"waiting for {', '.join(part.name for part in pending)}")
            for part in [part for part in pending if part.check()]:
                pending.remove(part)
                _report(console, part)
            if pending and time.monotonic() > deadline:
                raise pending[0].failure(f"was not ready within {READY_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS if pending else 0)


def _report(console: Console, part: Part) -> None:
    """One line for a part that this call started; nothing for one that ran before."""
    if part.started_at is not None:
        seconds = time.monotonic() - part.started_at
        line = f"✓ {part.name:<12} process {part.pid():<8} {part.address:<26} ready after {seconds:.1f} s"
        console.print(line, highlight=False)


def _stop(console: Console, names: list[str]) -> None:
    for pattern in STOP_ORDER:
        parts = [found(name) for name in names if re.fullmatch(pattern, name)]
        if parts:
            with console.status(f"ending {', '.join(part.name for part in parts)}"):
                stop_together(parts)
            console.print(f"✓ ended {', '.join(part.name for part in parts)}", highlight=False)


def _part_of(setting: str) -> str:
    return PORTS[setting][0] if setting in PORTS else setting.removesuffix("_METRICS_PORT").lower().replace("_", "-")
