"""Log lines as records: once each whatever is killed, at most so many a second, and what is left out is told."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.sync_rig import MIGRATIONS

from skerry.keeper.log_file import LogFile, stamp
from skerry.keeper.log_rules import LogRules
from skerry.kit.disk import RealDisk
from skerry.kit.sealing.cipher import NullCipher
from skerry.kit.sqlite import SqliteWriter
from skerry.node.data.query import RecordQuery
from skerry.node.store.record_jobs import Limits
from skerry.node.store.records import RecordStore
from skerry.node.store.state import NodeStore
from skerry.node.workloads.log_shipping import BURST, LINES_A_SECOND, LogShipping
from skerry.testing.manual_clock import ManualClock
from skerry.wire.records import Row
from skerry.wire.workload import Shipped


class Site:
    """A node's stores, one log and its shipping; agents come and go."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock()
        self.wanted: dict[str, Shipped | None] = {"w": "all"}
        self.path = directory / "logs" / "w" / "current.log"
        self.path.parent.mkdir(parents=True)
        self.rules = LogRules(10_000_000, 5)
        self.log = LogFile(str(self.path), self.rules, lambda: 0, lambda _s, _c: None)
        self.count = 0

    async def start(self) -> None:
        self.writer = SqliteWriter(self.directory / "node.db", MIGRATIONS, RealDisk())
        self.writer.start()
        self.store = NodeStore(
            self.directory / "node.db", self.writer, self.clock, "n", NullCipher()
        )
        await self.store.open()
        self.records = RecordStore(
            self.directory / "records",
            disk=RealDisk(),
            clock=self.clock,
            cipher=NullCipher(),
            limits=Limits(reserve=0),
        )
        await self.records.start()
        self.shipping = LogShipping(
            lambda: self.wanted,
            lambda _workload: self.path,
            self.records,
            self.store,
            self.clock,
            lambda: "synced",
        )

    async def stop(self) -> None:
        await self.records.stop()
        self.store.close()
        self.writer.stop()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def write(self, lines: int, text: str = "line {}", stream: str = "stdout") -> None:
        batch = []
        for _ in range(lines):
            self.count += 1
            at = self.clock.wall_ns() + self.count
            printed = text.format(self.count)
            batch.append(stamp(at) + f" {stream} F {printed}\n".encode())
        self.log.append(batch)

    async def passes(self, count: int = 1, seconds: float = 1.0) -> None:
        for _ in range(count):
            self.clock.advance(seconds)
            await self.shipping.once()

    async def sent(self) -> list[Row]:
        rows = await RecordQuery(self.records, "n").records(
            "skerry.log.w", None, None, None, 90_000
        )
        return rows.rows

    async def texts(self) -> list[str]:
        return [str(row.value) for row in await self.sent()]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    await site.start()
    yield site
    site.log.close()
    await site.stop()


def lines(first: int, last: int) -> list[str]:
    return [f"line {number}" for number in range(first, last + 1)]


async def test_lines_become_records_of_the_workload(site: Site) -> None:
    site.write(1, "WARNING: low {}", "stderr")
    await site.passes()
    (row,) = await site.sent()
    assert (row.name, row.source, row.value) == ("skerry.log.w", "w", "WARNING: low 1")
    assert row.meta == {"stream": "stderr", "level": "warning"}
    assert row.timestamp.encode() == site.path.read_bytes()[:30]
    await site.passes(3)
    assert len(await site.sent()) == 1


async def test_it_begins_with_the_last_hundred_lines(site: Site) -> None:
    site.write(300)
    await site.passes()
    assert await site.texts() == lines(201, 300)


async def test_only_a_level_and_above(site: Site) -> None:
    site.wanted = {"w": "warning"}
    site.write(1, "INFO: {}")
    site.write(1, "ERROR: {}")
    site.write(1, "no level {}")
    await site.passes()
    assert await site.texts() == ["ERROR: 2"]


async def test_an_agent_that_restarts_neither_loses_nor_doubles(site: Site) -> None:
    site.write(50)
    await site.passes()
    site.write(50)
    await site.restart()
    await site.passes()
    assert await site.texts() == lines(1, 100)


