"""`python -m model [WORD...]`: checks the variants whose names hold a word, or all.

The exit code is 1 where one is not as expected, 2 where there is none.
"""

import sys
from collections.abc import Callable

from model.checker import Verdict, check
from model.variants import BROKEN, HOLDING, Variant


def main(words: list[str]) -> int:
    """Prints a line for each variant, and the shortest trace of what it breaks."""
    chosen = [one for one in [*HOLDING, *BROKEN] if not words or any(word.lower() in one.name.lower() for word in words)]
    if not chosen:
        print(f"no variant's name holds {' or '.join(words)}; they are in tests/model/variants.py", file=sys.stderr)
        return 2
    surprises = 0
    for variant in chosen:
        model, _ = variant.model()
        verdict = check(model, until=variant.breaks, progress=_progress(variant))
        expected = variant.breaks in verdict.traces if variant.breaks else verdict.holds
        surprises += not expected
        line = f"\r{variant.name:72} {verdict.states:9,} states {verdict.seconds:6.1f} s  {_outcome(verdict)}"
        print(line if expected else f"{line}   ← not as expected", flush=True)
        for invariant, trace in verdict.traces.items():
            print(f"    {invariant}: {' → '.join(trace)}")
    print("as expected" if not surprises else f"{surprises} not as expected")
    return 1 if surprises else 0


def _outcome(verdict: Verdict) -> str:
    return "holds" if verdict.holds else f"violates: {', '.join(verdict.traces)}"


def _progress(variant: Variant) -> Callable[[int], None]:
    """Counts the states on a terminal, as some variants have a million."""

    def show(states: int) -> None:
        if sys.stdout.isatty():
            print(f"\r{variant.name:72} {states:9,} states", end="", flush=True)

    return show


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
