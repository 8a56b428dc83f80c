"""python -m history FOLDER: the verdict on the evidence that was kept there; exit code 1 where an invariant is violated."""

import sys
from pathlib import Path

from history.checker import check
from history.evidence import Evidence
from history.verdict import verdict


def main(arguments: list[str]) -> int:
    """Print the verdict; 0 is all well, 1 a violation, 2 a wrong call."""
    if len(arguments) != 1 or not Path(arguments[0], "jobs.json").exists():
        print("usage: python -m history FOLDER, where FOLDER holds the evidence of an experiment", file=sys.stderr)
        return 2
    try:
        evidence = Evidence.load(Path(arguments[0]))
    except (OSError, ValueError) as error:
        print(f"the evidence in {arguments[0]} is not whole: {error}", file=sys.stderr)
        return 2
    violations = check(evidence)
    print("\n".join(verdict(evidence, violations)))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
