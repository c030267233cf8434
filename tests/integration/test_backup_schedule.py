"""Backups by the clock: when one is due, what a failure does, and that the real child makes one."""

import os
import threading
from functools import partial
from pathlib import Path

import pytest
from tests.backup_rig import settings
from tests.sealed_node import edit, sealed_node

from skerry.kit.archive.reading import Archive
from skerry.kit.clock import SystemClock
from skerry.kit.errors import Transient
from skerry.node.backups.listing import Listing, Seen
from skerry.node.backups.schedule import AGAIN, Backups, Outcome, run_child
from skerry.node.node_settings import NodeSettings
from skerry.node.store.opening import integrity_problem
from skerry.node.store.watch import StoreWatch, pause_before
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.records import Meta, Value

DAY = 86_400.0


class Rig:
    """A schedule whose child is the test."""

    def __init__(self, directory: Path, clock: ManualClock) -> None:
        self.clock = clock
        self.outcome: Outcome | Transient = Outcome(0, "made")
        self.rooms: list[int | None] = []
        self.told: list[tuple[str, Value]] = []
        self.damaged: list[str] = []
        self.directory = directory / "backups"
        self.directory.mkdir()
        self.backups = Backups(
            settings(directory), "shed", clock, run=self._run, tell=self._tell, left=lambda: 77,
            damaged=self._doubt,
        )  # fmt: skip

    async def _run(self, _settings: NodeSettings, room: int | None) -> Outcome:
        self.rooms.append(room)
        if isinstance(self.outcome, Transient):
            raise self.outcome
        if self.outcome.code == 0:
            path = self.directory / f"node-shed-{len(self.rooms):06d}-20260101T000000Z.skb"
            path.write_bytes(b"x")
            os.utime(path, ns=(self.clock.wall_ns(), self.clock.wall_ns()))
        return self.outcome

    async def _doubt(self, words: str) -> None:
        self.damaged.append(words)

    async def _tell(self, name: str, value: Value, _meta: Meta) -> None:
        self.told.append((name, value))


@pytest.fixture
def rig(tmp_path: Path, manual_clock: ManualClock) -> Rig:
    return Rig(tmp_path, manual_clock)


async def test_one_a_day_and_one_at_once_when_there_is_none(rig: Rig) -> None:
    for hours, made in ((0, 1), (1, 1), (22, 1), (1, 2), (1, 2), (24, 3)):
        rig.clock.advance(hours * 3600.0)
        await rig.backups.once()
        assert len(rig.rooms) == made
    status = await rig.backups.status()
    assert (status.kept, status.last_at, status.problem) == (3, rig.clock.wall_ns(), "")
    assert rig.rooms[0] == 77
    assert rig.told == []


