"""Damaged files of records: noticed at the start or by a reader, set aside, reported, and everything readable kept."""

from pathlib import Path

import pytest
from tests.record_rig import T0, held_by, make_engine, make_store, segment_files, submission, values

from skerry.kit.disk import RealDisk
from skerry.kit.errors import Transient
from skerry.node.store.record_jobs import Limits
from skerry.node.store.records import RecordStore
from skerry.testing.faulty_disk import FaultyDisk
from skerry.testing.waiting import eventually
from skerry.wire.codec import decode
from skerry.wire.records import Batch
from skerry.wire.sync import Lane

LIMITS = Limits(segment=2_000, reserve=4096)


async def filled(directory: Path, count: int = 40) -> list[str]:
    """A store whose lane keep has `count` records of one frame each, in several files."""
    store = make_store(directory, limits=LIMITS)
    await store.start()
    texts = [f"text-{n:04d}-" + "x" * 200 for n in range(1, count + 1)]
    for n, text in enumerate(texts, 1):
        await store.append(submission(n, text, at=T0 + n, accepted_at=T0 + n))
    await store.stop()
    return texts


def flip(path: Path, text: str) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(text.encode()[:9])] ^= 0x20
    path.write_bytes(data)


def notices(store: RecordStore) -> list[tuple[str, str]]:
    """(kind, name) of everything in lane event."""
    return [
        (batch.kind, record.name)
        for segment in store.segments("event")
        for frame in store.frames("event", segment)
        for batch in [decode(frame.payload, Batch, "frame")]
        for record in batch.records
    ]


def gaps(store: RecordStore) -> list[tuple[object, object, object]]:
    """(value, from_n, to_n) of every gap."""
    return [
        (record.value, record.meta["from_n"], record.meta["to_n"])
        for segment in store.segments("event")
        for frame in store.frames("event", segment)
        for batch in [decode(frame.payload, Batch, "frame")]
        if batch.kind == "gap"
        for record in batch.records
        if record.meta
    ]


@pytest.mark.guarantee("G1")
async def test_a_torn_tail_is_cut_off_and_the_lane_goes_on(tmp_path: Path) -> None:
    texts = await filled(tmp_path)
    last = segment_files(tmp_path)[-1]
    whole = last.read_bytes()
    last.write_bytes(whole + whole[-100:])
    store = make_store(tmp_path, limits=LIMITS)
    await store.start()
    assert values(store) == texts
    await store.append(submission(41, "next"))
    assert values(store) == [*texts, "next"]
    await store.stop()
    store = make_store(tmp_path, limits=LIMITS)
    await store.start()
    assert values(store) == [*texts, "next"]
    assert (store.damaged_files(), notices(store)) == ([], [])
    await store.stop()


@pytest.mark.guarantee("G6")
@pytest.mark.parametrize("place", ["oldest", "newest"])
async def test_damage_found_at_the_start_is_set_aside_and_becomes_a_gap(
    tmp_path: Path, place: str
) -> None:
    texts = await filled(tmp_path)
    files = segment_files(tmp_path)
    path = files[0] if place == "oldest" else files[-1]
    lost = 2 if place == "oldest" else int(path.stem) + 1
    flip(path, texts[lost - 1])
    if place == "oldest":  # the next file no longer vouches for it, so it is read whole
        files[1].write_bytes(b"\0" + files[1].read_bytes()[1:])
    store = make_store(tmp_path, limits=LIMITS)
    await store.start()
    remaining = [text for n, text in enumerate(texts, 1) if n != lost]
    assert values(store) == remaining
    assert gaps(store) == [(1, lost, lost)]
    assert path.with_name(path.name + ".damaged") in store.damaged_files()
    await store.append(submission(41, "next"))
    await store.stop()

    for damaged in (tmp_path / "records").rglob("*.damaged"):
        damaged.unlink()  # as the doctor says: after somebody has looked at it
    store = make_store(tmp_path, limits=LIMITS)
    await store.start()
    assert values(store) == [*remaining, "next"]
    assert gaps(store) == [(1, lost, lost)]
    await store.stop()


