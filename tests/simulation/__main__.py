"""Runs as many seeds as wanted: `python -m tests.simulation --seeds 1000 [--from 1] [--on] [--bug NAME]`.

Ends with 1 and the seed at the first one that finds something; with `--on` it goes on to the last.
"""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

import pytest
from tests.simulation.bugs import BUGS
from tests.simulation.plans import plan_of
from tests.simulation.runs import Report, make_templates, run_all

_PROGRESS = 100


def main() -> int:
    """1 when something was found wrong."""
    asked = argparse.ArgumentParser(prog="python -m tests.simulation")
    asked.add_argument("--seeds", type=int, default=100)
    asked.add_argument("--from", type=int, default=1, dest="first")
    asked.add_argument("--on", action="store_true", help="go on after a seed that found something")
    asked.add_argument("--bug", choices=[bug.name for bug in BUGS])
    given = asked.parse_args()
    bug = next((bug for bug in BUGS if bug.name == given.bug), None)
    memory = Path("/dev/shm")  # noqa: S108 - a directory of our own in it
    with contextlib.ExitStack() as stack:
        home = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
            )
        )
        (home / "templates").mkdir()
        make_templates(home / "templates")
        if bug is not None:
            bug.put(stack.enter_context(pytest.MonkeyPatch.context()))
        report = run_all(
            home,
            home / "templates",
            range(given.first, given.first + given.seeds),
            plan_of if bug is None else lambda _: bug.plan(),
            until=lambda report: bool(report.wrong) and not given.on,
            tell=_tell,
        )
    never = ", ".join(report.never) or "nothing"
    sys.stdout.write(f"{report}\nnever: {never}\ntrace: {report.trace}\n")
    return 1 if report.wrong else 0


def _tell(report: Report, seed: int) -> None:
    """One line a finding, and one for each hundred seeds."""
    for wrong in report.wrong.get(seed, ()):
        sys.stdout.write(f"seed {seed}: {wrong}\n")
    if len(report.traces) % _PROGRESS == 0:
        sys.stdout.write(f"{report.progress()}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