class Hanging(Listing):
    """A share that does not answer until `gate` is set."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "shed", 0.05)
        self.gate = threading.Event()
        self.looks = 0

    def look(self) -> Seen:
        self.looks += 1
        self.gate.wait()
        return super().look()


@pytest.mark.guarantee("G4")
async def test_a_share_that_does_not_answer_holds_nothing_up(rig: Rig) -> None:
    await rig.backups.once()
    assert (await rig.backups.status()).kept == 1
    share = Hanging(rig.directory)
    share.seen = Seen(1, 5, 1)
    rig.backups._listing = share
    rig.clock.advance(2 * DAY)
    for _ in range(5):
        await rig.backups.once()
        status = await rig.backups.status()
        assert (status.kept, status.last_at, status.last_size) == (1, 5, 1)
        assert "does not answer" in status.problem
    assert (share.looks, len(rig.rooms)) == (1, 1)
    share.gate.set()
    await eventually(lambda: share._look is not None and share._look.done(), "it answers")
    await rig.backups.once()
    assert len(rig.rooms) == 2
    assert (await rig.backups.status()).problem == ""


async def test_a_failure_is_told_once_and_tried_again_every_quarter_of_an_hour(rig: Rig) -> None:
    rig.outcome = Outcome(1, "cannot make a backup: no room")
    for _ in range(3):
        await rig.backups.once()
        rig.clock.advance(AGAIN)
    await rig.backups.once()
    await rig.backups.once()
    assert len(rig.rooms) == 4
    assert rig.told == [("skerry.backup.failed", "cannot make a backup: no room")]
    assert (await rig.backups.status()).problem == "cannot make a backup: no room"
    assert rig.damaged == []
    rig.outcome = Outcome(0, "made")
    rig.clock.advance(AGAIN)
    await rig.backups.once()
    assert (await rig.backups.status()).problem == ""


async def test_a_child_that_takes_too_long_is_a_failure_like_any_other(rig: Rig) -> None:
    rig.outcome = Transient("cannot make a backup: it took more than 3600 s")
    await rig.backups.once()
    assert rig.told == [("skerry.backup.failed", str(rig.outcome))]
    assert (await rig.backups.status()).problem == str(rig.outcome)
    await rig.backups.once()
    assert len(rig.rooms) == 1


async def test_the_real_child_needs_no_second_look_at_the_key(tmp_path: Path) -> None:
    async with sealed_node(tmp_path) as node:
        await edit(node, 1)
        key = tmp_path / "storage.key"
        key.rename(tmp_path / "elsewhere")
        os.mkfifo(key, 0o600)  # a pipe that was read: who opens it waits for ever
        made = await run_child(
            settings(tmp_path, on=True), None, kek=lambda: node.store.encryption.kek
        )
        assert made.code == 0, made.words


@pytest.mark.guarantee("G6")
async def test_a_child_that_finds_the_database_damaged_is_heard(rig: Rig) -> None:
    rig.outcome = Outcome(3, "cannot back up node.db: it is damaged")
    await rig.backups.once()
    assert rig.damaged == ["cannot back up node.db: it is damaged"]


@pytest.mark.guarantee("G6")
async def test_only_what_the_agent_finds_itself_has_the_database_rebuilt(tmp_path: Path) -> None:
    async with sealed_node(tmp_path) as node:
        await edit(node, 1)
        await node.store.writer.compact()
        path, ring = node.store.path, node.store.encryption.ring
        check = partial(integrity_problem, path)
        watch = StoreWatch(path, SystemClock(), check, partial(check, node.store.cipher))
        await watch.doubted("cannot make a backup")
        assert (watch.damage, watch.found.is_set()) == (None, False)
        assert ring
        body = path.read_bytes().index(ring.cipher("store").now.sealing.head)
        with path.open("r+b") as file:  # SQLite itself finds nothing wrong with that
            file.seek(body + 30)
            file.write(b"noise")
        assert check() == ""
        await watch.doubted("cannot make a backup")
        assert watch.damage is not None
        assert watch.damage.suspect
        assert "it is not what was sealed there" in str(watch.damage)


def test_a_node_that_begins_anew_again_and_again_waits_longer_each_time() -> None:
    assert [pause_before(rounds) for rounds in range(4)] == [0.0, 5.0, 10.0, 20.0]
    assert pause_before(100) == 600.0


@pytest.mark.parametrize("on", [False, True])
async def test_the_real_child(tmp_path: Path, on: bool) -> None:
    async with sealed_node(tmp_path, on=on) as node:
        await edit(node, 1)
        made = await run_child(settings(tmp_path, on=on), None)
        assert made.code == 0, made.words
        (path,) = (tmp_path / "backups").glob("*.skb")
        assert Archive(path).header.sealed == on
        assert Archive(path).header.holds == "database"
        full = await run_child(settings(tmp_path, on=on), 10)
        assert (full.code, "has no room for" in full.words) == (1, True)
        page = 4096
        with (
            node.store.path.open("r+b") as file,
            node.store.path.with_name("node.db-wal").open("r+b") as log,
        ):
            for each, first in ((file, page), (log, 32)):
                each.seek(first)
                each.write(b"\x5a" * 40 * page)
        broken = await run_child(settings(tmp_path, on=on), None)
        assert broken.code == 3, broken.words
        assert list((tmp_path / "backups").iterdir()) == [path]
    assert SystemClock().wall_ns() > Archive(path).header.made_at
