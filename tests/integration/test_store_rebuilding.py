"""A database that is damaged or gone: set aside, and rebuilt from the newest good backup and from what runs."""

import contextlib
import errno
import hashlib
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from tests.backup_rig import (
    PAGE,
    cut_in_half,
    damage,
    emptied,
    maker,
    noise_over_a_page,
    removed,
    restored,
    zeroed_header,
)
from tests.file_rig import FileRig, file_rig
from tests.rebuild_rig import recovery, work
from tests.record_rig import values
from tests.sealed_node import SealedNode, edit, sealed_node
from tests.workload_cases import live, wish

from skerry.kit.disk import RealDisk
from skerry.kit.errors import Corrupt, Refused
from skerry.node.store.instances import Transition
from skerry.node.store.last_good import IN_FORCE
from skerry.node.store.opening import integrity_problem
from skerry.node.store.replacing import damaged_ones
from skerry.node.store.started import Started
from skerry.testing.waiting import eventually
from skerry.wire.codec import decode
from skerry.wire.sync import StateRow
from skerry.wire.workload import Assignment, LocalIntent

DAMAGES = [noise_over_a_page, zeroed_header, cut_in_half, emptied, removed]


async def _wanted(node: SealedNode) -> dict[str, int]:
    rows = await node.store.state.rows("assignment")
    return {row.id: decode(row.body, Assignment, "it").generation.n for row in rows}


async def _work(node: SealedNode) -> None:
    await work(node)
    await node.store.writer.compact()


@pytest.mark.guarantee("G6")
@pytest.mark.parametrize("on", [False, True])
@pytest.mark.parametrize("how", DAMAGES)
async def test_it_is_rebuilt_from_the_backup_and_from_what_runs(
    tmp_path: Path, how: Callable[[Path], None], on: bool
) -> None:
    async with sealed_node(tmp_path, on=on) as node:
        await _work(node)
        if node.rotation:  # the backup's keys are destroyed meanwhile
            node.rotation.ask()
            await node.rotation.once()
        incarnation = node.store.state.incarnation
    damage(tmp_path, how)
    async with sealed_node(tmp_path, on=on, recover=recovery(tmp_path, on=on)) as node:
        rebuilt = node.store.rebuilt
        assert rebuilt
        assert rebuilt.backup.endswith(".skb")
        assert len(await node.store.state.rows("twin")) == 10
        assert len(values(node.records)) == 200
        assert node.store.state.incarnation == incarnation
        wanted = await _wanted(node)
        assert (wanted["cam"], wanted["mic"]) == (4, 7)
        assert node.instances.started()["cam"].generation.n == 4
        await edit(node, 11)
    aside = list(tmp_path.glob("node.db.*.damaged"))
    assert len(aside) == (0 if how is removed else 1)
    async with sealed_node(tmp_path, on=on, recover=recovery(tmp_path, on=on)) as node:
        assert node.store.rebuilt is None
        assert len(await node.store.state.rows("twin")) == 11


@pytest.mark.guarantee("G6")
async def test_without_a_backup_what_runs_is_still_wanted(tmp_path: Path) -> None:
    async with sealed_node(tmp_path, on=False) as node:
        await _work(node)
        await node.instances.remove("w1", label="test")
    damage(tmp_path, noise_over_a_page)
    async with sealed_node(tmp_path, on=False) as node:
        assert node.store.rebuilt
        assert node.store.rebuilt.backup == ""
        wanted = await _wanted(node)
        assert wanted == {"cam": 4, "mic": 7, "w0": 1, "w2": 1, "w3": 1, "w4": 1}
        assert len(values(node.records)) == 200


@pytest.mark.guarantee("G6")
async def test_what_runs_is_wanted_where_the_backup_has_what_cannot_be_read(tmp_path: Path) -> None:
    """A hub's version that is none does not keep the database from being rebuilt, nor end what runs."""
    async with sealed_node(tmp_path, on=False) as node:
        row = StateRow("assignment", "cam", 9, 0, "hub", body=msgspec.Raw(b'{"workload": "cam"}'))
        await node.store.state.apply_pull([row], "c1")
        await node.instances.save([Transition(live(wish("cam", 3), instance="i-cam"))], label="t")
        maker(tmp_path).to_directory("database")
    damage(tmp_path, zeroed_header)
    async with sealed_node(tmp_path, on=False, recover=recovery(tmp_path, on=False)) as node:
        assert node.store.rebuilt
        [kept] = await node.store.state.rows(IN_FORCE)
        assert (kept.id, decode(kept.body, Assignment, "it").generation.n) == ("cam", 3)
        [told] = [row for row in await node.store.state.rows("assignment") if row.id == "cam"]
        assert told.rev == 9


