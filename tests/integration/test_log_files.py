"""Reading rotated logs, from a time, and following them across rotations."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.core.log_lines import parse_line
from skerry.keeper.log_file import LogFile, stamp
from skerry.keeper.log_rules import LogRules
from skerry.kit.clock import NS, SystemClock
from skerry.kit.errors import NotFound
from skerry.node.workloads.logs import LogFiles
from skerry.testing.waiting import eventually
from skerry.wire.logs import LogQuery

START = 1_795_228_000 * NS


class Writer:
    """Stands for the keeper: line n is written at second n."""

    def __init__(self, directory: Path, size: int = 1000, files: int = 3) -> None:
        (directory / "w").mkdir()
        self.path = directory / "w" / "current.log"
        self.now = START
        self._file = LogFile(
            str(self.path),
            LogRules(size, files),
            lambda: self.now,
            lambda _seconds, _callback: None,
        )
        self.count = 0

    def write(self, lines: int) -> None:
        for _ in range(lines):
            self.count += 1
            self.now = START + self.count * NS
            self._file.append([stamp(self.now) + b" stdout F line %d\n" % self.count])

    def close(self) -> None:
        self._file.close()


@pytest.fixture
def logs(tmp_path: Path, clock: SystemClock) -> LogFiles:
    return LogFiles(tmp_path, clock)


def numbers(lines: list[str]) -> list[int]:
    return [int(line.rsplit(" ", 1)[1]) for line in lines]


async def read(logs: LogFiles, since: int | None = None) -> list[str]:
    return [line async for line in logs.read("w", LogQuery(since))]


class Follower:
    """Reads in the background until the test ends it."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self.lines: list[str] = []
        self._task = asyncio.create_task(self._read(lines))

    async def _read(self, lines: AsyncIterator[str]) -> None:
        async for line in lines:
            self.lines.append(line)

    async def has(self, count: int) -> None:
        await eventually(lambda: len(self.lines) >= count, f"{count} lines are read")

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.mark.parametrize(
    "workload", ["unknown", "", ".", "..", "../w", "w/../w", "a\0b", "a" * 5000]
)
def test_a_workload_that_never_ran_is_not_found(
    logs: LogFiles, tmp_path: Path, workload: str
) -> None:
    (tmp_path / "w").mkdir()
    with pytest.raises(NotFound, match="never run here"):
        logs.read(workload, LogQuery(None, follow=False))


