"""`make fuzz`: runs targets, several at a time; 1 where one of them broke."""

import argparse
import importlib.util
import sys

from fuzz import running
from fuzz.targets import NAMES

_NO_ATHERIS = (
    "fuzzing needs atheris, which has wheels for Linux on x86-64 and Python 3.11 to 3.14 only: nothing was run"
)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"one of {', '.join(NAMES)}; all by default")
    parser.add_argument("--time", type=int, default=60, metavar="SECONDS", help="for each target (60)")
    parser.add_argument("--runs", type=int, default=-1, metavar="N", help="at most, for each target (no limit)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="targets at a time (2)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of its chance: the same runs each time; 0: other ones (0)"
    )
    given = parser.parse_args()
    names = given.targets or list(NAMES)
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        parser.error(f"no target {unknown[0]!r}: {', '.join(NAMES)}")
    if importlib.util.find_spec("atheris") is None:
        print(_NO_ATHERIS)
        return 0
    return _run(names, running.Effort(given.time, given.runs, given.seed), given.jobs)


def _run(names: list[str], effort: running.Effort, jobs: int) -> int:
    waiting, failed = list(names), 0
    begun: list[running.Run] = []
    while waiting or begun:
        while waiting and len(begun) < jobs:
            begun.append(running.start(waiting.pop(0), effort))
        found = running.finish(begun.pop(0))
        print(
            f"{found.name:20} {found.executions:>10,} runs, {found.coverage:>6,} edges: {_verdict(found)}", flush=True
        )
        failed += found.crash is not None
    return 1 if failed else 0


def _verdict(found: running.Outcome) -> str:
    if found.crash is None:
        return "nothing broke"
    return f"BROKE, see {found.crash}\n{found.output[-4000:]}"


if __name__ == "__main__":
    sys.exit(main())