@pytest.mark.guarantee("G6")
async def test_a_backup_that_is_damaged_itself_is_passed_over(tmp_path: Path) -> None:
    async with sealed_node(tmp_path, on=False) as node:
        await edit(node, 0)
        maker(tmp_path).to_directory("database")
        await edit(node, 1)
        newest = Path(maker(tmp_path).to_directory("database").path)
    data = bytearray(newest.read_bytes())
    data[-700] ^= 1
    newest.write_bytes(data)
    damage(tmp_path, zeroed_header)
    async with sealed_node(tmp_path, on=False, recover=recovery(tmp_path, on=False)) as node:
        assert [row.id for row in await node.store.state.rows("twin")] == ["t000"]
    assert newest.exists()


async def test_a_first_start_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "identity.json").write_bytes(b"{}")
    async with sealed_node(tmp_path, on=False) as node:
        assert node.store.rebuilt is None


async def test_what_the_writer_meets_while_it_runs_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    async with sealed_node(tmp_path, on=False) as node:
        node.store.writer.on_corrupt(told.append)
        for number in range(300):
            await edit(node, number, "x" * 500)
        await node.store.writer.compact()
        size = node.store.path.stat().st_size
        with node.store.path.open("r+b") as file:
            file.seek(PAGE)
            file.write(random.Random(1).randbytes(size - PAGE))

        async def met() -> bool:
            try:
                await node.store.state.put("twin", "t150", b'{"now":1}')
                await node.store.writer.run(
                    lambda db: db.execute("SELECT sum(length(body)) FROM state").fetchall(),
                    label="test",
                )
            except Corrupt:
                return bool(told)
            return False

        await eventually(met, "damage that is met")
    assert "cannot read" in told[0]


async def test_files_that_lost_their_rows_are_taken_in_and_sent(tmp_path: Path) -> None:
    data = b"a picture" * 1000
    async with file_rig(tmp_path) as rig:
        sha = await _uploaded(rig, data)
        leftover = tmp_path / "files/ab"
        leftover.mkdir()
    (tmp_path / "node.db").unlink()
    async with sealed_node(tmp_path, on=False) as node:
        assert node.store.rebuilt
        await edit(node, 1)
    async with file_rig(tmp_path) as rig:
        (waiting,) = rig.store.rows.waiting(10)
        assert (waiting.sha256, waiting.size) == (sha, len(data))
        assert rig.store.read(waiting, 0, len(data)) == data
        (leftover / "cd").write_bytes(b"of a crash")
    async with file_rig(tmp_path):
        assert not (leftover / "cd").exists()


async def _uploaded(rig: FileRig, data: bytes) -> str:
    sha = hashlib.sha256(data).hexdigest()
    await rig.put(data, sha)
    return sha


async def test_a_full_disk_does_not_keep_a_workload_from_starting(tmp_path: Path) -> None:
    class Full(RealDisk):
        def write_atomic(self, label: str, path: Path, data: bytes, mode: int = 0o600) -> None:
            if label == "started.write":
                raise OSError(28, "No space left on device")
            super().write_atomic(label, path, data, mode)

    async with sealed_node(tmp_path, on=False, disk=Full()) as node:
        await node.instances.save([Transition(live(wish("cam")))], label="test")
        assert node.instances.load()["cam"].phase == "running"
        assert isinstance(node.store.started, Started)
        assert node.instances.started() == {}


@pytest.mark.guarantee("G6")
async def test_what_the_device_wants_by_itself_is_no_wish_of_the_hubs(tmp_path: Path) -> None:
    own = replace(wish("cyberwave-driver-1"), local=LocalIntent(recipe="made here"))
    rows = [live(own), live(wish("cam"), instance="i2")]
    async with sealed_node(tmp_path, on=False) as node:
        await node.instances.save([Transition(row) for row in rows], label="test")
    damage(tmp_path, noise_over_a_page)
    async with sealed_node(tmp_path, on=False) as node:
        assert node.store.rebuilt
        assert await _wanted(node) == {"cam": 1}
        assert node.instances.started()["cyberwave-driver-1"] == own


@pytest.mark.guarantee("G6")
async def test_the_first_damaged_file_is_kept_however_often_it_happens_again(
    tmp_path: Path,
) -> None:
    async with sealed_node(tmp_path, on=False) as node:
        await edit(node, 1)
    (tmp_path / "node.db-journal").write_bytes(b"of the first one")
    for number in range(13):
        async with sealed_node(tmp_path, on=False, suspect=f"round {number}") as node:
            assert not (tmp_path / "node.db-journal").exists()
    kept = [path for _, path in damaged_ones(tmp_path / "node.db")]
    assert len(kept) == 10
    first = kept[0]
    assert first.with_name(f"{first.name}-journal").read_bytes() == b"of the first one"
    with contextlib.closing(sqlite3.connect(first)) as db:
        assert db.execute("SELECT value FROM fact WHERE name = 'rebuilt'").fetchall() == []


