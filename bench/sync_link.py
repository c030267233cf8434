"""A narrow way: high rows through a backlog in both directions, bytes against the rate, and a file whose way is cut all the time."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from tests.fault.test_file_transfers import EVERY, cut_all_the_way

from bench import rig, sealed
from bench.figures import Figure, summary
from bench.sealed import Placed, Site
from skerry import sdk
from skerry.kit.errors import NotFound
from skerry.sdk import Repository

T = TypeVar("T")

RATE = 1_000_000
LIMITED = ("--set", f"sync.network.max_bandwidth={RATE}")
PIECE = 10_000
UP = 20_000_000
DOWN = 10_000_000
ALARMS = 5
PAUSE = 1.5
FILE = 30_000_000


@sdk.model(edge_enabled=True, priority="low")
@dataclasses.dataclass
class Upwards:
    """A row that does not compress, made at a node."""

    data: str
    id: str = ""


@sdk.model(edge_enabled=True, priority="low")
@dataclasses.dataclass
class Downwards:
    """The same, made at the hub."""

    data: str
    id: str = ""


@sdk.model(edge_enabled=True, priority="high")
@dataclasses.dataclass
class Alarm:
    """A row that must not wait."""

    text: str
    id: str = ""


@dataclasses.dataclass(frozen=True)
class Backlog:
    """What was seen while it travelled: seconds of each high row, (seconds, bytes) of the way, seconds in all."""

    high: list[float]
    counted: list[tuple[float, int]]
    seconds: float

    @property
    def ahead(self) -> float:
        """By how many seconds of the rate the way was ever ahead of the rate."""
        return max(size / RATE - seconds for seconds, size in self.counted)


async def run(place: Path, _peers: object = None) -> list[Figure]:
    """The file first, on a hub of its own."""
    (place / "file").mkdir(parents=True)
    share = await cut_all_the_way(place / "file", FILE)
    async with sealed.site(place) as site:
        near = await site.node("n1", *LIMITED)
        up = await _up(site, near)
        far = await site.node("n2", *LIMITED)
        down = await _down(site, far)
    return [
        _high_figure("a node → the hub", UP, up),
        _high_figure("the hub → a node", DOWN, down),
        _ahead_figure("pushed", UP, up),
        _ahead_figure("pulled", DOWN, down),
        Figure(
            "sync",
            f"a file of {FILE / 1e6:.0f} MB, the way cut after each {EVERY / 1e3:.0f} kB: sent in all, its hash right",
            share * FILE / 1e6,
            "MB",
            target=33.0,
            note="counted in a proxy, with all that the node sent besides; what arrived is compared byte by byte",
        ),
    ]


def _high_figure(words: str, size: int, found: Backlog) -> Figure:
    return Figure(
        "sync",
        f"a high row through a backlog of {size / 1e6:.0f} MB at {RATE / 1e6:.0f} MB/s, {words}: written → read on the other side (longest)",
        max(found.high),
        "s",
        target=2.0,
        note=f"{summary(found.high)}; the node has `sync.network.max_bandwidth`; the backlog is of a low entity",
    )


def _ahead_figure(words: str, size: int, found: Backlog) -> Figure:
    return Figure(
        "sync",
        f"{size / 1e6:.0f} MB {words} at {RATE / 1e6:.0f} MB/s: by how much the bytes of the link were ever ahead of rate x time",
        found.ahead,
        "s of the rate",
        target=1.0,
        note=f"counted in a proxy, both directions together; all was there after {found.seconds:.1f} s",
    )


def _bulk(cls: type[T], size: int) -> list[T]:
    chance = random.Random(size)
    return [
        cls(base64.b64encode(chance.randbytes(PIECE)).decode(), f"b-{number:05d}")  # type: ignore[call-arg]
        for number in range(size // PIECE)
    ]


async def _up(site: Site, near: Placed) -> Backlog:
    """The node has waited with it."""
    bulk, alarms = near.of(Upwards), near.of(Alarm)
    await asyncio.to_thread(alarms.create, Alarm("the first"))
    await sealed.quiet(near, 1.0)
    near.cut()
    rows = _bulk(Upwards, UP)
    await asyncio.to_thread(bulk.create_many, rows)

    async def finished() -> bool:
        return (await asyncio.to_thread(bulk.info, rows[-1].id)).status == "synced"

    return await _watched(near, alarms, site.at_hub(Alarm), finished)


async def _down(site: Site, far: Placed) -> Backlog:
    """It comes to a node that has only just said what it wants."""
    bulk, alarms = far.of(Downwards), far.of(Alarm)
    rows = _bulk(Downwards, DOWN)
    await asyncio.to_thread(site.at_hub(Downwards).create_many, rows)
    await asyncio.to_thread(alarms.declare)
    await sealed.quiet(far, 1.0)
    far.cut()
    await asyncio.to_thread(bulk.declare)

    async def finished() -> bool:
        return await asyncio.to_thread(bulk.find, rows[-1].id) is not None

    return await _watched(far, site.at_hub(Alarm), alarms, finished)


async def _watched(
    placed: Placed,
    here: Repository[Alarm],
    there: Repository[Alarm],
    finished: Callable[[], Awaitable[bool]],
) -> Backlog:
    """Opens the way; high rows are made `here` one after the other and looked for `there`."""
    counted: list[tuple[float, int]] = []
    accepted, travelled = placed.way.accepted, placed.travelled
    placed.way.heal()
    while placed.way.accepted == accepted:  # noqa: ASYNC110 - its moment is what counts
        await asyncio.sleep(0.001)
    started = time.monotonic()

    async def count() -> None:
        while True:
            counted.append((time.monotonic() - started, placed.travelled - travelled))
            await asyncio.sleep(0.005)

    counting = asyncio.create_task(count())
    try:
        high: list[float] = []
        await asyncio.sleep(PAUSE)
        while len(high) < ALARMS and not await finished():
            high.append(await asyncio.to_thread(_seen, here, there, f"alarm {len(high)}"))
            await asyncio.sleep(PAUSE)
        assert high, "the backlog was gone before the first high row"
        async with asyncio.timeout(sealed.PATIENCE):
            await rig.until(finished, 0.1)
    finally:
        counting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await counting
    return Backlog(high, counted, time.monotonic() - started)


def _seen(here: Repository[Alarm], there: Repository[Alarm], text: str) -> float:
    begun = time.monotonic()
    row = here.create(Alarm(text))
    while time.monotonic() - begun < 60.0:
        with contextlib.suppress(NotFound):
            if there.find(row.id) is not None:
                return time.monotonic() - begun
        time.sleep(0.01)
    raise TimeoutError(f"«{text}» never came")
