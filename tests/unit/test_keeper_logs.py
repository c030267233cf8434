"""Cutting output into log lines, and when a log rotates."""

import fcntl
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.keeper.log_file import LogFile, fitting, rotation, stamp
from skerry.keeper.log_rules import LogRules
from skerry.keeper.logs import CHUNK, MAX_LINE, Stream, cut_lines, whole_characters
from skerry.keeper.loop import Loop
from skerry.keeper.masks import Masks


class Timers:
    """What a log has asked to be called back for; the test lets the time pass."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []

    def __call__(self, _seconds: float, callback: Callable[[], object]) -> None:
        self.waiting.append(callback)

    def pass_by(self) -> None:
        waiting, self.waiting = self.waiting, []
        for callback in waiting:
            callback()


def cut(data: bytes, limit: int = 16) -> tuple[list[bytes], bytes]:
    return cut_lines(data, b"F ", b"P ", limit)


@pytest.mark.parametrize(
    ("data", "lines", "rest"),
    [
        (b"", [], b""),
        (b"a", [], b"a"),
        (b"a\n", [b"F a\n"], b""),
        (b"a\n\nb", [b"F a\n", b"F \n"], b"b"),
        (b"x" * 16, [], b"x" * 16),
        (b"x" * 16 + b"\n", [b"F " + b"x" * 16 + b"\n"], b""),
        (b"x" * 17, [b"P " + b"x" * 16 + b"\n"], b"x"),
        (b"x" * 33 + b"\n", [b"P " + b"x" * 16 + b"\n"] * 2 + [b"F x\n"], b""),
        (b"x" * 15 + "é".encode() + b"\n", [b"P " + b"x" * 15 + b"\n", b"F \xc3\xa9\n"], b""),
        (b"\xff\x00\r\x80\n", [b"F \xff\x00\r\x80\n"], b""),
        (b"\x80" * 17, [b"P " + b"\x80" * 16 + b"\n"], b"\x80"),
    ],
)
def test_lines_and_rest(data: bytes, lines: list[bytes], rest: bytes) -> None:
    assert cut(data) == (lines, rest)


@given(st.lists(st.binary(max_size=80), max_size=10), st.integers(min_value=5, max_value=40))
def test_however_output_arrives_every_byte_is_kept_in_order(
    chunks: list[bytes], limit: int
) -> None:
    printed, rest = b"", b""
    for chunk in chunks:
        lines, rest = cut(rest + chunk, limit)
        assert all(len(line) <= limit + 3 for line in lines)
        printed += b"".join(line[2:] if line[:1] == b"F" else line[2:-1] for line in lines)
    assert len(rest) <= limit
    assert printed + rest == b"".join(chunks)


def test_stamps_have_fixed_width_and_all_digits() -> None:
    assert stamp(1_795_228_484_123_456_789) == b"2026-11-21T02:34:44.123456789Z"
    assert stamp(0) == b"1970-01-01T00:00:00.000000000Z"


@pytest.mark.parametrize(
    ("sizes", "size", "limit", "count"),
    [
        ([], 0, 10, 0),
        ([5, 5], 0, 10, 2),
        ([5, 6], 0, 10, 1),
        ([5, 5, 5], 3, 10, 1),
        ([5], 6, 10, 0),
        ([50], 0, 10, 0),
    ],
)
def test_how_many_lines_fit(sizes: list[int], size: int, limit: int, count: int) -> None:
    assert fitting([b"x" * n for n in sizes], size, limit) == count


@pytest.mark.parametrize(
    ("files", "renames"),
    [
        (1, []),
        (2, [("log", "log.1")]),
        (4, [("log.2", "log.3"), ("log.1", "log.2"), ("log", "log.1")]),
    ],
)
def test_rotation_renames_the_oldest_first(files: int, renames: list[tuple[str, str]]) -> None:
    assert rotation("log", files) == renames


@pytest.mark.parametrize("files", [1, 2, 3])
def test_files_never_exceed_their_size_and_number(tmp_path: Path, files: int) -> None:
    log = LogFile(str(tmp_path / "log"), LogRules(100, files), lambda: 0, Timers())
    (tmp_path / "log.7").write_text("left from a time with more files")
    for number in range(100):
        log.append([b"line %03d\n" % number] * (number % 4))
    log.close()
    (tmp_path / "log.7").unlink()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["log", "log.1", "log.2"][:files]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    text = "".join((tmp_path / name).read_text() for name in reversed(names))
    assert text.splitlines()[-3:] == ["line 099"] * 3
    assert text.splitlines() == sorted(text.splitlines())


def test_fewer_files_than_before_removes_the_surplus(tmp_path: Path) -> None:
    for number in range(1, 6):
        (tmp_path / f"log.{number}").write_text("old")
    log = LogFile(str(tmp_path / "log"), LogRules(10, 2), lambda: 0, Timers())
    log.append([b"12345678\n", b"next\n"])
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]


def test_a_line_larger_than_a_file_gets_a_file_of_its_own(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), LogRules(10, 3), lambda: 0, Timers())
    log.append([b"a\n", b"b" * 50 + b"\n", b"c\n"])
    log.close()
    assert (tmp_path / "log").read_text() == "c\n"
    assert len((tmp_path / "log.1").read_text()) == 51
    assert (tmp_path / "log.2").read_text() == "a\n"


def test_a_torn_line_of_a_dead_keeper_stays_alone(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("whole\ntor")
    log = LogFile(str(tmp_path / "log"), LogRules(1000, 3), lambda: 0, Timers())
    log.append([b"next\n"])
    log.close()
    assert (tmp_path / "log").read_text() == "whole\ntor\nnext\n"


def test_lines_that_the_disk_refuses_are_counted_and_reported(tmp_path: Path) -> None:
    timers = Timers()
    (tmp_path / "log").mkdir()  # stands for any error of open and write
    log = LogFile(str(tmp_path / "log"), LogRules(1000, 3), lambda: 0, timers)
    log.append([b"1\n", b"2\n"])
    log.append([b"3\n"])
    assert log.dropped == 3
    timers.pass_by()
    assert len(timers.waiting) == 1
    (tmp_path / "log").rmdir()
    timers.pass_by()
    assert timers.waiting == []
    log.append([b"4\n"])
    log.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == [
        "1970-01-01T00:00:00.000000000Z stderr F skerry: 3 lines dropped here: Is a directory",
        "4",
    ]
    assert log.dropped == 0


def test_a_log_that_is_closed_says_what_is_missing_and_does_not_open_again(tmp_path: Path) -> None:
    timers = Timers()
    (tmp_path / "log").mkdir()
    log = LogFile(str(tmp_path / "log"), LogRules(1000, 3), lambda: 0, timers)
    log.append([b"1\n"])
    (tmp_path / "log").rmdir()
    log.close()
    assert "1 lines dropped" in (tmp_path / "log").read_text()
    (tmp_path / "log").unlink()
    timers.pass_by()
    assert timers.waiting == []
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_is_closed_in_trouble_gives_up(tmp_path: Path) -> None:
    timers = Timers()
    (tmp_path / "log").mkdir()
    log = LogFile(str(tmp_path / "log"), LogRules(1000, 3), lambda: 0, timers)
    log.append([b"1\n"])
    log.close()
    timers.pass_by()
    assert timers.waiting == []


def test_of_a_batch_that_fills_the_disk_the_whole_lines_stay(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), LogRules(1000, 3), lambda: 0, Timers())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (25, hard))  # a short write, then errors
    try:
        log.append([b"%d234567\n" % n for n in range(10)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "log").read_bytes() == b"0234567\n1234567\n2234567\n"
    assert log.dropped == 7
    log.close()


def test_a_stream_reads_at_most_one_chunk_a_turn(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), LogRules(10_000_000, 3), lambda: 0, Timers())
    stream = Stream(str(tmp_path / "fifo"), b"stdout", log, lambda: 0, Timers())
    writer = os.open(tmp_path / "fifo", os.O_WRONLY | os.O_NONBLOCK)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4 * CHUNK)
    assert os.write(writer, b"123\n" * CHUNK) == 4 * CHUNK
    for turn in range(1, 5):
        assert stream.read()
        assert len((tmp_path / "log").read_text().splitlines()) == turn * CHUNK // 4
    os.close(writer)
    stream.close(b"F")
    log.close()


def test_a_stream_keeps_the_unfinished_line(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), LogRules(1_000_000, 3), lambda: 0, Timers())
    (tmp_path / "fifo").write_text("in the way")
    stream = Stream(str(tmp_path / "fifo"), b"stdout", log, lambda: 0, Timers())
    writer = os.open(tmp_path / "fifo", os.O_WRONLY | os.O_NONBLOCK)
    assert not stream.read()
    os.write(writer, b"one\ntw")
    assert stream.read()
    assert (tmp_path / "log").read_text() == "1970-01-01T00:00:00.000000000Z stdout F one\n"
    os.write(writer, b"o\nthree")
    os.close(writer)
    stream.drain()
    stream.close(b"P")
    assert not stream.read()
    log.close()
    texts = [line.split(" ", 2)[2] for line in (tmp_path / "log").read_text().splitlines()]
    assert texts == ["F one", "F two", "P three"]


class Printer:
    """A workload's stdout, the log it goes to, and the time."""

    def __init__(self, directory: Path) -> None:
        self.timers = Timers()
        self._log = directory / "log"
        self._file = LogFile(str(self._log), LogRules(1_000_000, 3), lambda: 0, self.timers)
        self.stream = Stream(str(directory / "fifo"), b"stdout", self._file, lambda: 0, self.timers)
        self._fd = os.open(directory / "fifo", os.O_WRONLY | os.O_NONBLOCK)

    def print(self, text: str | bytes) -> None:
        os.write(self._fd, text.encode() if isinstance(text, str) else text)
        assert self.stream.read()

    def logged(self) -> list[str]:
        """Tag and text of each line."""
        if not self._log.exists():
            return []
        lines = self._log.read_bytes().decode().split("\n")[:-1]
        return [line.split(" ", 2)[2] for line in lines]

    def close(self) -> None:
        os.close(self._fd)
        self.stream.close(b"F")
        self._file.close()


