"""Backups of a node's stores: taken while they are written, and what is in them."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.backup_rig import damage, kek, maker, noise_over_a_page, restored
from tests.canary import CANARY, all_is_there, fill, hidden
from tests.record_rig import held, values
from tests.sealed_node import download, edit, publish, sealed_node, upload

from skerry.kit.archive.reading import Archive
from skerry.kit.disk import Disk, RealDisk
from skerry.kit.errors import Corrupt, Refused
from skerry.kit.file_lock import locked
from skerry.node.backups.making import LOCK_FILE, DatabaseDamaged
from skerry.node.backups.restoring import Keeping
from skerry.node.identity import Identity, write_identity
from skerry.node.store.files import Moment
from skerry.wire.sync import LanePoint


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize("on", [False, True])
async def test_a_node_that_works_is_backed_up_and_restored_as_another_history(
    tmp_path: Path, on: bool
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    async with sealed_node(old, on=on) as node:
        await fill(node, 10)
        made = maker(old).to_file(tmp_path / "b.skb")
        incarnation, head = node.store.state.incarnation, node.records.head("keep")
        await publish(node, 301, 50, "after the backup")
        await edit(node, 11)
    assert bool(made.opened_by) == on
    assert (CANARY.encode() in (tmp_path / "b.skb").read_bytes()) is False
    shutil.rmtree(old) if not on else None
    told = restored(made, new, on=on, keeping=kek(old) if on else Keeping())
    assert {path.stat().st_mode & 0o077 for path in new.rglob("*")} == {0}
    assert (told.name, told.holds, told.replaced) == ("shed", "everything", "")
    async with sealed_node(new, on=on) as node:
        await all_is_there(node)
        assert node.records.head("keep") == head
        assert node.store.state.incarnation not in {"", incarnation}
        assert (await node.store.state.lane("keep")).n == 0
        assert await node.store.state.fact("rebuilt")
        await publish(node, 301, 5, "of another life")
    assert (
        sorted(path.name for path in new.iterdir() if path.suffix in {".new", ".unfinished"}) == []
    )


@pytest.mark.guarantee("G1")
async def test_what_the_hub_has_is_not_in_it_and_nothing_else_is_missing(tmp_path: Path) -> None:
    async with sealed_node(tmp_path / "n", on=False) as node:
        for number in range(40):
            await publish(node, 200 * number + 1, 200, "x" * 20)
        segments = node.records.segments("keep")
        assert len(segments) > 5
        through = segments[3].last
        chain = node.records.point_at("keep", through)
        assert chain
        await node.store.state.set_lane("keep", LanePoint(through, chain))
        everything = values(node.records)
        made = maker(tmp_path / "n").to_file(tmp_path / "b.skb")
    names = [entry.name for entry in Archive(tmp_path / "b.skb").verify(None).entries]
    kept = [name for name in names if name.startswith("records/keep/")]
    assert len(kept) == len(segments) - 4
    assert made.records < made.content
    restored(made, tmp_path / "m")
    async with sealed_node(tmp_path / "m", on=False) as node:
        assert values(node.records) == everything[through:]
        assert node.records.base("keep").n == through


@pytest.mark.guarantee("G1")
async def test_files_that_the_hub_has_stay_behind_and_nobody_misses_them(tmp_path: Path) -> None:
    """Nor does a rotation, which looks into each."""
    old, new, data = tmp_path / "old", tmp_path / "new", CANARY.encode() * 20_000
    async with sealed_node(old) as node:
        sent, unsent = await upload(node, b"sent"), await upload(node, data)
        assert node.files.loaded
        await node.files.loaded.store.rows.sent(
            sent.sha256, Moment(1, 1, ""), node.records.head("event").n
        )
        made = maker(old).to_file(tmp_path / "b.skb")
    assert made.files == 1
    assert restored(made, new, on=True, keeping=kek(old)).files == 1
    async with sealed_node(new) as node:
        assert node.rotation
        node.rotation.ask()
        await node.rotation.once()
        assert await download(node, unsent) == data
        assert node.files.loaded
        totals = node.files.loaded.store.rows.totals()
        assert (totals.count, totals.waiting, totals.problem) == (1, 1, "")
    assert hidden(new)


async def test_a_rotation_while_it_is_made_costs_nothing(tmp_path: Path) -> None:
    """The copy may be sealed with keys of before and of after; the backup has both."""
    async with sealed_node(tmp_path / "n") as node:
        assert node.rotation
        await fill(node, 10)
        made = maker(tmp_path / "n").to_file(tmp_path / "b.skb")
        node.rotation.ask()
        await node.rotation.once()
        assert all(not key.retired for key in node.rotation.status().keys)
    restored(made, tmp_path / "m", on=True, keeping=kek(tmp_path / "n"))
    async with sealed_node(tmp_path / "m") as node:
        await all_is_there(node)


@pytest.mark.guarantee("G6")
async def test_a_key_that_is_destroyed_while_the_copy_is_checked_is_no_damage(
    tmp_path: Path,
) -> None:
    class Rotating(RealDisk):
        def point(self, label: str) -> None:
            if label == "backup.copied":
                asyncio.run_coroutine_threadsafe(rotate(), loop).result(60)

    async def rotate() -> None:
        assert node.rotation
        node.rotation.ask()
        await node.rotation.once()
        assert not any(key.retired for key in node.rotation.status().keys)

    loop = asyncio.get_running_loop()
    async with sealed_node(tmp_path / "n") as node:
        await fill(node, 10)
        disk = Rotating()
        made = await asyncio.to_thread(maker(tmp_path / "n", disk=disk).to_file, tmp_path / "b.skb")
    restored(made, tmp_path / "m", on=True, keeping=kek(tmp_path / "n"))
    async with sealed_node(tmp_path / "m") as node:
        assert len(await node.store.state.rows("twin")) == 10


@pytest.mark.guarantee("G6")
async def test_a_stick_that_does_not_keep_what_is_written_says_nothing_about_the_database(
    tmp_path: Path,
) -> None:
    class BadStick(RealDisk):
        def append(self, label: str, fd: int, data: bytes) -> None:
            super().append(label, fd, bytes(len(data)) if label == "archive.append" else data)

    async with sealed_node(tmp_path, on=False) as node:
        await edit(node, 1)
        with pytest.raises(Corrupt) as bad_stick:
            maker(tmp_path, disk=BadStick()).to_directory("database")
        assert not isinstance(bad_stick.value, DatabaseDamaged)
        assert list((tmp_path / "backups").iterdir()) == []
    damage(tmp_path, noise_over_a_page)
    with pytest.raises(DatabaseDamaged):
        maker(tmp_path).to_directory("database")


async def test_the_directory_keeps_so_many_and_never_goes_without_one(tmp_path: Path) -> None:
    home = tmp_path / "n"
    async with sealed_node(home, on=False):
        names = [
            Path(maker(home, backup_keep="2").to_directory("database").path).name for _ in range(4)
        ]
        there = sorted(path.name for path in (home / "backups").iterdir())
        assert there == names[2:]
        with small(home) as disk, pytest.raises(Refused, match="has no room for"):
            maker(home, disk=disk).to_directory("database")
        assert sorted(path.name for path in (home / "backups").iterdir()) == names[2:]
        with pytest.raises(Refused, match="has no room"):
            maker(home).to_directory("database", room=0)
        assert names[-1] in {path.name for path in (home / "backups").iterdir()}
        with pytest.raises(Refused, match="Is the stick or share mounted"):
            maker(home, backup_path=str(tmp_path / "stick")).to_directory("database")
        with locked(home / LOCK_FILE), pytest.raises(Refused, match="is making one already"):
            maker(home).to_directory("database")
    assert not (home / "backup.new").exists()


async def test_daily_ones_do_not_push_out_the_one_that_holds_everything(tmp_path: Path) -> None:
    async with sealed_node(tmp_path, on=False) as node:
        await publish(node, 1)
        keeper = maker(tmp_path, backup_keep="1")
        everything = Path(keeper.to_directory("everything").path)
        for _ in range(3):
            newest = Path(keeper.to_directory("database").path)
        assert {*(tmp_path / "backups").iterdir()} == {everything, newest}
        another = Path(keeper.to_directory("everything").path)
        assert {*(tmp_path / "backups").iterdir()} == {newest, another}


@contextmanager
def small(home: Path) -> Iterator[Disk]:
    class Full(RealDisk):
        def free_bytes(self, path: Path) -> int:
            return 10**9 if path == home else 10**6

    yield Full()


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


async def test_a_share_is_used_by_several_nodes(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    for number in (1, 2):
        home = _made(tmp_path / f"n{number}")
        write_identity(home, Identity(f"id-{number}", "shed", {}, "http://h", "h"), "s", RealDisk())
        async with sealed_node(home, on=False):
            for _ in range(2):
                maker(home, backup_path=str(share), backup_keep="1").to_directory("database")
    assert sorted(Archive(path).header.id for path in share.iterdir()) == ["id-1", "id-2"]


async def test_a_database_backup_holds_no_records_and_says_so(tmp_path: Path) -> None:
    home = tmp_path / "n"
    async with sealed_node(home, on=False) as node:
        await fill(node, 3)
        made = maker(home).to_directory("database")
    assert (made.holds, made.records, made.files) == ("database", 0, 0)
    restored(made, tmp_path / "m")
    async with sealed_node(tmp_path / "m", on=False) as node:
        assert len(await node.store.state.rows("twin")) == 3
        assert held(node.records, "keep") == []