@pytest.mark.guarantee("G6")
async def test_damage_met_by_a_reader_is_put_right_and_reading_goes_on_behind_it(
    tmp_path: Path,
) -> None:
    texts = await filled(tmp_path)
    path = segment_files(tmp_path)[1]
    lost = int(path.stem) + 2
    flip(path, texts[lost - 1])
    store = make_store(tmp_path, limits=LIMITS)
    await store.start()
    span = store.read("keep", lost - 2, 100, 100_000)
    assert span is not None
    assert span.last == lost - 1  # up to the bad bytes and not beyond
    with pytest.raises(Transient, match="being put right"):
        store.read("keep", lost - 1, 100, 100_000)
    told = ("event", "skerry.storage.damaged")
    await eventually(lambda: told in notices(store), "the file is set aside and reported")
    assert store.counters.lost == 1
    assert len(store.damaged_files()) == 1
    following = store.read("keep", lost - 1, 100, 100_000)
    assert following is not None
    assert following.first == lost + 1
    assert values(store) == [text for n, text in enumerate(texts, 1) if n != lost]
    assert gaps(store) == [(1, lost, lost)]
    await store.stop()


@pytest.mark.parametrize("lane", ["keep", "event"])
async def test_the_file_that_is_being_written_can_be_put_right_too(
    tmp_path: Path, lane: Lane
) -> None:
    store = make_store(tmp_path)
    await store.start()
    for n in range(1, 6):
        await store.append(submission(n, f"text-{n:04d}", lane=lane))
    flip(segment_files(tmp_path, lane)[0], "text-0003")
    with pytest.raises(Transient):
        store.read(lane, 2, 100, 100_000)
    told = ("event", "skerry.storage.damaged")
    await eventually(lambda: told in notices(store), "the file is set aside and reported")
    await store.append(submission(6, "text-0006", lane=lane))
    expected = [f"text-000{n}" for n in (1, 2, 4, 5, 6)]
    assert texts_of(store, lane) == expected
    assert gaps(store) == [(1, 3, 3)]
    await store.stop()
    store = make_store(tmp_path)
    await store.start()
    assert texts_of(store, lane) == expected
    assert gaps(store) == [(1, 3, 3)]
    assert (await store.append(submission(6, "text-0006", lane=lane))).repeated == 1
    await store.stop()


def texts_of(store: RecordStore, lane: Lane) -> list[object]:
    return [value for value in values(store, lane) if str(value).startswith("text-")]


@pytest.mark.guarantee("G6")
async def test_putting_right_can_fail_anywhere_and_is_tried_again(tmp_path: Path) -> None:
    """Every disk operation of a repair in the running store fails once; the next reader asks again."""
    for nth in range(1, 100):
        directory = tmp_path / str(nth)
        disk = FaultyDisk()
        store = make_store(directory, disk=disk)
        await store.start()
        for n in range(1, 6):
            await store.append(submission(n, f"text-{n:04d}", lane="event"))
        flip(segment_files(directory, "event")[0], "text-0003")
        before = disk.operations
        disk._fail_at = before + nth

        def reads_on(store: RecordStore = store) -> bool:
            try:
                span = store.read("event", 2, 100, 100_000)
            except Transient:
                return False
            return span is not None and span.first == 4

        await eventually(reads_on, "reading goes on behind the damage")
        await store.stop()  # which ends the repair: its event comes after what can be read
        assert texts_of(store, "event") == [f"text-000{n}" for n in (1, 2, 4, 5)]
        assert gaps(store) == [(1, 3, 3)]
        assert len(store.damaged_files()) == 1
        if disk.operations - before < nth:
            break
    else:
        raise AssertionError("never got through without a failure")


@pytest.mark.guarantee("G6")
async def test_a_file_that_is_gone_becomes_a_gap(tmp_path: Path) -> None:
    texts = await filled(tmp_path)
    files = segment_files(tmp_path)
    first, following = int(files[2].stem), int(files[3].stem)
    files[2].unlink()
    store = make_store(tmp_path, limits=LIMITS)
    await store.start()
    assert values(store) == texts[: first - 1] + texts[following - 1 :]
    assert gaps(store) == [(following - first, first, following - 1)]
    await store.stop()
    store = make_store(tmp_path, limits=LIMITS)
    await store.start()
    assert len(gaps(store)) == 1
    await store.stop()


