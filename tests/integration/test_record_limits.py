"""Full: acknowledged records go first, keep is refused, samples are thinned, and a full disk loses nothing."""

import contextlib
import errno
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.record_rig import T0, make_store, records, segment_files, submission, values

from skerry.kit.disk import RealDisk
from skerry.kit.errors import StorageFull, Transient
from skerry.node.store.record_jobs import Limits
from skerry.node.store.records import RecordStore
from skerry.testing.faulty_disk import FaultyDisk
from skerry.wire.codec import decode
from skerry.wire.records import Batch, Record

TEXT = "x" * 1000
LIMITS = Limits(keep=40_000, sample=40_000, segment=100_000, reserve=4096)


def told(store: RecordStore) -> list[tuple[str, Record]]:
    """(kind, record) of everything in lane event."""
    return [
        (batch.kind, record)
        for segment in store.segments("event")
        for frame in store.frames("event", segment)
        for batch in [decode(frame.payload, Batch, "frame")]
        for record in batch.records
    ]


async def publish_until_full(store: RecordStore) -> tuple[int, str]:
    """How many records of lane keep were accepted one by one, and why the next one was not."""
    for n in range(1, 200):
        try:
            await store.append(submission(n, TEXT, at=T0 + n))
        except StorageFull as error:
            return n - 1, str(error)
    raise AssertionError("never full")


@pytest.mark.guarantee("G1")
async def test_keep_is_refused_at_its_limit_and_nothing_accepted_goes(tmp_path: Path) -> None:
    store = make_store(tmp_path, limits=LIMITS)
    await store.start()
    accepted, cause = await publish_until_full(store)
    assert 30 <= accepted <= 40
    assert "limit of 40 KB" in cause
    assert "records.keep_limit" in cause
    assert len(values(store)) == accepted
    with pytest.raises(StorageFull):
        await store.append(submission(1, TEXT, who=2, lane="event"))  # events share the limit
    assert store.bytes("keep") + store.bytes("event") <= LIMITS.keep
    assert store.counters.refused == 2
    assert (await store.append(submission(accepted, TEXT))).repeated == 1  # a retry needs no room
    assert (await store.append(submission(1, TEXT, who=3, lane="sample"))).accepted == 1
    await store.stop()


@pytest.mark.guarantee("G1")
async def test_acknowledged_records_make_room_and_an_event_says_so(tmp_path: Path) -> None:
    store = make_store(tmp_path, limits=LIMITS)
    await store.start()
    accepted, _ = await publish_until_full(store)
    sent = store.segments("keep")[1].last
    store.acknowledge("keep", sent)
    await store.append(submission(accepted + 1, TEXT))
    first_left = store.base("keep").n + 1
    assert 1 < first_left <= sent + 1
    assert len(values(store)) == accepted + 1 - store.base("keep").n
    (kind, event) = told(store)[-1]
    assert (kind, event.name) == ("event", "skerry.storage.freed")
    assert event.meta == {"lane": "keep", "from_n": 1, "to_n": first_left - 1}
    assert store.counters.freed == first_left - 1
    await store.stop()


async def test_even_the_file_being_written_goes_when_all_of_it_is_acknowledged(
    tmp_path: Path,
) -> None:
    limits = Limits(keep=160_000, sample=40_000, segment=100_000, reserve=4096)
    store = make_store(tmp_path, limits=limits)
    await store.start()
    await store.append(submission(1, *["x" * 15_000] * 10))
    head = store.head("keep")
    store.acknowledge("keep", 10)
    await store.append(submission(11, *["x" * 15_000] * 10))
    assert store.base("keep") == head
    assert (await store.append(submission(1, "again"))).repeated == 1
    await store.stop()


@pytest.mark.guarantee("G1")
async def test_samples_are_thinned_and_each_gap_is_a_record(tmp_path: Path) -> None:
    store = make_store(tmp_path, limits=LIMITS)
    await store.start()
    for n in range(1, 101):
        await store.append(submission(n, TEXT, lane="sample", at=T0 + n))
    assert store.bytes("sample") <= LIMITS.sample
    gone = store.base("sample").n
    assert gone > 50
    gaps = [record for kind, record in told(store) if kind == "gap"]
    assert {record.name for record in gaps} == {"sample"}
    assert sum(int(record.value) for record in gaps) == gone == store.counters.thinned
    following = 1
    for gap in gaps:
        assert gap.meta is not None
        assert gap.meta["from_n"] == following
        assert gap.meta["from"] == T0 + following
        following = int(gap.meta["to_n"]) + 1
        assert gap.meta["to"] == gap.at == T0 + following - 1
    assert following == gone + 1
    await store.stop()


