"""What encryption at rest costs: records accepted with it and without, in one run, and a rotation while publishing."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.record_rig import T0, session
from tests.sealed_node import SealedNode, sealed_node

from bench.figures import Figure, summary
from skerry.node.store.record_jobs import Limits, Submission
from skerry.wire.records import Record

ROUNDS = 7
GROUPS = 250
WRITERS = 8
BATCH = 100
VALUES = GROUPS // WRITERS * WRITERS * BATCH
HELD = 256 * 1024 * 1024
QUIET = 600
LIMITS = Limits(keep=2_000_000_000)


async def run(place: Path) -> list[Figure]:
    """Plain and encrypted in turns, so that what others do to the disk hits both alike."""
    rates: dict[str, list[float]] = {"plain": [], "encrypted": []}
    work: dict[str, list[float]] = {"plain": [], "encrypted": []}
    for number in range(ROUNDS):
        for name, on in (("plain", False), ("encrypted", True)):
            async with sealed_node(place / f"{name}{number}", on=on, limits=LIMITS) as node:
                began = time.process_time()
                rates[name].append(await _rate(node))
                work[name].append(1e6 * (time.process_time() - began) / VALUES)
    plain, encrypted = (statistics.median(rates[name]) for name in ("plain", "encrypted"))
    quiet, during, seconds, size = await _rotation(place / "rotation")
    return [
        Figure(
            "storage",
            f"values accepted a second, batches of {BATCH} from {WRITERS} publishers, encrypted",
            encrypted,
            "1/s",
            better="higher",
            peers={"plain": plain},
            note=f"encrypted {summary(rates['encrypted'])}; plain {summary(rates['plain'])}",
        ),
        Figure(
            "storage",
            "what encryption costs of that",
            100 * (1 - encrypted / plain),
            "%",
            target=25.0,
            note="the medians above; on a machine with other work it is the disk that differs",
        ),
        Figure(
            "storage",
            "processor time a value, encrypted",
            statistics.median(work["encrypted"]),
            "us",
            peers={"plain": statistics.median(work["plain"])},
        ),
        Figure(
            "storage",
            f"p99 of a publish while {size / 1e6:.0f} MB are sealed anew, as a multiple of before",
            _p99(during) / _p99(quiet),
            "x",
            target=3.0,
            note=f"before {summary(quiet)} ms; during {summary(during)} ms; the rotation took {seconds:.1f} s",
        ),
    ]


async def _rate(node: SealedNode) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(_publisher(node, who) for who in range(WRITERS)))
    return VALUES / (time.perf_counter() - began)


async def _publisher(node: SealedNode, who: int) -> None:
    for number in range(GROUPS // WRITERS):
        await node.records.append(_batch(who, number * BATCH + 1))


async def _rotation(place: Path) -> tuple[list[float], list[float], float, int]:
    async with sealed_node(place, limits=LIMITS) as node:
        assert node.rotation is not None
        await node.rotation.once()
        first = 1
        while node.records.bytes("keep") < HELD:
            await asyncio.gather(*(node.records.append(_batch(who, first)) for who in range(64)))
            first += BATCH
        size = node.records.bytes("keep")
        quiet = await _latencies(node, lambda done: done >= QUIET)
        node.rotation.ask()
        began = time.perf_counter()
        rotating = asyncio.create_task(node.rotation.once())
        during = await _latencies(node, lambda _: rotating.done())
        await rotating
        return quiet, during, time.perf_counter() - began, size


async def _latencies(node: SealedNode, enough: Callable[[int], bool]) -> list[float]:
    found: list[float] = []
    first = 1 if node.records.counters.groups < 1 else node.records.counters.groups * BATCH
    while not enough(len(found)):
        found.append(await _timed(node.records.append(_batch(99, first))))
        first += BATCH
        await asyncio.sleep(0.01)
    return found


async def _timed(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return 1000 * (time.perf_counter() - began)


def _batch(who: int, first: int) -> Submission:
    records = [
        Record(offset, "env.temperature", T0 + offset, 20.0 + offset / 7, {"unit": "C"})
        for offset in range(BATCH)
    ]
    return Submission(
        kind="measurement",
        source="bench",
        session=session(who),
        first=first,
        accepted_at=T0,
        monotonic=1,
        quality="synced",
        parts=[("keep", records)],
    )


def _p99(samples: list[float]) -> float:
    return sorted(samples)[int(0.99 * (len(samples) - 1))]
