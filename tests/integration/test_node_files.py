"""Files on a node: one content is there once, whole, and stays until the hub has it."""

import asyncio
import os
from pathlib import Path

import pytest
from tests.file_rig import FileRig, RoomLeft, file_rig
from tests.model_cases import content, sha256

from skerry.kit.clock import NS
from skerry.kit.errors import InvalidInput, NotFound, StorageFull, Transient
from skerry.node.files.chunks import AVERAGE, LARGEST, manifest_of
from skerry.node.files.store import KEEP_SENT, UNNAMED_FOR
from skerry.node.store.files import SQL, FileTotals, Moment
from skerry.testing.manual_clock import ManualClock
from skerry.wire.files import FileManifest, FileRef

DATA = content(2_500_000)
SHA = sha256(DATA)


async def given(rig: FileRig, *contents: bytes) -> list[FileRef]:
    refs = [await rig.put(data, sha256(data)) for data in contents]
    for ref in refs:
        await rig.publish(ref)
    return refs


async def sent(rig: FileRig, *refs: FileRef) -> None:
    for ref in refs:
        await rig.store.rows.sent(ref.sha256, Moment.now(rig.store._clock), 0)


async def test_what_is_given_is_there_after_a_restart(tmp_path: Path) -> None:
    async with file_rig(tmp_path) as rig:
        ref = await rig.put(DATA, SHA, pieces=7)
        assert (ref, rig.store.rows.waiting(9)) == (FileRef(SHA, len(DATA)), [])
        assert (await rig.publish(ref)).accepted == 1
        assert rig.bytes_of(ref) == DATA
        path = tmp_path / "files" / SHA[:2] / SHA[2:]
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    async with file_rig(tmp_path) as rig:
        [row] = rig.store.rows.waiting(9)
        assert (row.sha256, row.size, row.n) == (SHA, len(DATA), 1)
        assert rig.store.read(row, 10, 20) == DATA[10:30]


async def test_the_same_content_twice_is_one_copy(tmp_path: Path) -> None:
    async with file_rig(tmp_path) as rig:
        for _ in range(3):
            await given(rig, DATA)
        await asyncio.gather(*(rig.put(DATA, SHA) for _ in range(3)))
        assert rig.on_disk() == [SHA]
        assert rig.records.head("event").n == 3
        assert rig.store.rows.totals().used == len(DATA)


async def test_nothing_at_all_is_a_file(tmp_path: Path) -> None:
    async with file_rig(tmp_path) as rig:
        [ref] = await given(rig, b"")
        assert rig.bytes_of(ref) == b""


async def test_what_is_not_what_it_is_called_leaves_nothing(tmp_path: Path) -> None:
    async with file_rig(tmp_path) as rig:
        with pytest.raises(InvalidInput, match="Was it changed meanwhile"):
            await rig.put(DATA + b"x", SHA)
        with pytest.raises(Transient, match="2500000 of 2500001 bytes"):
            await rig.put(DATA, SHA, size=len(DATA) + 1)
        assert (rig.on_disk(), rig.store.rows.totals().count) == ([], 0)
        assert await rig.put(DATA, SHA, size=None) == FileRef(SHA, len(DATA))


async def test_a_record_of_what_is_not_there_is_refused(tmp_path: Path) -> None:
    async with file_rig(tmp_path) as rig:
        ref = await rig.put(DATA, SHA)
        for wrong in (FileRef("0" * 64, 5), FileRef(SHA, 5)):
            with pytest.raises(NotFound, match="Send them first"):
                await rig.publish(ref, wrong)
        assert rig.records.head("event").n == 0


async def test_a_retry_is_no_second_file(tmp_path: Path) -> None:
    async with file_rig(tmp_path) as rig:
        ref = await rig.put(DATA, SHA)
        assert (await rig.publish(ref, first=1)).repeated == 0
        assert await rig.put(DATA, SHA) == ref
        assert (await rig.publish(ref, first=1)).repeated == 1
        assert rig.records.head("event").n == 1


