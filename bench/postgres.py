"""The hub on SQLite and on PostgreSQL in one run: ingest, one series' day, growth from 10⁵ to 10⁷ values.

Real hub processes, asked as nodes and people ask them; both databases commit durably, PostgreSQL is a cluster of its
own with its defaults (`tests.postgres`). The first 10⁶ values are pushed; the rest is written by the same ingest without
HTTP, while no hub runs. `SKERRY_BENCH_VALUES=1000000` leaves that out.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec
import psycopg
from tests.installation import BY_SECRET, Hub
from tests.postgres import installed, server

from bench.figures import Figure, summary
from skerry.core.lanes import extend
from skerry.hub.data.ingest import Ingest
from skerry.hub.store.hub_store import HubStore
from skerry.kit.clock import NS, SystemClock
from skerry.testing.running_hub import EnrolledNode, RunningHub
from skerry.wire.codec import compress, decode, encode
from skerry.wire.people import Columns, Rows
from skerry.wire.records import Batch, Record
from skerry.wire.sync import NO_CHAIN, PushReply, PushUnit

DAY_SECONDS = 86_400
ALL = int(os.environ.get("SKERRY_BENCH_VALUES", "10000000")) >= 10_000_000
TOGETHER = 12
"""Values published together, as host-sensors does."""

UNIT = 160
"""Such groups in a unit, as a node sends them that was away."""

LOOKS = 9
WRITERS = 4


@dataclass(frozen=True)
class Step:
    """So many nodes with so many series each, of one value a second for a whole day."""

    nodes: int
    series: int
    pushed: bool

    @property
    def values(self) -> int:
        return self.nodes * self.series * DAY_SECONDS


STEPS = (
    Step(1, 1, pushed=True),
    Step(4, 3, pushed=True),
    *([Step(9, 12, pushed=False)] if ALL else []),
)


@dataclass
class Growth:
    """What was measured of one database: by step, and in all."""

    written: int = 0
    rates: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    days: list[list[float]] = field(default_factory=list)
    by_row: list[float] = field(default_factory=list)


async def run(place: Path) -> list[Figure]:
    """SQLite first, then PostgreSQL, each in an empty database."""
    programs = installed()
    assert programs is not None, "PostgreSQL is not installed"
    (place / "one").mkdir()
    (place / "several").mkdir()
    sqlite = _figures("SQLite", await _grow(place / "one", None))
    with server(programs) as running, running.database() as url:
        postgres = _figures("PostgreSQL", await _grow(place / "several", url))
    return [*sqlite, *postgres]


def _figures(name: str, growth: Growth) -> list[Figure]:
    table = "; ".join(
        f"{sum(step.values for step in STEPS[: number + 1]):,} values: {size:.0f} B each, a day "
        f"{statistics.median(days):.0f} ms, {rate:,.0f} values/s {'pushed' if step.pushed else 'without HTTP'}"
        for number, (step, size, days, rate) in enumerate(
            zip(STEPS, growth.sizes, growth.days, growth.rates, strict=True)
        )
    )
    return [
        Figure(
            "postgres",
            f"{name}: ingest by push, {STEPS[1].nodes} nodes at once in units of {TOGETHER * UNIT:,}",
            growth.rates[1],
            "values/s",
            better="higher",
            note=f"{STEPS[1].values:,} values published in groups of {TOGETHER}, each unit committed durably",
        ),
        Figure(
            "postgres",
            f"{name}: one series' day, {DAY_SECONDS:,} of {growth.written:,} values",
            statistics.median(growth.days[-1]),
            "ms",
            target=200.0,
            note=f"by columns over HTTP, decoded: {summary(growth.days[-1])}; by rows {statistics.median(growth.by_row):.0f}",
        ),
        Figure("postgres", f"{name}: size", growth.sizes[-1], "B/value", note=table),
    ]


async def _grow(directory: Path, database: str | None) -> Growth:
    growth = Growth()
    hub = Hub(directory, database=database, settings=BY_SECRET)
    first = SystemClock().wall_ns() // (DAY_SECONDS * NS) * DAY_SECONDS * NS
    await hub.start()
    try:
        for step in STEPS:
            nodes = [await _door(hub).enrol(f"n{step.nodes}-{n}") for n in range(step.nodes)]
            if step.pushed:
                spent = await _push(hub, nodes, step, first)
            else:
                await hub.process.end(signal.SIGTERM)
                spent = await _write(hub, database, nodes, step, first)
                await hub.start()
            growth.written += step.values
            growth.rates.append(step.values / spent)
            growth.sizes.append(_size(hub, database) / growth.written)
            growth.days.append(await _looks(hub, nodes[-1], step, first, "columns", Columns))
        growth.by_row = await _looks(hub, nodes[-1], step, first, "rows", Rows)
    finally:
        await hub.kill()
    return growth


def _door(hub: Hub) -> RunningHub:
    return RunningHub(hub.url, (hub.directory / "admin.token").read_text().strip())


def _units(number: int, series: int, first: int) -> Iterator[list[Batch]]:
    """A node's day in order: groups of TOGETHER values, as few seconds as that takes."""
    seconds = TOGETHER // series
    groups = range(0, DAY_SECONDS, seconds)
    for start in range(0, len(groups), UNIT):
        yield [
            Batch(
                "measurement", "s", f"{number:032x}", second * series + 1, first, 1, "synced",
                [
                    Record(
                        each * series + i,
                        f"env.{i}",
                        first + (second + each) * NS,
                        20 + (second + each + i) % 97 / 10,
                        {"unit": "C"},
                    )
                    for each in range(seconds)
                    for i in range(series)
                ],
            )
            for second in groups[start : start + UNIT]
        ]  # fmt: skip