async def test_a_workload_that_printed_nothing_has_no_lines(logs: LogFiles, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    assert await read(logs) == []


@pytest.mark.parametrize(
    ("lines", "size"), [(3, 1000), (100, 10_000), (150, 2_000), (150, 100_000)]
)
async def test_by_default_the_last_hundred_lines(
    logs: LogFiles, tmp_path: Path, lines: int, size: int
) -> None:
    writer = Writer(tmp_path, size=size)
    writer.write(lines)
    writer.close()
    kept = numbers("".join(f.read_text() for f in log_files(tmp_path)).splitlines())
    assert numbers(await read(logs)) == kept[-100:]


def log_files(directory: Path) -> list[Path]:
    return sorted((directory / "w").glob("current.log*"), reverse=True)


async def test_from_a_time_across_rotated_files(logs: LogFiles, tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.write(50)
    writer.close()
    assert len(log_files(tmp_path)) == 3
    assert numbers(await read(logs, START + 40 * NS)) == list(range(40, 51))
    assert numbers(await read(logs, START + 40 * NS + 1)) == list(range(41, 51))
    assert await read(logs, START + 51 * NS) == []
    assert numbers(await read(logs, 0))[-1] == 50


async def test_following_sees_every_line_across_many_rotations(
    logs: LogFiles, tmp_path: Path
) -> None:
    writer = Writer(tmp_path, size=400, files=20)
    writer.write(5)
    follower = Follower(logs.read("w", LogQuery(0, follow=True)))
    await follower.has(5)
    for count in (1, 7, 30, 2, 60):
        writer.write(count)
        await follower.has(writer.count)
    assert numbers(follower.lines) == list(range(1, writer.count + 1))
    await follower.end()
    writer.close()


async def test_following_starts_before_the_first_line(logs: LogFiles, tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    follower = Follower(logs.read("w", LogQuery(None, follow=True)))
    writer.write(3)
    await follower.has(3)
    await follower.end()
    writer.close()


async def test_who_is_overtaken_by_rotation_goes_on_with_the_oldest_that_is_left(
    logs: LogFiles, tmp_path: Path
) -> None:
    writer = Writer(tmp_path, size=400, files=2)
    writer.write(2)
    follower = Follower(logs.read("w", LogQuery(0, follow=True)))
    await follower.has(2)
    writer.write(50)
    await eventually(lambda: numbers(follower.lines)[-1] == 52, "the newest line is read")
    read_ = numbers(follower.lines)
    assert read_ == sorted(set(read_))
    await follower.end()
    writer.close()


async def test_a_torn_line_that_the_keeper_takes_back_is_not_read(
    logs: LogFiles, tmp_path: Path
) -> None:
    writer = Writer(tmp_path)
    writer.write(2)
    writer.close()
    size = writer.path.stat().st_size
    with writer.path.open("ab", buffering=0) as file:
        file.write(stamp(START) + b" stdout F taken back although it is much longer than the next")
        follower = Follower(logs.read("w", LogQuery(0, follow=True)))
        await follower.has(2)
        file.truncate(size)
    writer.write(1)
    await follower.has(3)
    assert numbers(follower.lines) == [1, 2, 3]
    await follower.end()
    writer.close()


async def test_garbage_never_breaks_a_reader(logs: LogFiles, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    path = tmp_path / "w" / "current.log"
    first, second = stamp(START), stamp(START + NS)
    path.write_bytes(
        b"torn\n"
        + first
        + b" stdout F a\xff\r\x00b\n"
        + b"\n"
        + second
        + b" stderr P c\xe2\x80\xa8d\nrest"
    )
    lines = await read(logs, START + 1)
    assert lines == [f"{second.decode()} stderr P c\u2028d"]
    assert await read(logs) == [
        "torn",
        f"{first.decode()} stdout F a\\xff\r\x00b",
        "",
        f"{second.decode()} stderr P c\u2028d",
    ]


def test_parsing_a_line() -> None:
    line = parse_line("2026-11-21T02:34:44.123456789Z stderr P some  text ")
    assert line is not None
    assert (line.stream, line.whole, line.text) == ("stderr", False, "some  text ")
    assert line.at == "2026-11-21T02:34:44.123456789Z"
    assert parse_line("torn") is None
    assert parse_line("") is None


async def read_query(logs: LogFiles, query: LogQuery) -> list[int]:
    return numbers([line async for line in logs.read("w", query)])


async def test_a_past_interval(logs: LogFiles, tmp_path: Path) -> None:
    writer = Writer(tmp_path, size=400, files=20)
    writer.write(150)
    writer.close()
    span = LogQuery(START + 40 * NS, START + 45 * NS)
    assert await read_query(logs, span) == [40, 41, 42, 43, 44]
    assert await read_query(logs, LogQuery(until=START + 120 * NS)) == list(range(20, 120))
    assert await read_query(logs, LogQuery(START + 200 * NS, START + 300 * NS)) == []


async def test_the_last_hundred_lines_of_a_level_and_then_those_that_come(
    logs: LogFiles, tmp_path: Path
) -> None:
    directory = tmp_path / "w"
    directory.mkdir()
    file = LogFile(str(directory / "current.log"), LogRules(2000, 50), lambda: 0, lambda _s, _c: 0)

    def write(number: int) -> None:
        word = b"WARNING: line" if number % 3 == 0 else b"INFO: line"
        file.append([stamp(START + number * NS) + b" stderr F %b %d\n" % (word, number)])

    for number in range(600):
        write(number)
    query = LogQuery(level="warning")
    assert await read_query(logs, query) == list(range(300, 600, 3))
    assert await read_query(logs, LogQuery(START + 590 * NS, level="warning")) == [591, 594, 597]
    follower = Follower(logs.read("w", LogQuery(level="warning", follow=True)))
    await follower.has(100)
    for number in range(600, 610):
        write(number)
    await follower.has(104)
    await follower.end()
    assert numbers(follower.lines)[-4:] == [600, 603, 606, 609]
    file.close()