@pytest.mark.parametrize("garbage", [b"", b"\0" * 5000, b"\xffSKH" * 2000])
async def test_a_lane_whose_only_file_is_garbage_starts_and_accepts(
    tmp_path: Path, garbage: bytes
) -> None:
    for lane in ("event", "keep"):
        path = tmp_path / "records" / lane / f"{1:020d}.seg"
        path.parent.mkdir(parents=True)
        path.write_bytes(garbage)
    for _ in range(2):
        store = make_store(tmp_path)
        await store.start()
        await store.append(submission(1, "x"))
        await store.append(submission(1, "boom", lane="event"))
        assert values(store) == ["x"]
        assert notices(store).count(("event", "skerry.storage.damaged")) == 2
        assert len(store.damaged_files()) == 2
        await store.stop()


async def test_a_lost_header_costs_neither_records_nor_the_memory_of_publishers(
    tmp_path: Path,
) -> None:
    texts = await filled(tmp_path)
    path = segment_files(tmp_path)[-1]
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    store = make_store(tmp_path, limits=LIMITS)
    await store.start()
    assert values(store) == texts
    assert (await store.append(submission(1, texts[0]))).repeated == 1
    await store.stop()


async def test_a_salvaged_file_that_grew_is_read_whole(tmp_path: Path) -> None:
    """The table of publishers stands in for the lost header's, so the new file may be larger than the old one."""
    texts = await filled(tmp_path)
    store = make_store(tmp_path, limits=LIMITS)
    await store.start()
    for who in range(2, 100):
        await store.append(submission(1, f"of {who}", who=who))
    await store.stop()
    oldest = segment_files(tmp_path)[0]
    data = bytearray(oldest.read_bytes())
    data[20] ^= 1
    oldest.write_bytes(data)
    for _ in range(2):
        store = make_store(tmp_path, limits=LIMITS)
        await store.start()
        assert values(store) == [*texts, *(f"of {who}" for who in range(2, 100))]
        await store.stop()
    assert oldest.stat().st_size > len(data)


def test_frames_that_were_written_together_are_known_to_be_one_group(tmp_path: Path) -> None:
    """Of a group that was never synced, pages may arrive in any order: nothing behind a hole counts."""
    engine = make_engine(tmp_path, disk=RealDisk())
    engine.open()
    engine.commit([submission(1, "before")])
    engine.commit([submission(1, "text-0001", who=who) for who in (2, 3, 4)])
    engine.close()
    flip(segment_files(tmp_path)[0], "text-0001")  # the first of three
    engine = make_engine(tmp_path, disk=RealDisk())
    engine.open()
    assert [value for _, _, value in held_by(engine, "keep")] == ["before"]
    assert engine.lanes["event"].view.head.n == 0
    engine.close()


@pytest.mark.guarantee("G6")
async def test_setting_aside_can_be_interrupted_anywhere(tmp_path: Path) -> None:
    """Every disk operation of a start with a damaged file fails once; the next start ends the work."""
    for fail_at in range(1, 100):
        directory = tmp_path / str(fail_at)
        texts = await filled(directory, 20)
        path = segment_files(directory)[-1]
        lost = int(path.stem) + 1
        flip(path, texts[lost - 1])
        disk = FaultyDisk(fail_at)
        store = make_store(directory, disk=disk, limits=LIMITS)
        await store.start()
        await store.stop()
        store = make_store(directory, limits=LIMITS)
        await store.start()
        remaining = [text for n, text in enumerate(texts, 1) if n != lost]
        assert values(store) == remaining
        assert gaps(store) == [(1, lost, lost)]
        assert len(store.damaged_files()) == 1
        await store.append(submission(21, "next"))
        assert values(store) == [*remaining, "next"]
        await store.stop()
        if disk.operations < fail_at:
            break
    else:
        raise AssertionError("never got through without a failure")
