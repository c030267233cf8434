"""The hub's own backups: when they are made, which stay, what nodes hear of them, and what people see when they fail."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from pathlib import Path

import msgspec
import pytest
from tests.hub_backups import hub_settings_at
from tests.hub_rig import INCARNATION, HubRig, Lanes, batch

from skerry.hub import encryption, maintenance
from skerry.hub.backups.apart import Home
from skerry.hub.backups.copies import BlobCopies
from skerry.hub.backups.making import SPARE, Maker
from skerry.hub.backups.restoring import Wish
from skerry.hub.backups.schedule import Plan, Schedule
from skerry.hub.settings import EncryptionSection, StorageEncryption
from skerry.hub.store.engine import parse_url
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.leases import Leases
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Corrupt, Refused
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.sync import Hello

DAY = 86_400.0


class Tight(RealDisk):
    """A disk with so many bytes left."""

    left = 10**15

    def free_bytes(self, path: Path) -> int:  # noqa: ARG002
        return self.left


class Site:
    """A hub with a schedule; its backups are on another disk than its database."""

    def __init__(self, hub: HubRig, data_dir: Path, backups: Path, keep: int = 2) -> None:
        self.hub, self.data_dir, self.directory = hub, data_dir, backups
        self.disk = Tight()
        self.lanes = Lanes()
        self._counter = 1
        home = Home(parse_url(hub.url), data_dir)
        maker = Maker(home, "test", list, self.disk, hub.clock)
        plan = Plan(backups, DAY, keep)
        self.schedule = Schedule(hub.store, maker, Leases(hub.store), plan, hub.clock, own=False)

    async def push(self) -> None:
        await self.hub.push(
            "n",
            self.lanes.unit("keep", [batch(1, counter=self._counter, at=self._counter * 100)]),
        )
        self._counter += 1

    async def told(self) -> int:
        hello = Hello((1, 1), INCARNATION, "0.1", "boot-1")
        return (await self.hub.greeter.hello("n", hello)).backed_up_through["keep"]

    def blob(self, name: str, content: bytes) -> Path:
        path = self.data_dir / "files" / name[:2] / name[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    @property
    def backups(self) -> list[str]:
        return sorted(path.name[:-21] for path in self.directory.glob("*.skb"))

    @property
    def copies(self) -> list[bytes]:
        return sorted(path.read_bytes() for path in self.directory.glob("*.blobs/??/*"))


@pytest.fixture
def site(hub: HubRig, tmp_path: Path, memory_dir: Path) -> Site:
    (tmp_path / "hub").mkdir()
    return Site(hub, tmp_path / "hub", memory_dir)


@pytest.mark.guarantee("G1")
async def test_backups_are_made_when_due_kept_by_number_and_counted_while_they_are_there(
    site: Site,
) -> None:
    for day in range(1, 4):
        await site.push()
        if day == 2:
            site.blob("aa" * 32, b"only then")
        await site.schedule.once()
        await site.schedule.once()  # nothing is due
        assert await site.told() == day
        if day == 2:
            site.blob("aa" * 32, b"").unlink()
            assert site.copies == [b"only then"]
        site.hub.clock.advance(DAY)
    owner = f"hub-test-{site.hub.store.facts.hub_id[-8:]}"
    assert site.backups == [f"{owner}-000002", f"{owner}-000003"]
    status = await site.schedule.status()
    assert [Path(each.path).name[:-21] for each in status.counting] == site.backups
    assert (status.problem, status.made_at) == ("", status.counting[-1].taken_at)
    await site.push()
    await site.schedule.once()
    assert site.copies == []  # no backup lists it any more
    for path in site.directory.glob("*.skb"):
        path.unlink()
    site.hub.clock.advance(3601)
    await site.schedule.look()
    assert await site.told() == 0


async def test_a_failure_is_shown_tried_again_and_forgotten_after_a_success(site: Site) -> None:
    await site.push()
    site.disk.left = SPARE
    await site.schedule.once()
    assert "too little room" in await site.schedule.problem()
    assert (site.backups, await site.told()) == ([], 0)
    site.disk.left = 10**15
    await site.schedule.once()  # not at once
    assert "too little room" in await site.schedule.problem()
    site.hub.clock.advance(600)
    await site.schedule.once()
    assert (await site.schedule.problem(), await site.told()) == ("", 1)
    assert [path for path in site.directory.iterdir() if path.name.startswith(".backup.n")] == []


async def test_on_a_full_disk_the_older_ones_make_room_and_the_newest_stays(site: Site) -> None:
    for _ in range(2):
        await site.schedule.once()
        site.hub.clock.advance(DAY)
    newest = site.backups[-1]
    site.disk.left = SPARE  # unlinking helps nothing here
    await site.schedule.once()
    assert newest in site.backups
    assert "too little room" in await site.schedule.problem()


async def test_a_hub_that_ends_does_not_wait_for_its_backup(site: Site) -> None:
    began = asyncio.Event()
    loop = asyncio.get_running_loop()
    go_on = site.schedule._go_on

    def slowly(size: int) -> None:
        loop.call_soon_threadsafe(began.set)
        site.schedule._ending.wait(20)
        go_on(size)

    site.schedule._go_on = slowly  # type: ignore[method-assign]
    making = asyncio.create_task(site.schedule.once())
    await began.wait()
    making.cancel()
    await asyncio.wait([making])
    await eventually(lambda: not list(site.directory.glob("*.new")), "its thread has ended")
    assert site.backups == []


@pytest.mark.guarantee("G6")
async def test_a_damaged_database_is_told_and_waits_for_the_operator(
    tmp_path: Path, memory_dir: Path, manual_clock: ManualClock
) -> None:
    settings = hub_settings_at(tmp_path / "hub", backup_path=memory_dir)
    hub = HubRig(settings.database_url, manual_clock)
    await hub.start()
    await hub.enrol("kept")
    made = await asyncio.to_thread(maintenance.back_up, settings, None, manual_clock)
    assert made.apart
    hub.stop()
    path = tmp_path / "hub" / "hub.db"
    noise = path.read_bytes()[:100] + b"\x5a" * (path.stat().st_size - 100)
    path.write_bytes(noise)
    damaged = HubRig(settings.database_url, manual_clock)
    with pytest.raises(Corrupt) as told:
        maintenance.start(settings, damaged.store)
    assert "skerry hub restore FILE --replace" in str(told.value)
    assert f"The newest backup here: {made.path}" in str(told.value)
    damaged.stop()
    assert path.read_bytes() == noise
    done = await asyncio.to_thread(
        maintenance.restore, settings, made.path, Wish(replace=True), manual_clock
    )
    assert Path(done.aside).read_bytes() == noise
    again = HubRig(settings.database_url, manual_clock)
    await again.start()
    assert [view.name for view in await again.nodes.list()] == ["kept"]
    again.stop()


async def test_blobs_come_back_and_copies_that_are_gone_are_told(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    settings = hub_settings_at(tmp_path / "hub")
    hub = HubRig(settings.database_url, manual_clock)
    await hub.start()
    blob = tmp_path / "hub" / "files" / "ab" / ("c" * 62)
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"content")
    (blob.parent / f"{'d' * 62}.part").write_bytes(b"not yet")
    file = tmp_path / "one.skb"
    made = await asyncio.to_thread(maintenance.back_up, settings, file, manual_clock)
    assert (made.blobs, made.apart) == (1, False)
    hub.stop()
    blob.unlink()
    wish = Wish(replace=True)

    async def restore(given: Wish) -> tuple[int, int]:
        done = await asyncio.to_thread(maintenance.restore, settings, file, given, manual_clock)
        return done.blobs, done.missing

    assert await restore(wish) == (1, 0)
    assert blob.read_bytes() == b"content"
    for damage in (b"c0ntent", b"cont"):
        blob.unlink()
        blob.write_bytes(damage)
        assert await restore(wish) == (1, 0)
        assert blob.read_bytes() == b"content"
    assert await restore(wish) == (0, 0)
    blob.unlink()
    [copy] = (tmp_path / "one.blobs").glob("??/*")
    copy.unlink()
    copy.write_bytes(b"damaged")
    with pytest.raises(Refused, match="1 of its 1 blobs.*--without-files"):
        await restore(wish)
    log = tmp_path / "hub" / "hub.db-wal"
    log.write_bytes(b"of the database that is replaced")
    assert await restore(Wish(replace=True, without_files=True)) == (0, 1)
    assert not log.exists()
    (tmp_path / "hub" / "hub.db").unlink()
    log.write_bytes(b"of the database that was lost")
    assert await restore(Wish(without_files=True)) == (0, 1)
    assert not log.exists()


def test_blobs_are_copied_once_and_where_links_are_impossible_byte_by_byte(
    tmp_path: Path, memory_dir: Path
) -> None:
    blob = tmp_path / "files" / "ab" / "cd"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"content")
    for directory in (tmp_path / "near.blobs", memory_dir / "far.blobs"):
        copies = BlobCopies(directory, RealDisk())
        [first] = copies.take(tmp_path, "one.skb")
        [path] = directory.glob("??/*")
        before = path.stat()
        assert copies.take(tmp_path, "two.skb") == [first]
        assert path.stat() == before
        assert copies.missing([first]) == []
        copies.sweep(["two.skb"])
        assert path.read_bytes() == b"content"
        copies.sweep([])
        assert not path.exists()


def test_one_device_by_two_mounts_has_no_links_so_room_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = tmp_path / "files" / "ab" / "cd"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"content")
    copies = BlobCopies(tmp_path / "one.blobs", RealDisk())
    assert copies.wanted(tmp_path) == 0

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert copies.wanted(tmp_path) == len(b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["files"]


async def test_a_copy_that_is_damaged_is_no_backup(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    settings = hub_settings_at(tmp_path / "hub")
    hub = HubRig(settings.database_url, manual_clock)
    await hub.start()
    hub.stop()
    path = tmp_path / "hub" / "hub.db"
    with sqlite3.connect(path) as database:
        [root] = database.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'batch'"
        ).fetchone()
        [size] = database.execute("PRAGMA page_size").fetchone()
    database.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\x5a" * size)
    with pytest.raises(Corrupt, match="it is damaged"):
        await asyncio.to_thread(maintenance.back_up, settings, tmp_path / "one.skb", manual_clock)
    assert not (tmp_path / "one.skb").exists()


@pytest.mark.guarantee("G10")
async def test_a_backup_of_a_sealed_hub_is_sealed_as_a_whole_and_opens_by_its_key(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    plain = hub_settings_at(tmp_path / "hub")
    sealed = EncryptionSection(StorageEncryption(enabled=True, key=f"file:{tmp_path}/kek"))
    settings = msgspec.structs.replace(plain, encryption=sealed)
    store = HubStore(settings.database_url, manual_clock, encryption=encryption.wish(settings))
    store.start()
    store.stop()
    file = tmp_path / "one.skb"
    made = await asyncio.to_thread(maintenance.back_up, settings, file, manual_clock)
    assert made.encrypted
    assert maintenance.check(settings, file).blobs == 0
    wish = Wish(replace=True)
    await asyncio.to_thread(maintenance.restore, settings, file, wish, manual_clock)
    with pytest.raises(Refused, match="it is encrypted"):
        maintenance.check(plain, file)
