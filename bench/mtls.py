"""Sync by certificates beside sync without: the same values pushed in turns, by one node of each kind on one machine."""

from __future__ import annotations

import statistics
from pathlib import Path

from tests.installation import BY_SECRET, installation, sleeper

from bench import rig
from bench.figures import Figure, summary
from bench.push import SHAPES, VALUES, WORKER, Overheard, push

ROUNDS = 5
TARGET = 80.0


async def run(place: Path) -> list[Figure]:
    """Each shape ROUNDS times by either node in turn: what else the machine does falls on both."""
    rates: dict[str, dict[str, list[float]]] = {
        shape: {"mTLS": [], "plain": []} for shape in SHAPES
    }
    for kind in ("mTLS", "plain"):
        (place / kind).mkdir()
    async with (
        installation(place / "mTLS") as safe,
        installation(place / "plain", BY_SECRET) as plain,
        Overheard("127.0.0.1", safe.hub.nodes_port) as to_safe,
        Overheard("127.0.0.1", plain.hub.port) as to_plain,
    ):
        ends = {
            "mTLS": (await rig.joined(safe, "n1", f"https://127.0.0.1:{to_safe.port}", sleeper(WORKER)), to_safe),
            "plain": (await rig.joined(plain, "n1", f"http://127.0.0.1:{to_plain.port}", sleeper(WORKER)), to_plain),
        }  # fmt: skip
        for number in range(ROUNDS):
            for shape, size in SHAPES.items():
                for kind in sorted(ends, reverse=bool(number % 2)):
                    rate, _ = await push(*ends[kind], size)
                    rates[shape][kind].append(rate)
    return [_figure(shape, found) for shape, found in rates.items()]


def _figure(shape: str, found: dict[str, list[float]]) -> Figure:
    safe, plain = (statistics.median(found[kind]) for kind in ("mTLS", "plain"))
    return Figure(
        "mtls", f"push of {VALUES:,} values by mutual TLS, groups of {shape}: of the rate without", 100 * safe / plain, "%",
        target=TARGET, better="higher", peers={"without, values/s": plain, "with, values/s": safe},
        note=f"{ROUNDS} rounds in turns; with: {summary(found['mTLS'])}; without: {summary(found['plain'])}",
    )  # fmt: skip
