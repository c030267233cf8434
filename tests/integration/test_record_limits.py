"""Full: acknowledged records go first, keep is refused, samples are thinned, and a full disk loses nothing."""

import contextlib
from pathlib import Path

import pytest
from tests.record_rig import (
    T0,
    TEXT,
    make_store,
    publish_until_full,
    segment_files,
    submission,
    told,
    values,
)

from skerry.kit.disk import RealDisk
from skerry.kit.errors import StorageFull, Transient
from skerry.node.store.record_jobs import Limits
from skerry.testing.faulty_disk import FaultyDisk

LIMITS = Limits(keep=40_000, sample=40_000, segment=100_000, reserve=4096)


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
