"""The restore drill: a backup while nodes push, more records, the hub's store lost, and the backup put back.

The nodes let go of everything that the hub says is in a backup. What they kept must be enough.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.installation import BY_SECRET, Hub
from tests.postgres import Postgres
from tests.simulated_nodes import SimulatedNode, back, enrolled, held, open_many

from skerry.testing.waiting import eventually

Held = dict[str, tuple[int, int]]


class SqliteSite:
    """One hub; its database is on another disk than the backups."""

    def __init__(self, memory: Path) -> None:
        self.hubs = [Hub(memory, settings=BY_SECRET)]
        self.options = ["--data-dir", str(self.hubs[0].directory)]
        self._database = self.hubs[0].directory / "hub.db"

    def lose(self) -> None:
        for path in self._database.parent.glob("hub.db*"):
            path.unlink()

    def held(self) -> Held:
        query = (
            "SELECT node_id, count(*), count(DISTINCT session_id || '.' || counter) "
            "FROM record JOIN series ON series.id = series_id GROUP BY node_id"
        )
        with contextlib.closing(sqlite3.connect(self._database)) as database:
            return {row[0]: (row[1], row[2]) for row in database.execute(query)}


class PostgresSite:
    """Two hubs on one server; their data is on another disk than the backups."""

    def __init__(self, directory: Path, url: str) -> None:
        self.hubs = [Hub(directory, name, url, BY_SECRET) for name in ("one", "other")]
        self.options = [
            *("--config", str(directory / "one.yaml")),
            *("--data-dir", str(self.hubs[0].directory)),
        ]
        self._url = url

    def lose(self) -> None:
        self.options.append("--replace")

    def held(self) -> Held:
        return held(self._url)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def site(
    request: pytest.FixtureRequest, memory_dir: Path
) -> AsyncIterator[SqliteSite | PostgresSite]:
    with contextlib.ExitStack() as stack:
        found: SqliteSite | PostgresSite
        if request.param == "sqlite":
            found = SqliteSite(memory_dir)
        else:
            server: Postgres = request.getfixturevalue("postgres")
            found = PostgresSite(memory_dir, stack.enter_context(server.database()))
        try:
            for hub in found.hubs:
                await hub.start()
            yield found
        finally:
            for hub in found.hubs:
                if hub.process.runs:
                    await hub.kill()


async def skerry(*words: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "skerry.cli.main", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()


@pytest.mark.guarantee("G1")
@pytest.mark.guarantee("G6")
@pytest.mark.timeout(180)
async def test_what_was_ever_acknowledged_is_there_once_after_a_restore(
    site: SqliteSite | PostgresSite, short_dir: Path
) -> None:
    file = str(short_dir / "one.skb")
    async with open_many() as session:
        nodes = await enrolled(site.hubs, session, count=6, every=0.1)
        running = [asyncio.create_task(node.run()) for node in nodes]
        try:
            await back(nodes, 0.0, 60)
            await skerry("hub", "backup", file, *site.options)
            await eventually(lambda: all(map(_forgets, nodes)), "nodes rely on the backup", 60)
            await back(nodes, time.monotonic(), 60)
            for node in nodes:
                node.may_lose = True
            for hub in site.hubs:
                await hub.kill()
            before = sum(rows for rows, _ in site.held().values())
            site.lose()
            await skerry("hub", "restore", file, *site.options)
            assert 0 < sum(rows for rows, _ in site.held().values()) < before
            for hub in site.hubs:
                await hub.start()
            await back(nodes, time.monotonic(), 60)
        finally:
            for node in nodes:
                node.producing = False
            async with asyncio.timeout(60):
                await asyncio.gather(*running)
    assert site.held() == {node.node_id: (node.produced, node.produced) for node in nodes}


def _forgets(node: SimulatedNode) -> bool:
    return node.forgotten > 0
