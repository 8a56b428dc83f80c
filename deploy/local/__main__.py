"""The whole system as processes on this machine; called by make as `python deploy/local COMMAND`.

Commands take what they need from the environment, where make puts its variables: GENERATORS, PROMPT, MODEL, the ports.
Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

import os
import sys

from rich.console import Console

from demo import DemoFailed, console_for_output, run_job
from instance import STATE, Instance, exclusive
from part import PartFailed, inherited_environment
from ports import PortRefused
from system import down, status, up

DEFAULT_PROMPT = "a lighthouse at dusk, oil on canvas"
MOST_GENERATORS = 64


class WrongUsage(Exception):
    """What the caller asked for makes no sense; the message says what would."""


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    commands = {"up": run_up, "down": run_down, "status": status, "demo": run_demo, "simulator": run_simulator, "clean": run_clean}
    console = console_for_output()
    problems = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    try:
        if len(arguments) != 1 or arguments[0] not in commands:
            raise WrongUsage(f"one of these commands is needed: {', '.join(commands)}")
        commands[arguments[0]](console)
    except (WrongUsage, PortRefused) as refusal:
        problems.print(str(refusal))
        return 2
    except (PartFailed, DemoFailed) as failure:
        problems.print(str(failure))
        return 1
    except KeyboardInterrupt:
        problems.print("interrupted; what was started keeps running, make down ends it")
        return 130
    return 0


def run_up(console: Console) -> None:
    """Start the system."""
    with exclusive(console):
        up(console, _generators())


def run_down(console: Console) -> None:
    """End the system."""
    with exclusive(console):
        down(console)


def run_demo(console: Console) -> None:
    """Start the system, have one picture made, and say where everything is."""
    prompt = os.environ.get("PROMPT", DEFAULT_PROMPT)
    if not prompt.strip():
        raise WrongUsage('PROMPT is empty: make demo PROMPT="a lighthouse at dusk"')
    generators = _generators()
    if generators == 0:
        raise WrongUsage("GENERATORS=0 would make nothing: the demo needs at least one")
    with exclusive(console):
        instance = up(console, generators)
    key = instance.credentials.api_key
    files = run_job(console, instance.url, key, prompt, os.environ.get("MODEL", ""), STATE / "out")
    console.print(f"\nThe API and its documentation: {instance.url}/docs", highlight=False)
    console.print(f"Your API key:                  {key}", highlight=False, soft_wrap=True)
    for file in files:
        console.print(f"Saved as:                      {file}", highlight=False, soft_wrap=True)


def run_simulator(console: Console) -> None:
    """Run the simulator alone in the foreground, until Ctrl-C."""
    part = Instance().services.simulator()
    if part.pid() is not None:
        raise WrongUsage(f"the simulator of make up runs already, at {part.address}")
    console.print(f"The simulator of Replicate's API: {part.address} (Ctrl-C ends it). Try:", highlight=False)
    console.print(
        f"  curl -s {part.address}/v1/models/black-forest-labs/flux-schnell/predictions -H 'Authorization: Bearer any' "
        """-H 'Content-Type: application/json' -d '{"input": {"prompt": "a lighthouse at dusk"}}'""",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    sys.stdout.flush()
    os.execve(part.command[0], part.command, {**inherited_environment(), **part.environment})  # noqa: S606  no shell is wanted


def run_clean(console: Console) -> None:
    """End the system and delete all that it stored."""
    with exclusive(console):
        down(console)
        Instance().remove_data()
    console.print("all data, passwords and logs of this checkout's system are deleted; the pictures in .local/out stay")


def _generators() -> int | None:
    text = os.environ.get("GENERATORS", "")
    if not text:
        return None
    if not text.isdecimal() or int(text) > MOST_GENERATORS:
        raise WrongUsage(f"GENERATORS={text} is no number of generators: 0 to {MOST_GENERATORS}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