@pytest.fixture
def printer(tmp_path: Path) -> Iterator[Printer]:
    printer = Printer(tmp_path)
    yield printer
    printer.close()


def test_a_prompt_is_written_after_a_while_and_its_answer_continues_it(printer: Printer) -> None:
    printer.print("hello\nPassword: ")
    assert printer.logged() == ["F hello"]
    printer.timers.pass_by()
    assert printer.logged() == ["F hello", "P Password: "]
    assert printer.timers.waiting == []
    printer.print("\nwelcome\n")
    assert printer.logged() == ["F hello", "P Password: ", "F ", "F welcome"]
    assert printer.timers.waiting == []


def test_a_progress_bar_moves_in_the_log(printer: Printer) -> None:
    for percent in range(4):
        printer.print(f"\r{percent} %")
        if percent % 2:
            printer.timers.pass_by()
    printer.print("\rdone\n")
    assert printer.logged() == ["P \r0 %\r1 %", "P \r2 %\r3 %", "F \rdone"]


def test_lines_in_quick_succession_are_not_cut(printer: Printer) -> None:
    printer.print("0, ")
    for number in range(1, 4):
        printer.print(f"done\n{number}, ")
        printer.timers.pass_by()
    assert printer.logged() == ["F 0, done", "F 1, done", "F 2, done"]
    printer.timers.pass_by()
    assert printer.logged()[3:] == ["P 3, "]