async def test_samples_that_the_hub_has_leave_no_gap(tmp_path: Path) -> None:
    store = make_store(tmp_path, limits=LIMITS)
    await store.start()
    for n in range(1, 101):
        await store.append(submission(n, TEXT, lane="sample"))
        store.acknowledge("sample", n)
    assert store.base("sample").n > 50
    assert told(store) == []
    await store.stop()


def open_files() -> list[str]:
    """What this process has open below /proc/self/fd; one that has no name any more ends with «(deleted)»."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(each.readlink()))
    return found


class WatchedDrops(RealDisk):
    """Notes of each file that goes whether somebody holds it open, so that its room is given back later."""

    def __init__(self) -> None:
        self.held: list[bool] = []

    def unlink(self, label: str, path: Path) -> None:
        if label == "segment.drop":
            self.held.append(str(path) in open_files())
        super().unlink(label, path)


async def test_what_retention_drops_is_given_back_outside_the_commit_thread(tmp_path: Path) -> None:
    disk = WatchedDrops()
    store = make_store(tmp_path, disk=disk, limits=Limits(segment=3_000, reserve=4096))
    await store.start()
    for n in range(1, 11):
        await store.append(submission(n, TEXT))
        await store.append(submission(n, TEXT, who=2, lane="sample"))
    store.acknowledge("keep", 10)
    files = len(store.segments("keep"))
    assert await store.free("keep", 10) == 10
    assert disk.held == [True] * files
    assert await store.thin(7) >= 5
    assert disk.held.count(True) == len(disk.held) > files
    assert [name for name in open_files() if str(tmp_path) in name and "(deleted)" in name] == []
    await store.stop()


async def test_free_drops_whole_acknowledged_files_only(tmp_path: Path) -> None:
    store = make_store(tmp_path, limits=Limits(segment=3_000, reserve=4096))
    await store.start()
    for n in range(1, 11):
        await store.append(submission(n, TEXT))
    assert await store.free("keep", 10) == 0  # the hub has nothing yet
    boundary = store.segments("keep")[1].last
    store.acknowledge("keep", boundary + 1)
    assert await store.free("keep", 10) == boundary
    assert len(values(store)) == 10 - boundary
    head = store.head("keep")
    store.acknowledge("keep", 10)
    assert await store.free("keep", 10) == 10 - boundary
    assert (store.head("keep"), store.base("keep")) == (head, head)
    assert values(store) == []
    await store.stop()
    store = make_store(tmp_path, limits=Limits(segment=3_000, reserve=4096))
    await store.start()
    assert store.head("keep") == head
    assert (await store.append(submission(10, TEXT))).repeated == 1
    await store.append(submission(11, "next"))
    assert store.head("keep").n == 11
    await store.stop()


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


async def test_a_failing_disk_is_told_as_something_to_try_again(tmp_path: Path) -> None:
    disk = FaultyDisk()
    store = make_store(tmp_path, disk=disk)
    await store.start()
    await store.append(submission(1, "a"))
    disk._fail_at, disk._persistent = disk.operations + 1, True
    with pytest.raises(Transient, match="Send the same batch again"):
        await store.append(submission(2, "b"))
    disk.heal()
    await store.append(submission(2, "b"))
    assert values(store) == ["a", "b"]
    assert len(segment_files(tmp_path)) == 1
    await store.stop()


class LateFailure(FaultyDisk):
    """Does what it is asked and then says that it failed, as a failing sync of the directory does."""

    def write_atomic(self, label: str, path: Path, data: bytes, mode: int = 0o600) -> None:
        RealDisk.write_atomic(self, label, path, data, mode)
        self._step(label)


@pytest.mark.guarantee("G1")
async def test_after_a_file_was_begun_the_one_before_it_grows_no_more(tmp_path: Path) -> None:
    disk = LateFailure()
    limits = Limits(segment=1_000, reserve=4096)
    store = make_store(tmp_path, disk=disk, limits=limits)
    await store.start()
    await store.append(submission(1, "x" * 500))
    disk._fail_at = disk.operations + 1
    with pytest.raises(Transient):
        await store.append(submission(2, "x" * 500))
    await store.append(submission(1, "small", who=2))
    await store.append(submission(2, "x" * 500))
    await store.stop()
    store = make_store(tmp_path, limits=limits)
    await store.start()
    assert values(store) == ["x" * 500, "small", "x" * 500]
    assert store.damaged_files() == []
    await store.stop()
