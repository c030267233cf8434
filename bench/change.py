"""A change at the hub → the stamp of the process that it asks for; and 50 processes at once, beside other supervisors."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.installation import Installation, Node, installation

from bench import installed, rig, supervisors
from bench.figures import Figure, summary
from bench.processes import build_stamp, wait_for_files, wait_for_stamps
from skerry.cli.http import Api
from skerry.wire.people import Apply, ApplyReply
from skerry.wire.workload import WorkloadSpec

TRIALS = 25
ROUNDS = 3


@dataclass(frozen=True)
class Delays:
    """Milliseconds from the request's first byte, and from its answer, to the stamp. The commit lies between."""

    sent: float
    answered: float


async def run(place: Path) -> list[Figure]:
    """Single changes first, then all at once, then the peers."""
    installed.supervisors()
    stamp = build_stamp(place)
    (place / "s").mkdir()
    async with installation(place) as found:
        node = await rig.joined(found, "n1", found.hub.nodes_url)
        async with found.hub.api() as api:
            created = [await _create(api, stamp, place, index) for index in range(TRIALS)]
            changed = [await _change(api, stamp, place, index) for index in range(TRIALS)]
        many = [await _fifty(found, node, stamp, place / f"f{index}") for index in range(ROUNDS)]
    peers = {
        name: [_peer(name, stamp, place / f"{name.split()[0]}{index}") for index in range(ROUNDS)]
        for name in supervisors.STARTERS
        if not supervisors.missing(name)
    }
    medians = {name: statistics.median(times) for name, times in peers.items()}
    return [
        *_figures("new workload", created),
        *_figures("changed workload, its old process ends first", changed),
        Figure(
            "change",
            f"{rig.UNITS} processes up: apply answered → last stamp (median)",
            statistics.median(delays.answered for delays in many),
            "ms",
            target=250.0,
            peers=medians,
            note=f"{ROUNDS} rounds, each in ms: {_listed([d.answered for d in many])}; from apply sent: "
            f"{_listed([d.sent for d in many])}. Peers: from their own start, and nothing durable; bare asyncio "
            "and supervisord include Python's start-up, pm2 its daemon's",
        ),
    ]


def _figures(what: str, delays: Sequence[Delays]) -> list[Figure]:
    sent, answered = [each.sent for each in delays], [each.answered for each in delays]
    return [
        Figure(
            "change",
            f"{what}: PUT sent → workload's own stamp (median)",
            statistics.median(sent),
            "ms",
            target=60.0,
            note=f"{summary(sent)}. The hub's commit lies between this and the next figure's start",
        ),
        Figure(
            "change",
            f"{what}: PUT answered → workload's own stamp (median)",
            statistics.median(answered),
            "ms",
            target=60.0,
            note=summary(answered),
        ),
    ]


async def _create(api: Api, stamp: Path, place: Path, index: int) -> Delays:
    file = place / "s" / f"n{index}"
    return await _apply(api, rig.stamping(f"n{index}", stamp, file), file, 1)


async def _change(api: Api, stamp: Path, place: Path, index: int) -> Delays:
    file = place / "s" / f"n{index}"
    spec = rig.stamping(f"n{index}", stamp, file, env={"CHANGED": "yes"})
    return await _apply(api, spec, file, 2)


async def _apply(api: Api, spec: WorkloadSpec, file: Path, count: int) -> Delays:
    await asyncio.sleep(random.uniform(0.25, 0.5))
    sent = time.time_ns()
    await api.send("PUT", "/api/v1/workloads", Apply([spec]), ApplyReply)
    answered = time.time_ns()
    at = (await asyncio.to_thread(wait_for_stamps, file, count))[-1][0]
    return Delays((at - sent) / 1e6, (at - answered) / 1e6)


async def _fifty(found: Installation, node: Node, stamp: Path, place: Path) -> Delays:
    await found.hub.apply(prune=True)
    await rig.gone(node)
    await asyncio.sleep(1.0)
    specs = rig.fleet(stamp, place)
    sent = time.time_ns()
    await found.hub.apply(*specs.values())
    answered = time.time_ns()
    at = await asyncio.to_thread(wait_for_files, list(specs))
    return Delays((at - sent) / 1e6, (at - answered) / 1e6)


def _peer(name: str, stamp: Path, place: Path) -> float:
    place.mkdir()
    files = [place / f"p{index}" for index in range(rig.UNITS)]
    started = time.time_ns()
    with supervisors.running(name, stamp, files, place / "work"):
        return (wait_for_files(files) - started) / 1e6


def _listed(times: Sequence[float]) -> str:
    return ", ".join(f"{each:.0f}" for each in times)
