"""Sets of runs: what they begin with, what they found together, and how fast they were."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulation import sim_hub, sim_node
from tests.simulation.network import KINDS as LIES
from tests.simulation.troubles import KINDS as TROUBLES
from tests.simulation.world import Outcome, Plan, simulate

from skerry.kit.clock import SystemClock

EXPECTED = (
    *(f"network: {kind}" for kind in LIES),
    *(f"trouble: {kind}" for kind in TROUBLES),
    *(f"done: {kind}" for kind in ("publish", "edit", "merge", "own", "delete", "report", "settle")),
    *(f"judged: {kind}" for kind in ("merged", "lost", "conflict")),
    *(f"cut: {kind}" for kind in ("kept", "lost", "prefix", "apart", "mixed")),
    *(f"people: {kind}" for kind in ("put", "delete", "resolve")),
    "answered: ok", "answered: gap", "answered: diverged", "conflict: settled", "conflict: resolved",
)  # fmt: skip
"""What must have happened at least once in a set."""


@dataclass
class Report:
    """What a set found: by seed what is wrong, and how often each kind occurred."""

    wrong: dict[int, list[str]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    traces: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """One more run."""
        self.seen += outcome.seen
        self.traces[outcome.seed] = outcome.trace
        if outcome.wrong:
            self.wrong[outcome.seed] = outcome.wrong

    @property
    def never(self) -> list[str]:
        """Kinds that did not occur."""
        return [kind for kind in EXPECTED if not self.seen[kind]]

    @property
    def trace(self) -> str:
        """A hash over all runs."""
        return hashlib.sha256(repr(sorted(self.traces.items())).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        rate = len(self.traces) / self.seconds if self.seconds else 0.0
        counts = ", ".join(f"{kind} {count}" for kind, count in sorted(self.seen.items()))
        return f"{len(self.traces)} seeds, {rate:.2f} seeds/s; {counts}"


def make_templates(directory: Path) -> None:
    """The databases of a new hub and a new node below `directory`."""
    for name in ("hub", "node"):
        (directory / name).mkdir()
    sim_hub.make_template(directory / "hub", SystemClock())
    sim_node.make_template(directory / "node")


def run_one(directory: Path, templates: Path, seed: int, plan: Plan) -> Outcome:
    """One seed in a directory of its own."""
    place = directory / f"seed-{seed}"
    try:
        return simulate(place, templates, seed, plan)
    except Exception as error:
        raise AssertionError(f"seed {seed}: the run broke off") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def run_all(
    directory: Path, templates: Path, seeds: Iterable[int], plan_of: Callable[[int], Plan]
) -> Report:
    """All of the seeds, one after the other."""
    report = Report()
    begin = time.monotonic()
    for seed in seeds:
        report.add(run_one(directory, templates, seed, plan_of(seed)))
    report.seconds = time.monotonic() - begin
    return report
