"""The record store on real files: accepting, repeating, restarting, rolling, reading, and what it writes."""

import asyncio
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.record_rig import (
    T0,
    held,
    make_store,
    records,
    segment_files,
    session,
    submission,
    values,
)
from tests.sealing_rig import sealing_cipher

from skerry.kit.clock import NS
from skerry.kit.disk import RealDisk
from skerry.node.store.record_jobs import Limits
from skerry.node.store.segments import Times
from skerry.node.store.sessions import MAX_SESSIONS
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.records import Published, Record
from skerry.wire.sync import NO_CHAIN, LanePoint


async def test_accepted_records_are_numbered_chained_and_there_after_a_restart(
    tmp_path: Path,
) -> None:
    store = make_store(tmp_path)
    await store.start()
    assert store.head("keep") == LanePoint(0, NO_CHAIN)
    assert store.read("keep", 0, 10, 1000) is None
    assert await store.append(submission(1, 1, 2.5, "three")) == Published(3)
    assert await store.append(submission(4, True)) == Published(1)
    head = store.head("keep")
    assert head.n == 4
    expected = [(session(1), n, value) for n, value in enumerate([1, 2.5, "three", True], 1)]
    assert held(store) == expected
    await store.stop()

    store = make_store(tmp_path)
    await store.start()
    assert store.head("keep") == head
    assert held(store) == expected
    assert len(segment_files(tmp_path)) == 1  # the same boot goes on in the same file
    await store.stop()


