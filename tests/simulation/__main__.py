"""Runs as many seeds as wanted: `python -m tests.simulation --seeds 1000 [--first 1] [--bug NAME]`."""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

import pytest
from tests.simulation.bugs import BUGS
from tests.simulation.plans import plan_of
from tests.simulation.runs import make_templates, run_all


def main() -> int:
    """1 when something was found wrong."""
    asked = argparse.ArgumentParser(prog="python -m tests.simulation")
    asked.add_argument("--seeds", type=int, default=100)
    asked.add_argument("--first", type=int, default=1)
    asked.add_argument("--bug", choices=[bug.name for bug in BUGS])
    given = asked.parse_args()
    bug = next((bug for bug in BUGS if bug.name == given.bug), None)
    seeds = range(given.first, given.first + given.seeds)
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
            home, home / "templates", seeds, plan_of if bug is None else lambda _: bug.plan()
        )
    for seed, wrong in report.wrong.items():
        sys.stdout.write(f"seed {seed}: {'; '.join(wrong)}\n")
    never = ", ".join(report.never) or "nothing"
    sys.stdout.write(f"{report}\nnever: {never}\ntrace: {report.trace}\n")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
