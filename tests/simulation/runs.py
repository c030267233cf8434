"""Sets of runs: what they begin with, what they found together, and how fast they were."""

from __future__ import annotations

import gc
import hashlib
import random
import shutil
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulation import sim_hub, sim_node
from tests.simulation.network import KINDS as LIES
from tests.simulation.one_thread import one_thread
from tests.simulation.sim_clock import SimClock
from tests.simulation.troubles import KINDS as TROUBLES
from tests.simulation.virtual_loop import run_virtually
from tests.simulation.world import Outcome, Plan, simulate

EXPECTED = (
    *(f"network: {kind}" for kind in LIES),
    *(f"trouble: {kind}" for kind in TROUBLES),
    *(f"done: {kind}" for kind in ("publish", "edit", "merge", "own", "delete", "report", "settle")),
    *(f"judged: {kind}" for kind in ("merged", "lost", "conflict")),
    *(f"cut: {kind}" for kind in ("kept", "lost", "prefix", "apart", "mixed")),
    *(f"people: {kind}" for kind in ("put", "delete", "resolve")),
    "answered: ok", "conflict: settled", "conflict: resolved",
)  # fmt: skip
"""What must have happened at least once in a set."""


@dataclass
class Report:
    """What a set found: by seed what is wrong, and how often each kind occurred."""

    wrong: dict[int, list[str]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    traces: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    cpu: float = 0.0

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

    def progress(self) -> str:
        """How far it is, and at what cost."""
        count = len(self.traces)
        last = max(self.traces, default=0)
        return (
            f"{count} seeds up to {last}, {len(self.wrong)} with findings {sorted(self.wrong)}, "
            f"{self.cpu / max(count, 1):.2f} s CPU a seed, {self.seconds:.0f} s"
        )

    def __str__(self) -> str:
        counts = ", ".join(f"{kind} {count}" for kind, count in sorted(self.seen.items()))
        return f"{self.progress()}; {counts}"


def make_templates(directory: Path) -> None:
    """The databases of a new hub and a new node below `directory`, the same each time."""
    for name in ("hub", "node"):
        (directory / name).mkdir()
    with one_thread(random.Random(0)):
        run_virtually(_make_hub(directory / "hub"), random.Random(0))
    sim_node.make_template(directory / "node")


async def _make_hub(directory: Path) -> None:
    sim_hub.make_template(directory, SimClock("hub"))


def run_one(directory: Path, templates: Path, seed: int, plan: Plan) -> Outcome:
    """One seed in a directory of its own. What breaks a run off is a finding like any other."""
    place = directory / f"seed-{seed}"
    try:
        return simulate(place, templates, seed, plan)
    except Exception as error:  # noqa: BLE001 - whatever it is, the seed is to be told
        where = "".join(traceback.format_exception(error)[-3:])
        return Outcome(seed, [f"the run broke off: {where}"], Counter(), "broken off", 0.0)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def run_all(
    directory: Path,
    templates: Path,
    seeds: Iterable[int],
    plan_of: Callable[[int], Plan],
    *,
    until: Callable[[Report], bool] = lambda _: False,
    tell: Callable[[Report, int], None] = lambda *_: None,
) -> Report:
    """The seeds one after the other, `until` it is enough. `tell` hears of each."""
    report = Report()
    begin, began = time.monotonic(), time.process_time()
    gc.collect()
    gc.freeze()
    for seed in seeds:
        report.add(run_one(directory, templates, seed, plan_of(seed)))
        gc.collect()
        report.seconds, report.cpu = time.monotonic() - begin, time.process_time() - began
        tell(report, seed)
        if until(report):
            break
    gc.unfreeze()
    return report
