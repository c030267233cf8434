"""Two processes write changes to one PostgreSQL while a third reads by cursor: none is ever skipped."""

import asyncio
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, select
from tests.postgres import Postgres

from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import change
from skerry.kit.clock import SystemClock

pytestmark = pytest.mark.postgres

WRITER = Path(__file__).parents[1] / "change_writer.py"
COUNT = 120


async def start(url: str, how: str, seed: int) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(WRITER), url, how, str(COUNT), str(seed)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def read_by_cursor(url: str, how: str) -> tuple[list[int], list[int]]:
    """What a reader saw that asks for what is after the last that it saw, as a node does; and what there was to see."""
    store = HubStore(url, SystemClock())
    await asyncio.to_thread(store.start)
    if how == "sequence":
        await store.write(lambda c: c.exec_driver_sql("CREATE SEQUENCE control"))
    writers = [await start(url, how, seed) for seed in (1, 2)]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
    seen: list[int] = []

    def after(connection: Connection) -> list[int]:
        query = select(change.c.seq).where(change.c.seq > (seen[-1] if seen else 0))
        return list(connection.execute(query.order_by(change.c.seq)).scalars())

    ended = asyncio.gather(*(writer.wait() for writer in writers))
    while not ended.done():
        seen += await store.read(after)
    assert await ended == [0, 0]
    seen += await store.read(after)
    query = select(change.c.seq).order_by(change.c.seq)
    held = await store.read(lambda connection: list(connection.execute(query).scalars()))
    await asyncio.to_thread(store.stop)
    return seen, held


@pytest.mark.guarantee("G1")
async def test_no_cursor_skips_a_row_of_two_writers(postgres: Postgres) -> None:
    with postgres.database() as url:
        seen, held = await read_by_cursor(url, "locked")
    assert seen == held == list(range(1, 2 * COUNT + 1))


async def test_numbers_that_are_not_locked_to_the_commit_would_be_skipped(
    postgres: Postgres,
) -> None:
    """The control: the same harness finds it when numbers become visible out of order."""
    with postgres.database() as url:
        seen, held = await read_by_cursor(url, "sequence")
    assert len(held) == 2 * COUNT
    assert set(seen) < set(held)
