"""The small parts of kit."""

import asyncio
import inspect
import os
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.kit import units
from skerry.kit.backoff import Backoff
from skerry.kit.bell import Bell
from skerry.kit.clock import NS, SystemClock, iso
from skerry.kit.disk import DiskOf, RealDisk
from skerry.kit.errors import InvalidInput, Transient
from skerry.kit.hlc import MAX_AHEAD_MS, HybridClock
from skerry.kit.ids import random_token, uuid7
from skerry.kit.nearest import did_you_mean, nearest
from skerry.kit.patterns import first_match, matches
from skerry.kit.tasks import Guard, supervised
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MB", 512_000_000),
        ("1MiB", 1_048_576),
        ("0", 0),
        (7, 7),
        ("1.5 KB", 1500),
        ("2gb", 2 * 10**9),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1 parsec", "1MB 2KB", "5m5"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a size"):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("5m", 300),
        ("1h", 3600),
        ("30d", 2_592_000),
        ("2w", 1_209_600),
        (60, 60),
        ("0.5", 0.5),
    ],
)
def test_durations(text: str | float, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-5m", "5 fortnights", "1h5m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a duration"):
        units.parse_duration(text)


def test_sizes_and_durations_for_people() -> None:
    assert [units.format_size(n) for n in (0, 999, 1500, 12_345_678, 2 * 10**9, 5 * 10**12)] == [
        "0 B", "999 B", "1.5 KB", "12.3 MB", "2 GB", "5 TB",
    ]  # fmt: skip
    assert [units.format_duration(s) for s in (0, 0.44, 12, 65, 3600, 90_061, -3)] == [
        "0.0s", "0.4s", "12s", "1m 5s", "1h", "1d 1h", "0.0s",
    ]  # fmt: skip


def test_ids_sort_by_time_and_carry_their_version(manual_clock: ManualClock) -> None:
    ids = []
    for _ in range(50):
        ids.append(uuid7(manual_clock))
        manual_clock.advance(0.001)
    assert ids == sorted(ids)
    assert len(set(ids)) == 50
    assert all(len(i) == 36 and i[14] == "7" and i[19] in "89ab" for i in ids)
    assert len(random_token()) == 32


def test_the_hybrid_clock_never_goes_back(manual_clock: ManualClock) -> None:
    hybrid = HybridClock(manual_clock)
    first = hybrid.tick()
    manual_clock.jump_wall(-3600)
    assert hybrid.tick() == first + 1
    assert HybridClock(manual_clock, seen=first + 5).tick() == first + 6


def test_the_hybrid_clock_passes_what_it_saw_but_not_a_liar(manual_clock: ManualClock) -> None:
    hybrid = HybridClock(manual_clock)
    near = ((manual_clock.wall_ns() // 1_000_000) + 1000) << 16
    hybrid.observe(near)
    assert hybrid.tick() == near + 1
    hybrid.observe(near << 8)
    ahead_ms = (hybrid.tick() >> 16) - manual_clock.wall_ns() // 1_000_000
    assert ahead_ms <= MAX_AHEAD_MS
    seen = hybrid.last
    assert hybrid.tick_after(near << 8) == (near << 8) + 1
    assert hybrid.last == seen + 1


@given(failures=st.integers(0, 10_000), seed=st.integers())
def test_backoff_stays_between_half_and_cap(failures: int, seed: int) -> None:
    delay = Backoff(first=0.5, cap=300).delay(failures, random.Random(seed))
    assert 0.25 <= delay <= 300


def test_backoff_doubles() -> None:
    steady = Backoff(first=0.5, cap=300, jitter=0)
    chance = random.Random(1)
    assert [steady.delay(n, chance) for n in (0, 1, 2, 3, 20)] == [0.5, 0.5, 1, 2, 300]


def test_nearest() -> None:
    assert nearest("comand", ["command", "env"]) == "command"
    assert did_you_mean("comand", {"command", "env"}) == "did you mean «command»?"
    assert did_you_mean("zzz", {"b", "a"}) == "known are: a, b"
    many = did_you_mean("zzz", map(str, range(100, 125)))
    assert (many.count(","), many[-10:]) == (19, "and 5 more")


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("*", "a", True),
        ("host.*", "host.cpu", True),
        ("host.*", "hosts", False),
        ("a.b", "axb", False),
        ("*.cpu*", "x.cpu.y", True),
    ],
)
def test_patterns(pattern: str, name: str, fits: bool) -> None:
    assert matches(pattern, name) is fits


@given(st.text("ab*", max_size=8), st.text("ab\n", max_size=8))
def test_patterns_mean_what_regular_expressions_do(pattern: str, name: str) -> None:
    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert matches(pattern, name) is bool(re.fullmatch(expression, name, re.DOTALL))


@pytest.mark.guarantee("G4")
def test_a_pattern_with_many_stars_holds_nobody_up() -> None:
    assert not matches(
        "*a" * 100 + "*b", "a" * 255
    )  # by a regular expression: longer than the universe


def test_the_first_pattern_decides() -> None:
    assert first_match({"host.cpu*": "keep", "host.*": "sample"}, "host.cpu.percent", "x") == "keep"
    assert first_match({"host.*": "sample"}, "env.t", "keep") == "keep"


def test_timestamps_keep_nine_digits() -> None:
    assert iso(1_763_692_800_123_456_789) == "2025-11-21T02:40:00.123456789Z"
    assert iso(10**25) == f"{10**25} ns"


async def test_a_bell_never_misses_a_ring() -> None:
    bell = Bell()
    bell.ring()
    assert await bell.after(0) == 1
    waiters = [asyncio.create_task(bell.after(1)) for _ in range(3)]
    await asyncio.sleep(0)
    bell.ring()
    assert await asyncio.gather(*waiters) == [2, 2, 2]
    cancelled = asyncio.create_task(bell.after(2))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    bell.ring()


async def test_supervised_tasks_end_with_the_block() -> None:
    async with supervised() as tasks:
        running = tasks.start(asyncio.sleep(3600), name="sleeper")
        await asyncio.sleep(0)
    assert running.cancelled()


async def test_a_task_that_must_not_end_is_an_error() -> None:
    async def run() -> None:
        async with supervised() as tasks:
            tasks.forever(asyncio.sleep(0), name="short")
            await asyncio.sleep(3600)

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    assert "«short» ended" in str(caught.value.exceptions[0])


async def test_a_task_that_is_ended_before_it_begins_leaves_nothing() -> None:
    began = asyncio.Event()

    async def work() -> None:
        began.set()
        await asyncio.sleep(3600)

    waiting = work()
    async with supervised() as tasks:
        tasks.forever(waiting, name="late")
    assert inspect.getcoroutinestate(waiting) == inspect.CORO_CLOSED
    assert not began.is_set()


async def test_the_guard_waits_longer_after_each_failure(manual_clock: ManualClock) -> None:
    guard = Guard("probe", manual_clock, random.Random(1))

    async def fail() -> None:
        raise ValueError("no")

    async def succeed() -> None:
        return

    for failures in (1, 2):
        run = asyncio.create_task(guard.run(fail))
        await eventually(lambda: manual_clock.sleepers == 1, "the guard sleeps")
        manual_clock.advance(60)
        assert await run is False
        assert guard.failures == failures
    assert await guard.run(succeed) is True
    assert guard.failures == 0


async def test_the_guard_ends_when_it_is_cancelled_while_a_part_of_it_fails(
    manual_clock: ManualClock,
) -> None:
    """Seen as an agent whose sync did not end, because a write failed in the moment of its stop."""
    guard = Guard("probe", manual_clock, random.Random(1))

    async def once() -> None:
        async with supervised() as tasks:
            tasks.start(fail(), name="part")
            await asyncio.Event().wait()

    async def fail() -> None:
        run.cancel()
        raise ValueError("no")

    run = asyncio.create_task(guard.run(once))
    await asyncio.wait([run], timeout=30)
    assert run.cancelled()


async def test_the_guard_neither_hides_nor_repeats_what_explains_itself(
    manual_clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    guard = Guard("probe", manual_clock, random.Random(1))

    async def fail() -> None:
        raise Transient("cannot write it: the disk is full")

    for _ in range(9):
        run = asyncio.create_task(guard.run(fail))
        await eventually(lambda: manual_clock.sleepers == 1, "the guard sleeps")
        manual_clock.advance(60)
        assert await run is False
    assert [record.exc_info for record in caplog.records] == [None] * 4
    counts = ["1 in a row", "2 in a row", "4 in a row", "8 in a row"]
    for record, count in zip(caplog.records, counts, strict=True):
        assert record.message.startswith(
            f"probe: cannot write it: the disk is full ({count}), next try in "
        )


async def test_the_system_clock_and_disk_are_the_machines(tmp_path: Path) -> None:
    clock = SystemClock()
    before = clock.monotonic_ns()
    await clock.sleep(0)
    assert clock.monotonic_ns() >= before
    assert clock.wall_ns() > 1_700_000_000 * NS
    assert len(clock.boot_id()) == 36
    disk = RealDisk()
    target = tmp_path / "file"
    disk.write_atomic("test", target, b"one")
    disk.write_atomic("test", target, b"two", mode=0o640)
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"two", 0o640)
    fd = disk.open_append("test", target)
    disk.append("test", fd, b"three")
    disk.sync("test", fd)
    disk.truncate("test", target, 5)
    assert target.read_bytes() == b"twoth"
    disk.point("test")
    disk.unlink("test", target)
    disk.unlink("test", target)
    assert disk.free_bytes(tmp_path) > 0


def test_a_link_beside_a_file_does_not_lead_what_is_written_elsewhere(tmp_path: Path) -> None:
    secret, target = tmp_path / "shadow", tmp_path / "file"
    secret.write_bytes(b"root")
    before = secret.stat()
    nobody = (65534, 65534) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    for planted in (secret.resolve(), tmp_path / "nowhere"):
        (tmp_path / "file.new").symlink_to(planted)
        DiskOf(nobody).write_atomic("test", target, b"ours")
        assert target.read_bytes() == b"ours"
        assert (target.stat().st_uid, target.stat().st_gid) == nobody
    (tmp_path / "file.new").hardlink_to(secret)
    RealDisk().write_atomic("test", target, b"ours")
    assert secret.read_bytes() == b"root"
    assert (secret.stat().st_uid, secret.stat().st_mode) == (before.st_uid, before.st_mode)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "shadow"]
