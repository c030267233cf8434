"""What encryption at rest costs: records accepted with it and without, in one run, and a rotation while publishing."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path

import msgspec
from tests.record_rig import T0, session
from tests.sealed_node import SealedNode, sealed_node

from bench.figures import Figure, summary
from skerry.node.store.record_jobs import Limits, Submission
from skerry.wire.records import Record

ROUNDS = 8
GROUPS = 2000
WRITERS = 8
BATCH = 100
VALUES = GROUPS // WRITERS * WRITERS * BATCH
HELD = 1_000_000_000
FILLERS = 64
QUIET = 600
LIMITS = Limits(keep=2_000_000_000)


async def run(place: Path) -> list[Figure]:
    """Under four minutes on a quiet machine, most of them the gigabyte."""
    return [*await _accepting(place), await _rotating(place / "rotation")]


async def _accepting(place: Path) -> list[Figure]:
    """In turns, and each first as often as the other, so that what others do to the disk hits both alike."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    work: dict[bool, list[float]] = {False: [], True: []}
    for number in range(ROUNDS):
        for on in (False, True) if number % 2 else (True, False):
            async with sealed_node(place / f"{number}-{on}", on=on, limits=LIMITS) as node:
                began = time.process_time()
                rates[on].append(await _rate(node))
                work[on].append(1e6 * (time.process_time() - began) / VALUES)
    pairs = [1 - sealed / plain for plain, sealed in zip(rates[False], rates[True], strict=True)]
    return [
        Figure(
            "storage",
            f"values accepted a second, batches of {BATCH} from {WRITERS} publishers, encrypted",
            statistics.median(rates[True]),
            "1/s",
            better="higher",
            peers={"plain": statistics.median(rates[False])},
            note=f"encrypted {summary(rates[True])}; plain {summary(rates[False])}",
        ),
        Figure(
            "storage",
            "what encryption costs of that",
            100 * statistics.median(pairs),
            "%",
            target=25.0,
            note=f"median of {ROUNDS} pairs of runs: {', '.join(f'{100 * pair:.0f}' for pair in pairs)}",
        ),
        Figure(
            "storage",
            "processor time a value, encrypted",
            statistics.median(work[True]),
            "us",
            peers={"plain": statistics.median(work[False])},
        ),
    ]


class _Rotated(msgspec.Struct, frozen=True):
    """Latencies in ms of publishers, one after the other: before and after a rotation, and while it ran."""

    quiet: list[float]
    during: list[float]
    seconds: float
    size: int


async def _rotating(place: Path) -> Figure:
    found = await _rotation(place)
    size = found.size / 1e6
    return Figure(
        "storage",
        f"p99 of a publish while {size:.0f} MB are sealed anew, as a multiple of before and after",
        _p99(found.during) / _p99(found.quiet),
        "x",
        target=3.0,
        note=f"before and after {summary(found.quiet)} ms; during {summary(found.during)} ms; the rotation took "
        f"{found.seconds:.0f} s, {size / found.seconds:.0f} MB/s",
    )


async def _rate(node: SealedNode) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(_publisher(node, who) for who in range(WRITERS)))
    return VALUES / (time.perf_counter() - began)


async def _publisher(node: SealedNode, who: int) -> None:
    for number in range(GROUPS // WRITERS):
        await node.records.append(_batch(who, number * BATCH + 1))


async def _rotation(place: Path) -> _Rotated:
    async with sealed_node(place, limits=LIMITS) as node:
        assert node.rotation is not None
        await node.rotation.once()
        for first in count(1, BATCH):
            await asyncio.gather(
                *(node.records.append(_batch(who, first)) for who in range(FILLERS))
            )
            if node.records.bytes("keep") >= HELD:
                break
        firsts = count(1, BATCH)
        size = node.records.bytes("keep")
        quiet = await _latencies(node, firsts, lambda done: done >= QUIET)
        node.rotation.ask()
        began = time.perf_counter()
        rotating = asyncio.create_task(node.rotation.once())
        during = await _latencies(node, firsts, lambda _: rotating.done())
        await rotating
        seconds = time.perf_counter() - began
        quiet += await _latencies(node, firsts, lambda done: done >= QUIET)
        return _Rotated(quiet, during, seconds, size)


async def _latencies(
    node: SealedNode, firsts: Iterator[int], enough: Callable[[int], bool]
) -> list[float]:
    found: list[float] = []
    while not enough(len(found)):
        found.append(await _timed(node.records.append(_batch(FILLERS, next(firsts)))))
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
