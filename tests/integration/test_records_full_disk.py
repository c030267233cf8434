"""A disk that is full: what is published is refused or makes room, and nothing that was accepted is lost."""

import errno
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.record_rig import (
    T0,
    TEXT,
    make_store,
    publish_until_full,
    records,
    submission,
    told,
    values,
)

from skerry.kit.errors import StorageFull
from skerry.node.store.record_jobs import Limits
from skerry.node.store.records import RecordStore
from skerry.testing.faulty_disk import FaultyDisk


class SmallDisk(FaultyDisk):
    """A disk with room for `room` bytes: writes what fits and then fails, as write() does."""

    def __init__(self, root: Path, room: int) -> None:
        super().__init__()
        self.root = root
        self.room = room

    def _used(self) -> int:
        return sum(file.stat().st_size for file in self.root.rglob("*") if file.is_file())

    def free_bytes(self, path: Path) -> int:
        assert path.is_relative_to(self.root)
        return max(0, self.room - self._used())

    def append(self, label: str, fd: int, data: bytes) -> None:
        fits = data[: self.free_bytes(self.root)]
        super().append(label, fd, fits)
        if len(fits) < len(data):
            raise OSError(errno.ENOSPC, "No space left on device")

    def write_atomic(self, label: str, path: Path, data: bytes, mode: int = 0o600) -> None:
        if len(data) > self.free_bytes(self.root):
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write_atomic(label, path, data, mode)


@pytest.mark.guarantee("G1")
async def test_a_full_disk_refuses_and_everything_accepted_stays(tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path, room=60_000)
    limits = Limits(reserve=8192)
    store = make_store(tmp_path, disk=disk, limits=limits)
    await store.start()
    accepted, cause = await publish_until_full(store)
    assert accepted > 40
    assert "the disk of" in cause
    assert len(values(store)) == accepted
    assert not (tmp_path / "records" / "reserve").exists()
    assert disk.free_bytes(tmp_path) >= limits.reserve  # what the node itself must write has room
    with pytest.raises(StorageFull):
        await store.append(submission(accepted + 1, "small"))  # … and workloads do not get it
    await store.stop()

    store = make_store(tmp_path, disk=disk, limits=limits)
    await store.start()
    assert len(values(store)) == accepted
    disk.room += 100_000  # somebody has made room
    assert (await store.append(submission(accepted + 1, TEXT))).repeated == 0
    assert (tmp_path / "records" / "reserve").stat().st_size == limits.reserve
    assert len(values(store)) == accepted + 1
    await store.stop()


async def test_on_a_full_disk_acknowledged_records_make_room(tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path, room=60_000)
    limits = Limits(reserve=8192, segment=10_000)
    store = make_store(tmp_path, disk=disk, limits=limits)
    await store.start()
    accepted, _ = await publish_until_full(store)
    store.acknowledge("keep", accepted)
    assert (await store.append(submission(accepted + 1, TEXT))).repeated == 0
    assert store.base("keep").n > 0
    assert values(store) == [TEXT] * (accepted + 1 - store.base("keep").n)
    assert told(store)[-1][1].name == "skerry.storage.freed"
    await store.stop()


async def publish_samples(store: RecordStore, first: int, last: int) -> None:
    """Samples number `first` to `last`, one by one; each must be accepted."""
    for n in range(first, last + 1):
        assert (await store.append(submission(n, TEXT, who=9, lane="sample", at=T0 + n))).accepted


def check_gaps(store: RecordStore, cause: str) -> None:
    """Every sample that went is told: how many of them, which ones, from when to when, and why."""
    following = 1
    for kind, gap in told(store):
        if kind == "gap":
            assert gap.meta is not None
            assert (gap.name, gap.meta["from_n"], gap.meta["cause"]) == ("sample", following, cause)
            assert gap.meta["from"] == T0 + following
            following += int(gap.value)
            assert (gap.meta["to_n"], gap.meta["to"]) == (following - 1, T0 + following - 1)
    assert following == store.base("sample").n + 1 == store.counters.thinned + 1


FULL = Limits(reserve=8192, segment=6_000)


@pytest.mark.guarantee("G1")
async def test_on_a_full_disk_the_oldest_samples_make_room_for_all_that_is_published(
    tmp_path: Path,
) -> None:
    disk = SmallDisk(tmp_path, room=120_000)
    store = make_store(tmp_path, disk=disk, limits=FULL)
    await store.start()
    await store.append(submission(1, "before"))
    await publish_samples(store, 1, 200)
    assert store.base("sample").n > 90
    assert store.head("sample").n == 200
    check_gaps(store, "disk full")
    accepted, cause = await publish_until_full(store)  # what is kept takes the place of samples
    assert accepted > 60
    assert "the disk of" in cause
    assert values(store) == ["before", *[TEXT] * (accepted - 1)]
    check_gaps(store, "disk full")
    assert disk.free_bytes(tmp_path) >= FULL.reserve
    left = store.head("sample").n - store.base("sample").n
    await publish_samples(store, 201, 240)  # samples go on in each other's place
    assert 0 < store.head("sample").n - store.base("sample").n <= left + 5
    check_gaps(store, "disk full")
    with pytest.raises(StorageFull):
        await store.append(submission(accepted + 1, TEXT))
    assert (await store.append(submission(accepted, TEXT))).repeated == 1  # a retry needs no room
    assert len(values(store)) == accepted
    await store.stop()


@pytest.mark.guarantee("G1")
async def test_acknowledged_records_go_before_samples_that_the_hub_does_not_have(
    tmp_path: Path,
) -> None:
    disk = SmallDisk(tmp_path, room=120_000)
    store = make_store(tmp_path, disk=disk, limits=FULL)
    await store.start()
    for n in range(1, 41):
        await store.append(submission(n, TEXT))
    store.acknowledge("keep", 40)
    await publish_samples(store, 1, 60)
    assert store.base("keep").n > 0
    assert store.base("sample").n == 0
    await store.stop()


@pytest.mark.guarantee("G1")
async def test_on_a_disk_without_a_free_byte_a_gap_takes_the_room_of_what_it_tells_of(
    tmp_path: Path,
) -> None:
    disk = SmallDisk(tmp_path, room=120_000)
    store = make_store(tmp_path, disk=disk, limits=FULL)
    await store.start()
    await publish_samples(store, 1, 50)
    await store.stop()
    (tmp_path / "records" / "reserve").unlink()
    disk.room = disk._used()
    store = make_store(tmp_path, disk=disk, limits=FULL)
    await store.start()
    await publish_samples(store, 51, 70)
    check_gaps(store, "disk full")
    assert 0 < store.base("sample").n < 50
    await store.stop()


@pytest.mark.guarantee("G1")
async def test_samples_stay_when_all_of_them_would_not_make_enough_room(tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path, room=120_000)
    store = make_store(tmp_path, disk=disk, limits=FULL)
    await store.start()
    await publish_samples(store, 1, 12)
    disk.room = disk._used() - FULL.reserve  # somebody else took the rest
    for who, lane in ((1, "keep"), (2, "event")):
        with pytest.raises(StorageFull):
            await store.append(submission(1, TEXT, who=who, lane=lane))  # type: ignore[arg-type]
    assert store.base("sample").n == 0
    await publish_samples(store, 13, 40)  # but newer ones take their place
    sample = submission(41, TEXT, who=9, lane="sample")
    both = replace(sample, parts=[*sample.parts, ("keep", records([TEXT]))])
    with pytest.raises(StorageFull):
        await store.append(both)
    assert values(store) == []
    assert store.base("sample").n > 25
    check_gaps(store, "disk full")
    await store.stop()