def _bodies(number: int, step: Step, first: int) -> Iterator[bytes]:
    n, chain = 0, NO_CHAIN
    for batches in _units(number, step.series, first):
        frames = [encode(batch) for batch in batches]
        unit = PushUnit("i", "keep", n + 1, chain, "boot", [msgspec.Raw(frame) for frame in frames])
        yield compress(encode(unit))
        n += TOGETHER * len(frames)
        for frame in frames:
            chain = extend(chain, frame)


async def _push(hub: Hub, nodes: Sequence[EnrolledNode], step: Step, first: int) -> float:
    """Seconds until all is acknowledged. What the nodes send is made before."""
    loads = [list(_bodies(step.nodes * 100 + number, step, first)) for number in range(step.nodes)]
    async with aiohttp.ClientSession(hub.url) as session:

        async def send(node: EnrolledNode, bodies: list[bytes]) -> None:
            headers = RunningHub.node(node) | {"Content-Encoding": "zstd"}
            for body in bodies:
                async with session.post("/sync/v1/push", data=body, headers=headers) as answer:
                    reply = decode(await answer.read(), PushReply, "the answer")
                    assert reply.outcome == "ok", reply

        started = time.perf_counter()
        await asyncio.gather(*map(send, nodes, loads))
        return time.perf_counter() - started


async def _write(
    hub: Hub, database: str | None, nodes: Sequence[EnrolledNode], step: Step, first: int
) -> float:
    async with _store(database or f"sqlite:///{hub.directory / 'hub.db'}") as store:
        ingest = Ingest()

        async def write(some: Sequence[tuple[int, EnrolledNode]]) -> None:
            days = [(node.node_id, _units(number, step.series, first)) for number, node in some]
            for batches in zip(*(units for _, units in days), strict=True):
                for (node_id, _), unit in zip(days, batches, strict=True):
                    await store.write(
                        lambda c, n=node_id, b=unit: ingest.ingest(c, n, "boot", first, b)()
                    )

        started = time.perf_counter()
        numbered = list(enumerate(nodes, step.nodes * 100))
        await asyncio.gather(*(write(numbered[n::WRITERS]) for n in range(WRITERS)))
        return time.perf_counter() - started


@asynccontextmanager
async def _store(url: str) -> AsyncIterator[HubStore]:
    store = HubStore(url, SystemClock())
    await asyncio.to_thread(store.start)
    try:
        yield store
    finally:
        await asyncio.to_thread(store.stop)


async def _looks(
    hub: Hub, node: EnrolledNode, step: Step, first: int, form: str, kind: type[Columns | Rows]
) -> list[float]:
    """Milliseconds from the question to the decoded answer."""
    asked = {
        "name": f"env.{step.series - 1}", "node": node.name, "since": first,
        "until": first + DAY_SECONDS * NS, "limit": DAY_SECONDS, "format": form,
    }  # fmt: skip
    times = []
    async with aiohttp.ClientSession(hub.url, headers=_door(hub).person) as session:
        for _ in range(LOOKS):
            started = time.perf_counter()
            async with session.get("/api/v1/records", params=asked) as answer:
                found = decode(await answer.read(), kind, "the answer")
            times.append((time.perf_counter() - started) * 1000)
    held = found.rows if isinstance(found, Rows) else found.series[0].at
    assert len(held) == DAY_SECONDS
    return times


def _size(hub: Hub, database: str | None) -> int:
    if database is None:
        return sum(path.stat().st_size for path in hub.directory.glob("hub.db*"))
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert found is not None
    return int(found[0])
