"""What a bench returns, and the table that people read."""

from __future__ import annotations

import dataclasses
import json
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Figure:
    """One measured number. `target` is the issue's bound in the same unit; `better` says which side is good."""

    bench: str
    name: str
    value: float
    unit: str
    target: float | None = None
    better: str = "lower"
    peers: dict[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.value <= self.target if self.better == "lower" else self.value >= self.target


def summary(samples: Sequence[float]) -> str:
    """«median 3.1, p95 4.0, p99 4.4, max 5.1, n=50»."""
    ordered = sorted(samples)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    return (
        f"median {statistics.median(ordered):.2f}, p95 {at(0.95):.2f}, p99 {at(0.99):.2f}, "
        f"max {ordered[-1]:.2f}, n={len(ordered)}"
    )


def machine() -> dict[str, str]:
    """The machine and date that a figure belongs to."""
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    cores = subprocess.run(["nproc"], capture_output=True, text=True, check=True).stdout.strip()
    date = subprocess.run(
        ["date", "-u", "+%Y-%m-%d"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return {
        "cpu": cpu,
        "cores": cores,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "date": date,
    }


def save(figures: Sequence[Figure], *, load: float) -> None:
    """Merges figures into results.json; a later run of a bench replaces its earlier figures.

    `load` is the load average before the run: what others did on the same cores.
    """
    held = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for bench in {figure.bench for figure in figures}:
        held[bench] = {
            "machine": machine(),
            "load": load,
            "figures": [dataclasses.asdict(figure) for figure in figures if figure.bench == bench],
        }
    RESULTS.write_text(json.dumps(held, indent=1, ensure_ascii=False) + "\n")


def table(figures: Sequence[Figure]) -> str:
    """A Markdown table of figures, misses in bold."""
    lines = ["| Figure | Skerry | Target | Peers in the same run | Note |", "|---|---|---|---|---|"]
    for figure in figures:
        value = f"{figure.value:.4g} {figure.unit}"
        sign = "≤" if figure.better == "lower" else "≥"
        target = "–" if figure.target is None else f"{sign} {figure.target:g} {figure.unit}"
        if figure.met is False:
            value = f"**{value} (missed)**"
        peers = ", ".join(f"{name} {peer:.4g}" for name, peer in figure.peers.items()) or "–"
        lines.append(f"| {figure.name} | {value} | {target} | {peers} | {figure.note} |")
    return "\n".join(lines)