def test_a_line_that_ends_in_pieces_is_closed(printer: Printer) -> None:
    printer.print("Password: ")
    printer.timers.pass_by()
    printer.stream.close(b"F")
    assert printer.logged() == ["P Password: ", "F "]


def test_another_keeper_goes_on_with_a_line_in_pieces(printer: Printer) -> None:
    printer.print("Password: ")
    printer.timers.pass_by()
    printer.stream.close(b"P")
    assert printer.logged() == ["P Password: "]


def test_no_character_is_torn(printer: Printer) -> None:
    euro = "\N{EURO SIGN}".encode()
    printer.print(b"1 " + euro[:2])
    printer.timers.pass_by()
    assert printer.logged() == ["P 1 "]
    assert printer.timers.waiting == []
    printer.print(euro[2:])
    printer.timers.pass_by()
    assert printer.logged() == ["P 1 ", "P \N{EURO SIGN}"]


@given(st.text(max_size=6), st.integers(min_value=0, max_value=6))
def test_whole_characters_are_text_and_at_most_three_bytes_wait(text: str, cut_off: int) -> None:
    data = text.encode()[:cut_off]
    end = whole_characters(data)
    data[:end].decode()
    assert end >= len(data) - 3


def test_timers_call_back_in_order_and_descriptors_need_none() -> None:
    time = 0.0
    loop = Loop(lambda: time)
    called: list[str] = []
    readable, writable = os.pipe()
    loop.watch(readable, lambda: called.append(os.read(readable, 9).decode()))
    loop.later(2.0, lambda: called.append("second"))
    loop.later(1.0, lambda: called.append("first"))
    loop.later(4.0, lambda: called.append("last"))
    os.write(writable, b"output")
    loop.turn()
    assert called == ["output"]
    time = 3.0
    loop.turn()
    assert called == ["output", "first", "second"]
    time = 4.0
    loop.turn()
    assert called[3:] == ["last"]
    os.write(writable, b"more")
    loop.turn()
    assert called[4:] == ["more"]
    os.close(readable)
    os.close(writable)


def test_half_a_secret_waits_for_the_other_half_however_long(printer: Printer) -> None:
    printer.stream.masks = Masks(LogRules(1, 1, secrets=["hunter22-hunt", "other-one"]))
    printer.print("login hunter22-")
    printer.timers.pass_by()
    assert printer.logged() == ["P login "]
    printer.timers.pass_by()
    printer.print("hunt ok\n")
    assert printer.logged() == ["P login ", "F *** ok"]
    printer.print("it is not h")
    printer.timers.pass_by()
    printer.print("ere\n")
    assert printer.logged()[2:] == ["P it is not ", "F here"]


@given(st.integers(0, 40), st.integers(1, 12))
def test_a_secret_is_masked_wherever_a_long_line_is_cut(before: int, first: int) -> None:
    """The piece of a line ends, or the chunk does, somewhere in it."""
    secret = b"hunter22-hunt"
    line = b"x" * (MAX_LINE - before) + secret + b"y" * 30
    at = MAX_LINE - before + first
    with tempfile.TemporaryDirectory() as directory:
        printer = Printer(Path(directory))
        printer.stream.masks = Masks(LogRules(1, 1, secrets=[secret.decode()]))
        printer.print(line[:at])
        printer.print(line[at:])
        printer.timers.pass_by()
        printer.print(b"\n")
        printed = "".join(each[2:] for each in printer.logged())
        printer.close()
    assert printed == (line.replace(secret, b"***")).decode()
