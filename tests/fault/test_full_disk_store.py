"""What the parts of a node's store do on a disk without a free block, one by one and without processes."""

import contextlib
import os
from pathlib import Path

import pytest
from tests.record_rig import make_store, submission
from tests.small_disk import fill, free_bytes, small_disk

from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import StorageFull, Transient
from skerry.kit.file_lock import locked
from skerry.kit.sqlite_connections import ROOM
from skerry.node.store.opening import opened
from skerry.node.store.record_jobs import Limits


def database_of(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in directory.glob("node.db*")}


@pytest.mark.guarantee("G2")
async def test_a_database_writes_on_in_its_own_room(
    tidy_dir: Path, clock: SystemClock, disk: RealDisk
) -> None:
    with small_disk(tidy_dir / "disk", 12) as data_dir:
        async with opened(data_dir, "n1", clock, disk) as store:
            await store.state.put("status", "cam", b'{"n":-1}')
        sizes = database_of(data_dir)
        assert min(sizes["node.db"], sizes["node.db-wal"]) > ROOM
        fill(data_dir)
        for start in range(3):
            async with opened(data_dir, "n1", clock, disk) as store:
                for number in range(200):
                    await store.state.put("status", "cam", b'{"n":%d}' % (200 * start + number))
        assert database_of(data_dir) == sizes
        async with opened(data_dir, "n1", clock, disk) as store:
            [row] = await store.state.rows("status")
            assert bytes(row.body) == b'{"n":599}'
            assert store.rebuilt is None


async def test_a_database_without_room_waits_and_is_not_set_aside(
    tidy_dir: Path, clock: SystemClock, disk: RealDisk
) -> None:
    with small_disk(tidy_dir / "disk", 12) as data_dir:
        async with opened(data_dir, "n1", clock, disk) as store:
            await store.state.set_fact("colour", "blue")
        for suffix in ("-wal", "-shm"):  # as after a copy of node.db alone
            (data_dir / f"node.db{suffix}").unlink()
        hog = fill(data_dir)
        with pytest.raises(
            Transient, match=r"cannot write .*node\.db: the disk is full\. Free space"
        ):
            async with opened(data_dir, "n1", clock, disk):
                pass
        hog.unlink()
        async with opened(data_dir, "n1", clock, disk) as store:
            assert store.rebuilt is None
            assert await store.state.fact("colour") == "blue"
            assert database_of(data_dir)["node.db-wal"] > ROOM


async def test_a_disk_with_little_room_is_not_used_up(
    tidy_dir: Path, clock: SystemClock, disk: RealDisk
) -> None:
    with small_disk(tidy_dir / "disk", 7) as data_dir:
        async with opened(data_dir, "n1", clock, disk):
            assert free_bytes(data_dir) > 6_000_000


async def test_a_small_disk_is_there_for_records_too(tidy_dir: Path) -> None:
    with small_disk(tidy_dir / "disk", 12) as data_dir:
        store = make_store(data_dir, limits=Limits())
        await store.start()
        await store.append(submission(1, "x" * 60_000))
        reserve = (data_dir / "records" / "reserve").stat().st_size
        assert reserve == 12 * 2**20 / 32
        accepted = 1
        with contextlib.suppress(StorageFull):
            while accepted < 1000:
                await store.append(submission(accepted + 1, "x" * 60_000))
                accepted += 1
        assert 180 < accepted < 1000
        assert free_bytes(data_dir) >= reserve  # given up, and left to the node itself
        await store.stop()


def test_a_lock_needs_no_room(tidy_dir: Path) -> None:
    with small_disk(tidy_dir / "disk", 1) as data_dir:
        fill(data_dir)
        with locked(data_dir / "node.lock"):
            pass
        os.truncate(data_dir / "hog", 0)
        with locked(data_dir / "node.lock"):
            assert (data_dir / "node.lock").read_text() == f"{os.getpid()}\n"


def test_a_write_that_fails_takes_no_room(tidy_dir: Path, disk: RealDisk) -> None:
    with small_disk(tidy_dir / "disk", 1) as data_dir:
        disk.write_atomic("test", data_dir / "file", b"old")
        with pytest.raises(OSError, match="No space left"):
            disk.write_atomic("test", data_dir / "file", bytes(2_000_000))
        assert [path.name for path in data_dir.iterdir()] == ["file"]
        assert (data_dir / "file").read_bytes() == b"old"
