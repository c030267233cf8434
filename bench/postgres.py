"""The hub's store on SQLite and on PostgreSQL in one run: ingest, one series' day, growth from 10⁵ to 10⁷ values.

PostgreSQL is a cluster of its own with its defaults (`tests.postgres`); both commit durably. `SKERRY_BENCH_VALUES`
below 10⁷ makes a shorter run, whose figures say so.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, text
from tests.postgres import installed, server

from bench.figures import Figure, summary
from skerry.hub.data.ingest import Ingest
from skerry.hub.data.query import RecordQuery
from skerry.hub.data.retention import Ages, Retention
from skerry.hub.store.hub_store import HubStore
from skerry.kit.clock import NS, SystemClock
from skerry.wire.records import Batch, Record

DAY_VALUES = 86_400
VALUES = int(os.environ.get("SKERRY_BENCH_VALUES", "10000000"))
UNIT = 2000
LOOKS = 7
_STEPS = (100_000, 1_000_000, 10_000_000)
_DAY = 86_400 * NS


async def run(place: Path) -> list[Figure]:
    """SQLite first, then PostgreSQL, each in an empty database."""
    programs = installed()
    assert programs is not None, "PostgreSQL is not installed"
    sqlite = await _measure("SQLite", f"sqlite:///{place / 'hub.db'}")
    with server(programs) as running, running.database() as url:
        postgres = await _measure("PostgreSQL", url)
    return [*sqlite, *postgres]


async def _measure(name: str, url: str) -> list[Figure]:
    clock = SystemClock()
    store = HubStore(url, clock)
    await asyncio.to_thread(store.start)
    try:
        # Series of one value a second each, that end now: the times go back as many days as they need.
        count = -(-VALUES // (7 * DAY_VALUES))
        first = (clock.wall_ns() // _DAY - 6) * _DAY
        await Retention(store, Ages(measurement=30 * 86_400, event=86_400, gap=86_400)).prepare(
            first
        )
        return await _fill(name, store, count, first)
    finally:
        await asyncio.to_thread(store.stop)


async def _fill(name: str, store: HubStore, count: int, first: int) -> list[Figure]:
    ingest, written, spent = Ingest(), 0, 0.0
    figures: list[Figure] = []
    growth: list[str] = []
    for node, batch in _batches(count, first):
        started = time.perf_counter()
        await store.write(lambda c, n=node, b=batch: ingest.ingest(c, n, "boot", first, [b])())
        spent += time.perf_counter() - started
        written += len(batch.records)
        if written in _STEPS or written == VALUES:
            size = await store.read(_size)
            looks = await _looks(store, first)
            growth.append(
                f"{written:,} values: {size / written:.0f} B each, query {statistics.median(looks):.0f} ms"
            )
        if written >= VALUES:
            break
    figures.append(
        Figure(
            "postgres",
            f"{name}: ingest in units of {UNIT:,}",
            written / spent,
            "values/s",
            better="higher",
            note=f"{written:,} values, one writer, each unit committed durably",
        )
    )
    looks = await _looks(store, first)
    figures.append(
        Figure(
            "postgres",
            f"{name}: one series' day, up to {DAY_VALUES:,} of {written:,} values",
            statistics.median(looks),
            "ms",
            target=200.0,
            note=summary(looks),
        )
    )
    size = await store.read(_size)
    figures.append(
        Figure("postgres", f"{name}: size", size / written, "B/value", note="; ".join(growth))
    )
    return figures


def _batches(count: int, first: int) -> Iterator[tuple[str, Batch]]:
    """Second by second for all series together, as they come from a fleet."""
    for start in range(0, 7 * DAY_VALUES, UNIT):
        for node in range(count):
            records = [
                Record(i, "env.temperature", first + (start + i) * NS, 20 + (start + i) % 97 / 10)
                for i in range(min(UNIT, 7 * DAY_VALUES - start))
            ]
            yield (
                f"n{node}",
                Batch("measurement", "s", f"{node:032x}", start + 1, first, 1, "synced", records),
            )


async def _looks(store: HubStore, first: int) -> list[float]:
    query, times = RecordQuery(store), []
    for _ in range(LOOKS):
        started = time.perf_counter()
        _ = await query.records(
            name="env.temperature", node="n0", since=first, until=first + _DAY, limit=DAY_VALUES
        )
        times.append((time.perf_counter() - started) * 1000)
    return times


def _size(connection: Connection) -> int:
    if connection.dialect.name == "postgresql":
        return int(
            connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
        )
    pages = connection.execute(text("PRAGMA page_count")).scalar_one()
    return int(pages) * int(connection.execute(text("PRAGMA page_size")).scalar_one())