@pytest.mark.guarantee("G1")
async def test_a_kill_before_the_place_was_kept_doubles_nothing(site: Site, tmp_path: Path) -> None:
    site.write(20)
    await site.passes()
    await site.stop()
    for name in ("node.db", "node.db-wal"):
        if (site.directory / name).exists():
            shutil.copy(site.directory / name, tmp_path / f"kept-{name}")
    await site.start()
    site.write(60)
    await site.passes()
    await site.stop()
    for name in ("node.db", "node.db-wal", "node.db-shm"):
        (site.directory / name).unlink(missing_ok=True)
        if (tmp_path / f"kept-{name}").exists():
            shutil.copy(tmp_path / f"kept-{name}", site.directory / name)
    await site.start()
    site.write(1)
    await site.passes()
    assert await site.texts() == lines(1, 81)


async def test_across_rotations(site: Site) -> None:
    site.log.obey(LogRules(4096, 50))
    site.write(10)
    await site.passes()
    for _ in range(10):
        site.write(60)
        await site.passes(2)
    assert len(list(site.path.parent.iterdir())) > 5
    assert await site.texts() == lines(1, 610)


async def test_a_burst_is_sent_late_but_whole(site: Site) -> None:
    site.write(1)
    await site.passes()
    site.write(2000)
    await site.passes()
    assert len(await site.sent()) <= BURST + 1
    seconds = int(2000 / LINES_A_SECOND)
    await site.passes(seconds)
    assert await site.texts() == lines(1, 2001)


async def test_rotated_files_may_go_when_nothing_waits(site: Site) -> None:
    rotated = site.path.with_name("current.log.1")
    assert not site.shipping.is_sent(rotated)  # nobody has looked yet
    site.write(1)
    await site.passes(2)
    assert site.shipping.is_sent(rotated)
    site.write(2000)
    await site.passes()
    assert not site.shipping.is_sent(rotated)
    await site.passes(int(2000 / LINES_A_SECOND))
    assert site.shipping.is_sent(rotated)
    site.write(2000)
    site.wanted["w"] = None
    await site.passes()
    assert site.shipping.is_sent(rotated)


async def test_of_too_much_the_oldest_is_left_out_and_counted(site: Site) -> None:
    site.log.obey(LogRules(100_000_000, 2))
    site.write(1)
    await site.passes()
    site.write(100_000, "line {} " + "x" * 60)
    await site.passes(2)
    rows = await site.sent()
    (notice,) = (row for row in rows if "left_out" in row.meta)
    left_out = notice.meta["left_out"]
    assert isinstance(left_out, int)
    assert left_out > 50_000
    assert notice.value == f"skerry: {left_out} lines left out here: more than 50 a second"
    later = [int(str(row.value).split()[1]) for row in rows if row is not notice]
    assert later[:2] == [1, left_out + 2]
    assert later[1:] == list(range(left_out + 2, left_out + 1 + len(later)))


async def test_lines_that_were_rotated_away_are_said_to_be_missing(site: Site) -> None:
    site.log.obey(LogRules(4096, 2))
    site.write(1)
    await site.passes()
    site.write(500)
    await site.passes()
    texts = await site.texts()
    assert texts[0] == "line 1"
    assert max(texts).startswith("skerry: lines are missing here")
    kept = b"".join(
        (site.path.parent / name).read_bytes() for name in ("current.log.1", "current.log")
    )
    assert len(texts) == 2 + kept.count(b"\n")


async def test_switched_off_and_on_again_it_begins_anew(site: Site) -> None:
    site.write(10)
    await site.passes()
    site.wanted = {"w": None}
    site.write(500)
    await site.passes()
    assert len(await site.sent()) == 10
    site.wanted = {"w": "all"}
    await site.passes()
    assert await site.texts() == lines(1, 10) + lines(411, 510)


async def test_places_that_cannot_be_read_are_begun_anew(site: Site) -> None:
    await site.store.set_fact("shipped logs", "nonsense")
    site.write(3)
    await site.passes()
    assert await site.texts() == lines(1, 3)


async def test_long_lines_cost_more(site: Site) -> None:
    site.write(1)
    await site.passes()
    site.write(300, "{} " + "x" * 10_000)
    await site.passes()
    assert len(await site.sent()) < 150