@pytest.mark.guarantee("G1")
async def test_a_retry_is_no_second_record_also_after_a_restart(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    await store.start()
    assert await store.append(submission(1, "a", "b")) == Published(2)
    assert await store.append(submission(1, "a", "b")) == Published(2, repeated=2)
    assert await store.append(submission(2, "b", "c")) == Published(2, repeated=1)
    assert await store.append(submission(1, "other", who=2)) == Published(1)
    await store.stop()
    store = make_store(tmp_path)
    await store.start()
    assert await store.append(submission(3, "c", "d")) == Published(2, repeated=1)
    assert values(store) == ["a", "b", "c", "other", "d"]
    await store.stop()


@pytest.mark.guarantee("G1")
async def test_a_retry_in_the_same_group_is_no_second_record(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    await store.start()
    results = await asyncio.gather(*(store.append(submission(1, "a", "b")) for _ in range(20)))
    assert sum(result.accepted - result.repeated for result in results) == 2
    assert values(store) == ["a", "b"]
    await store.stop()


async def test_each_lane_knows_its_own_part_of_a_batch(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    await store.start()
    first, second, third = records(["k1", "s2", "k3"])
    both = replace(submission(1), parts=[("keep", [first, third]), ("sample", [second])])
    await store.append(submission(1, "k1"))  # a crash between the lanes: only this was accepted
    assert await store.append(both) == Published(3, repeated=1)
    assert held(store, "keep") == [(session(1), 1, "k1"), (session(1), 3, "k3")]
    assert held(store, "sample") == [(session(1), 2, "s2")]
    await store.stop()


async def test_without_a_session_every_call_is_new(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    await store.start()
    for _ in range(3):
        assert await store.append(submission(0, "x", "y", who=None)) == Published(2)
    found = held(store)
    assert [counter for _, counter, _ in found] == [1, 2, 3, 4, 5, 6]
    assert len({name for name, _, _ in found}) == 1
    await store.stop()


async def test_publishers_are_remembered_across_files_until_512_others_have_come(
    tmp_path: Path,
) -> None:
    store = make_store(tmp_path, limits=Limits(segment=20_000, reserve=4096))
    await store.start()
    await store.append(submission(1, "first", who=1))
    for who in range(2, MAX_SESSIONS + 1):
        await store.append(submission(1, "x", who=who))
    assert len(segment_files(tmp_path)) > 1
    await store.stop()
    store = make_store(tmp_path, limits=Limits(segment=20_000, reserve=4096))
    await store.start()
    assert (await store.append(submission(1, "first", who=1))).repeated == 1
    await store.append(submission(1, "x", who=MAX_SESSIONS + 1))
    assert (await store.append(submission(1, "first", who=1))).repeated == 0
    await store.stop()


async def test_files_end_at_their_size_at_a_new_boot_and_after_a_day(tmp_path: Path) -> None:
    day = 24 * 3600 * NS
    limits = Limits(segment=5_000, reserve=4096)
    for boot in ("boot-1", "boot-2"):
        store = make_store(tmp_path, clock=ManualClock(boot_id=boot), limits=limits)
        await store.start()
        head = store.head("keep").n
        await store.append(submission(head + 1, "x" * 3000, monotonic=1))
        await store.append(submission(head + 2, "x" * 3000, monotonic=2))  # too large for the first
        await store.append(submission(head + 3, "x", monotonic=3))
        await store.append(submission(head + 4, "x", monotonic=2 + day + 1))
        await store.stop()
    assert [int(path.stem) for path in segment_files(tmp_path)] == [1, 2, 4, 5, 6, 8]
    store = make_store(tmp_path, clock=ManualClock(boot_id="boot-3"), limits=limits)
    await store.start()
    assert len(values(store)) == 8
    assert [segment.boot_id for segment in store.segments("keep")] == ["boot-1"] * 3 + [
        "boot-2"
    ] * 3
    span = store.read("keep", 3, 100, 100_000)
    assert span is not None
    assert (span.first, span.last, span.boot_id) == (4, 4, "boot-1")
    await store.stop()


async def test_a_large_batch_is_cut_into_frames_that_can_be_pushed(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    await store.start()
    await store.append(submission(1, *["x" * 50_000] * 30))
    span = store.read("keep", 0, 10_000, 1)
    assert span is not None
    assert len(span.frames) == 1
    assert len(span.frames[0].payload) <= 256 * 1024
    assert len(values(store)) == 30
    await store.stop()


async def test_reading_keeps_to_both_limits_and_may_begin_inside_a_frame(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    await store.start()
    for first in range(1, 100, 3):
        await store.append(submission(first, 1, 2, 3))
    span = store.read("keep", 0, 10, 100_000)
    assert span is not None
    assert [frame.first for frame in span.frames] == [1, 4, 7]
    span = store.read("keep", 0, 1000, len(span.frames[0].payload) * 2 + 5)
    assert span is not None
    assert [frame.first for frame in span.frames] == [1, 4]
    span = store.read("keep", 7, 5, 100_000)
    assert span is not None
    assert span.first == 7  # record 8 lies inside this frame
    assert store.point_at("keep", 0) == NO_CHAIN
    assert store.point_at("keep", 3) == store.read("keep", 3, 1, 1).previous  # type: ignore[union-attr]
    assert store.point_at("keep", 2) is None
    assert store.point_at("keep", 99) == store.head("keep").chain
    assert store.point_at("keep", 100) is None
    await store.stop()


async def test_opening_reads_old_files_by_their_headers_only(tmp_path: Path) -> None:
    limits = Limits(segment=2_000, reserve=4096)
    store = make_store(tmp_path, limits=limits)
    await store.start()
    for n in range(1, 50):
        await store.append(submission(n, "x" * 200, at=T0 + n))
    before = store.segments("keep")
    await store.stop()
    oldest = segment_files(tmp_path)[0]
    data = bytearray(oldest.read_bytes())
    data[-1] ^= 1  # nobody looks there at the start
    oldest.write_bytes(data)
    store = make_store(tmp_path, limits=limits)
    await store.start()
    assert store.segments("keep") == before
    assert store.damaged_files() == []
    await store.stop()


async def test_the_bell_rings_after_each_commit(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    await store.start()
    seen = store.bell.count
    waiter = asyncio.create_task(store.bell.after(seen))
    await store.append(submission(1, "x"))
    await asyncio.wait_for(waiter, 30)
    assert store.head("keep").n == 1
    await store.stop()


async def test_a_publisher_that_goes_away_does_not_stop_the_others(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    await store.start()
    for n in range(1, 200):
        gone = asyncio.create_task(store.append(submission(n, "x", who=2)))
        await asyncio.sleep(0)
        gone.cancel()
    async with asyncio.timeout(30):
        assert await store.append(submission(1, "still here")) == Published(1)
    await store.stop()


async def test_payloads_pass_through_the_cipher_and_the_chain_does_not(tmp_path: Path) -> None:
    store = make_store(tmp_path, cipher=sealing_cipher())
    await store.start()
    await store.append(submission(1, "a secret text"))
    assert b"a secret text" not in segment_files(tmp_path)[0].read_bytes()
    await store.stop()
    store = make_store(tmp_path, cipher=sealing_cipher())
    await store.start()
    assert values(store) == ["a secret text"]
    assert store.segments("keep")[0].times == Times(T0, T0, T0, 1)
    await store.stop()


class Counting(RealDisk):
    """Counts what is handed to write() and how often the disk is waited for."""

    def __init__(self) -> None:
        self.written = 0
        self.syncs = 0

    def append(self, label: str, fd: int, data: bytes) -> None:
        self.written += len(data)
        super().append(label, fd, data)

    def sync(self, label: str, fd: int) -> None:
        self.syncs += 1
        super().sync(label, fd)

    def write_atomic(self, label: str, path: Path, data: bytes, mode: int = 0o600) -> None:
        if label != "reserve.hold":  # once in a node's life
            self.written += len(data)
        super().write_atomic(label, path, data, mode)


async def test_twelve_values_a_second_cost_at_most_150_mb_a_day(tmp_path: Path) -> None:
    """A group of host figures per second, with files that roll and headers with a full table of publishers."""
    disk = Counting()
    store = make_store(tmp_path, disk=disk, limits=Limits(segment=400_000, reserve=4096))
    await store.start()
    for who in range(MAX_SESSIONS):
        await store.append(submission(1, "x", who=who))
    disk.written = disk.syncs = 0
    names = ["cpu.percent", "memory.used", "network.rx.bytes", "load.1m"] * 3
    for second in range(1000):
        figures = [
            Record(i, f"host.{name}", T0 + second * NS, 1234567.875) for i, name in enumerate(names)
        ]
        group = submission(second * 12 + 1, who=1000, at=T0 + second * NS)
        await store.append(replace(group, parts=[("keep", figures)]))
    assert len(segment_files(tmp_path)) > 2
    assert disk.syncs == 1000
    assert disk.written / 1000 * 86_400 <= 150e6
    await store.stop()


class Gate(Counting):
    """Holds the first sync until the test opens the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()

    def sync(self, label: str, fd: int) -> None:
        self.opened.wait(60)
        super().sync(label, fd)


async def test_waiting_publishers_share_one_write_and_one_sync(tmp_path: Path) -> None:
    disk = Gate()
    store = make_store(tmp_path, disk=disk)
    await store.start()
    first = asyncio.create_task(store.append(submission(1, "x", who=999)))
    await eventually(lambda: segment_files(tmp_path) != [], "the first one is being written")
    waiting = [asyncio.create_task(store.append(submission(1, "x", who=n))) for n in range(200)]
    await asyncio.sleep(0)  # each has been handed to the commit thread
    disk.opened.set()
    await asyncio.gather(first, *waiting)
    assert disk.syncs == 2
    assert len(values(store)) == 201
    await store.stop()