async def test_at_the_limit_only_what_the_hub_has_goes(tmp_path: Path) -> None:
    clock = ManualClock()
    async with file_rig(tmp_path, limit=3_000_000, clock=clock) as rig:
        old, new = [
            await rig.put(data, sha256(data)) for data in (content(1_000_000), content(900_000))
        ]
        await rig.publish(old, new)
        with pytest.raises(StorageFull, match="raise files.limit") as caught:
            await rig.put(DATA, SHA)
        assert "1.9 MB of files wait for the hub already, and 3 MB are allowed" in str(caught.value)
        await sent(rig, old)
        clock.advance(1)
        await sent(rig, new)
        await rig.put(content(1_500_000), sha256(content(1_500_000)))
        assert old.sha256 not in rig.on_disk()
        assert new.sha256 in rig.on_disk()
        with pytest.raises(StorageFull):
            await rig.put(DATA, SHA, size=None, pieces=9)
        assert rig.store._coming == {}


async def test_what_may_go_and_what_not(tmp_path: Path) -> None:
    clock = ManualClock()
    async with file_rig(tmp_path, clock=clock) as rig:
        first, second, third = await given(rig, b"one", b"three", b"fifteen")
        del third
        await sent(rig, first, second)
        store = rig.store
        assert (store.evictable(safely=True), store.evictable(safely=False)) == (0, 8)
        rig.backed_up = 1
        assert store.evictable(safely=True) == 3
        clock.advance(KEEP_SENT / NS + 1)
        assert store.evictable(safely=True) == 8
        assert await store.evict(100, safely=True) == 8
        assert len(rig.on_disk()) == 1
        await given(rig, b"one")
        assert [row.size for row in store.rows.waiting(9)] == [7, 3]


async def test_the_age_of_another_boot_is_not_that_of_a_clock_that_was_not_set(
    tmp_path: Path,
) -> None:
    async with file_rig(tmp_path, clock=ManualClock(5 * NS)) as rig:
        await sent(rig, *await given(rig, b"one"))
    clock = ManualClock(boot_id="boot-2")
    async with file_rig(tmp_path, clock=clock) as rig:
        assert rig.store.evictable(safely=True) == 0
        ref = await rig.put(b"three", sha256(b"three"))
        await rig.publish(ref, first=2)
        await sent(rig, ref)
    later = ManualClock(clock.wall_ns() + KEEP_SENT + NS, boot_id="boot-3")
    async with file_rig(tmp_path, clock=later) as rig:
        assert rig.store.young_from() == 1  # nobody knows how old the first one is
        rig.backed_up = 1
        assert rig.store.evictable(safely=True) == 3


async def test_sums_are_kept_and_no_question_reads_all_rows(tmp_path: Path) -> None:
    async with file_rig(tmp_path) as rig:
        refs = await given(rig, b"one", b"three", b"fifteen")
        rows = rig.store.rows
        await sent(rig, *refs[:2])
        await rows.lost([refs[0].sha256])
        await rows.fail(refs[2].sha256, "gone")
        await rows.drop([refs[1].sha256])
        await rows.put(refs[0].sha256, 3, 7)
        assert rows.totals() == FileTotals(2, 10, 2, 10, "gone")
        await rows.sent(refs[0].sha256, Moment(1, 1, ""), 0)
        assert rows.totals() == FileTotals(2, 10, 1, 7, "gone")
        values = {"boot": "", "monotonic": 0, "wall": 0, "set": 0, "n": 0, "no": 0}
        for name in ("totals", "last_sent", "sent_ones", "sent_after", "first_young", "backed_up"):
            given_values = values if ":" in SQL[name] else (0,) * SQL[name].count("?")
            plan = rows._reader.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", given_values).fetchall()
            steps = [row["detail"] for row in plan]
            assert not [s for s in steps if s == "SCAN file" or "TEMP B-TREE" in s], (name, steps)