async def test_a_restore_by_hand_ends_a_rebuild_that_was_cut_off(tmp_path: Path) -> None:
    async with sealed_node(tmp_path, on=False) as node:
        await edit(node, 1)
        made = maker(tmp_path).to_file(tmp_path / "b.skb")
    (tmp_path / "node.db.rebuilding").write_text('{"cause":"x","aside":"y","there":true}')
    restored(made, tmp_path, replace=True)
    async with sealed_node(tmp_path, on=False) as node:
        assert node.store.rebuilt is None
        assert len(await node.store.state.rows("twin")) == 1


@pytest.mark.guarantee("G6")
@pytest.mark.parametrize("gone", [False, True], ids=["an empty mount point", "no directory"])
async def test_a_share_that_is_not_mounted_does_not_count_as_no_backup(
    tmp_path: Path, gone: bool
) -> None:
    home, share, away = tmp_path / "n", tmp_path / "share", tmp_path / "away"
    share.mkdir()
    async with sealed_node(home, on=False) as node:
        await edit(node, 1)
        maker(home, backup_path=str(share)).to_directory("database")
    share.rename(away)
    if not gone:
        share.mkdir()
    damage(home, zeroed_header)
    found = recovery(home, on=False, backup_path=str(share))
    for _ in range(2):
        with pytest.raises(Refused, match=r"Is the stick or share mounted\?"):
            async with sealed_node(home, on=False, recover=found):
                pass
    assert damaged_ones(home / "node.db") == []
    share.rmdir() if not gone else None
    away.rename(share)
    async with sealed_node(home, on=False, recover=found) as node:
        assert len(await node.store.state.rows("twin")) == 1


@pytest.mark.guarantee("G6")
async def test_a_disk_that_is_full_while_a_backup_is_unpacked_does_not_make_it_an_older_one(
    tmp_path: Path,
) -> None:
    class Full(RealDisk):
        def append(self, label: str, fd: int, data: bytes) -> None:
            if label == "archive.extract":
                raise OSError(errno.ENOSPC, "No space left on device")
            super().append(label, fd, data)

    async with sealed_node(tmp_path, on=False) as node:
        await edit(node, 1)
        maker(tmp_path).to_directory("database")
    damage(tmp_path, zeroed_header)
    with pytest.raises(Refused, match="cannot rebuild .*: .*No space left on device"):
        async with sealed_node(
            tmp_path, on=False, recover=recovery(tmp_path, on=False, disk=Full())
        ):
            pass
    async with sealed_node(tmp_path, on=False, recover=recovery(tmp_path, on=False)) as node:
        assert len(await node.store.state.rows("twin")) == 1


@pytest.mark.guarantee("G6")
async def test_backups_from_before_stay_until_somebody_has_looked(tmp_path: Path) -> None:
    def there() -> list[str]:
        return sorted(path.name for path in (tmp_path / "backups").iterdir())

    def make(number: int) -> None:
        for _ in range(number):
            maker(tmp_path, backup_keep="2").to_directory("database")

    async with sealed_node(tmp_path, on=False) as node:
        await edit(node, 1)
        make(3)
    before = there()
    assert len(before) == 2
    damage(tmp_path, zeroed_header)
    async with sealed_node(tmp_path, on=False):
        make(4)
    assert (there()[:2], len(there())) == (before, 4)
    for _, path in damaged_ones(tmp_path / "node.db"):
        path.unlink()
    make(1)
    assert len(there()) == 2
    assert not {*before} & {*there()}


@pytest.mark.guarantee("G6")
async def test_a_database_whose_disk_is_not_mounted_is_not_rebuilt_elsewhere(
    tmp_path: Path,
) -> None:
    home, ssd, away = tmp_path / "n", tmp_path / "ssd", tmp_path / "away"
    database = ssd / "node.db"
    async with sealed_node(home, on=False, database=database) as node:
        await edit(node, 1)
    ssd.rename(away)
    for mount_point in (False, True):
        if mount_point:
            ssd.mkdir()
        with pytest.raises(Refused, match=r"Is its disk mounted\?"):
            async with sealed_node(home, on=False, database=database):
                pass
        assert not database.exists()
    (ssd / "node.db.lock").touch()
    async with sealed_node(home, on=False, database=database) as node:
        assert node.store.rebuilt
    for path in [*ssd.iterdir()]:
        path.unlink()
    ssd.rmdir()
    away.rename(ssd)
    async with sealed_node(home, on=False, database=database) as node:
        assert len(await node.store.state.rows("twin")) == 1
        assert node.store.rebuilt is None


def test_what_sqlite_says_of_damage_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t (a, b)")
        db.execute("CREATE INDEX i ON t (a)")
        db.executemany("INSERT INTO t VALUES (?, ?)", [(n, "x" * 500) for n in range(200)])
        db.commit()
    data = bytearray(path.read_bytes())
    data[8 * 4096 : 12 * 4096] = random.Random(1).randbytes(4 * 4096)
    path.write_bytes(data)
    problem = integrity_problem(path)
    assert "; " in problem
    assert problem.isprintable()
