"""Rows that waited on one node → at the hub → on a second node that had none: rates, bytes, processor time, memory, disk.

All real processes, encryption at rest on both sides, commits of the hub with FULL. By itself (`python -m bench sync_rows`) it is
quick and nothing is kept of it; `bench.sync` has it in its table.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import rig, sealed
from bench.executions import executions
from bench.figures import Figure
from bench.processes import peak_mb
from bench.sealed import Leg, Placed, Site

ROWS = 100_000
FEW = 10_000
NEEDLE = b'"wf-31"'


@dataclass(frozen=True)
class Trial:
    """What one push and one pull took. Sizes in MB: peaks of memory, growth on disk."""

    push: Leg
    pull: Leg
    pusher: float
    puller: float
    hub: float
    disk_node: float
    disk_hub: float


async def run(place: Path) -> list[Figure]:
    """Once each."""
    few, many = [await trial(place / str(count), count) for count in (FEW, ROWS)]
    return figures("sync_rows", [many], [few, many], {})


async def trial(place: Path, count: int) -> Trial:
    """A push and a pull of so many rows between stores that had none."""
    rows = executions(count)
    last = rows[-1].id
    async with sealed.site(place) as site:
        near = await site.node("n1")
        hub = site.found.hub.directory
        before = _disk(hub), _disk(near.node.directory)
        near.cut()
        await asyncio.to_thread(near.rows.create_many, rows)
        push = await sealed.leg(site, near, count, lambda: near.synced(last))
        far = await site.node("n2")
        far.cut()
        await asyncio.to_thread(far.rows.declare)
        pull = await sealed.leg(site, far, count, lambda: far.has(last))
        await _check(site, far, count)
        return Trial(
            push,
            pull,
            peak_mb(rig.agent_pid(near.node)),
            peak_mb(rig.agent_pid(far.node)),
            peak_mb(site.hub_pid),
            _disk(near.node.directory) - before[1],
            _disk(hub) - before[0],
        )


async def _check(site: Site, far: Placed, count: int) -> None:
    held = await asyncio.to_thread(far.rows.count)
    assert held == count, held
    rows = executions(count)
    for number in (0, count // 2, count - 1):
        assert await asyncio.to_thread(far.rows.read, rows[number].id) == rows[number]
    assert await asyncio.to_thread(sealed.sealed, site, NEEDLE)


def _disk(directory: Path) -> float:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 1e6


def figures(
    bench: str,
    trials: Sequence[Trial],
    costs: Sequence[Trial],
    peers: Mapping[str, Mapping[str, float]],
) -> list[Figure]:
    """`trials` are of ROWS rows; `costs` one of each size; `peers` their rates by «push» and «pull»."""
    found: list[Figure] = []
    for way, words in (
        ("push", "rows that waited on a node → all at the hub, the node knows it"),
        ("pull", "the hub's rows → readable on a second node that had none"),
    ):
        legs: list[Leg] = [getattr(each, way) for each in trials]
        rates = sorted(leg.rate for leg in legs)
        found += [
            Figure(
                bench,
                f"{way} of {ROWS:,} rows of 267 B: {words}",
                statistics.median(rates),
                "rows/s",
                target=50_000.0,
                better="higher",
                peers=dict(peers.get(way, {})),
                note=f"from the first connection (hello and the declaration come first); rounds: {', '.join(f'{rate:,.0f}' for rate in rates)}; {legs[0].work}; "
                "both sides encrypt, the hub commits with FULL",
            ),
            Figure(
                bench,
                f"on the wire for the {way}, both directions with HTTP heads",
                max(leg.each for leg in legs),
                "bytes/row",
                target=90.0,
                peers=dict(peers.get(f"{way} bytes", {})),
                note="60 bytes of each row are random",
            ),
        ]
    memory = _memory(bench, trials, dict(peers.get("memory", {})))
    return [*found, *memory, *(cost(bench, each) for each in costs)]


def _memory(bench: str, trials: Sequence[Trial], peers: dict[str, float]) -> list[Figure]:
    node = max(max(each.pusher, each.puller) for each in trials)
    pusher, puller = trials[0].pusher, trials[0].puller
    return [
        Figure(
            bench,
            "memory of the node, its peak (VmHWM)",
            node,
            "MB",
            target=80.0,
            peers=peers,
            note=f"the node that wrote and pushed {pusher:.1f}, the one that pulled {puller:.1f}",
        ),
        Figure(
            bench,
            "memory of the hub, its peak (VmHWM)",
            max(each.hub for each in trials),
            "MB",
            target=150.0,
            note="over the whole of its life, push and pull among it",
        ),
    ]


def cost(bench: str, found: Trial) -> Figure:
    """One line of the cost table."""
    push, pull = found.push, found.pull
    return Figure(
        bench,
        f"what {push.rows:,} rows cost: push and pull",
        push.seconds + pull.seconds,
        "s",
        note=f"push {push.seconds:.2f} s, {push.each:.0f} bytes/row, {push.work}; pull {pull.seconds:.2f} s, {pull.each:.0f} bytes/row, "
        f"{pull.work}; on disk: node {found.disk_node:.1f} MB, hub {found.disk_hub:.1f} MB; peaks of memory: node that pushed "
        f"{found.pusher:.0f} MB, node that pulled {found.puller:.0f} MB, hub {found.hub:.0f} MB",
    )