async def test_a_record_that_comes_while_its_content_goes_is_refused(tmp_path: Path) -> None:
    async with file_rig(tmp_path) as rig:
        [ref] = await given(rig, DATA)
        await sent(rig, ref)
        going = asyncio.create_task(rig.store.evict(1, safely=False))
        while not rig.store._dropping:  # noqa: ASYNC110 - the millisecond in which it goes
            await asyncio.sleep(0)
        with pytest.raises(NotFound, match="Send them first"):
            await rig.publish(ref)
        assert await going == len(DATA)
        assert await rig.put(DATA, SHA) == ref
        await rig.publish(ref)
        assert rig.bytes_of(ref) == DATA


async def test_room_is_asked_for_before_a_file_is_refused(tmp_path: Path) -> None:
    room = RoomLeft(1_000_000)
    async with file_rig(tmp_path, room=room) as rig:
        with pytest.raises(StorageFull, match="no room for 2.5 MB"):
            await rig.put(DATA, SHA)
        assert room.asked == [1_500_000]
        room.bytes = 3_000_000
        await rig.put(DATA, SHA)
        assert room.bytes == 500_000


async def test_what_no_record_names_goes_after_a_day(tmp_path: Path) -> None:
    clock = ManualClock()
    async with file_rig(tmp_path, clock=clock) as rig:
        await rig.put(b"never named", sha256(b"never named"))
        await given(rig, b"named")
        await rig.store.drop_unnamed()
        assert len(rig.on_disk()) == 2
        clock.advance(UNNAMED_FOR / NS + 1)
        await rig.store.drop_unnamed()
        assert rig.on_disk() == [sha256(b"named")]


async def test_a_restart_finds_the_names_and_removes_what_is_nobodys(tmp_path: Path) -> None:
    async with file_rig(tmp_path) as rig:
        [ref] = await given(rig, DATA)
        await rig.put(b"unnamed", sha256(b"unnamed"))
        writer = rig.store.rows._writer
        await writer.run(
            lambda db: db.execute("UPDATE file SET n = 0").rowcount, label="test", durable=True
        )
    stray = tmp_path / "files" / "ab"
    stray.mkdir()
    (stray / "cd").write_bytes(b"of a crash")
    (stray / f"{ref.sha256[2:]}.7.new").write_bytes(b"half")
    async with file_rig(tmp_path) as rig:
        assert [row.sha256 for row in rig.store.rows.waiting(9)] == [SHA]
        assert rig.on_disk() == sorted([SHA, sha256(b"unnamed")])


async def test_a_mode_that_lets_others_read_is_never_there(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        async with file_rig(tmp_path) as rig:
            await given(rig, b"secret")
    finally:
        os.umask(old)
    for path in (tmp_path / "files").rglob("*"):
        assert not path.stat().st_mode & 0o077


def cut(data: bytes) -> FileManifest:
    return manifest_of(sha256(data), len(data), lambda start, size: data[start : start + size])


@pytest.mark.parametrize("size", [0, 1, AVERAGE, AVERAGE + 1, 1_234_567])
def test_a_manifest_is_the_whole(size: int) -> None:
    data = content(size)
    found = cut(data)
    at = 0
    for chunk in found.chunks:
        assert 0 < chunk.size <= LARGEST
        assert chunk.sha256 == sha256(data[at : at + chunk.size])
        at += chunk.size
    assert at == size


def test_bytes_that_are_put_in_move_no_other_chunk() -> None:
    before, after = cut(DATA), cut(DATA[:1_000_000] + b"new" + DATA[1_000_000:])
    assert len({*after.chunks} - {*before.chunks}) <= 3


def test_without_the_library_chunks_are_equally_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyfastcdc", None)
    sizes = [chunk.size for chunk in cut(DATA).chunks]
    assert set(sizes[:-1]) == {AVERAGE}
    assert sum(sizes) == len(DATA)
