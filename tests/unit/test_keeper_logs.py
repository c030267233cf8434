"""Cutting output into log lines, and when a log rotates."""

import fcntl
import os
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.keeper.logs import CHUNK, LogFile, Stream, cut_lines, fitting, rotation, stamp


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
        (b"\x80" * 17, [b"P " + b"\x80" * 12 + b"\n"], b"\x80" * 5),
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
    log = LogFile(str(tmp_path / "log"), 100, files, lambda: 0)
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
    log = LogFile(str(tmp_path / "log"), 10, 2, lambda: 0)
    log.append([b"12345678\n", b"next\n"])
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]


def test_a_line_larger_than_a_file_gets_a_file_of_its_own(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), 10, 3, lambda: 0)
    log.append([b"a\n", b"b" * 50 + b"\n", b"c\n"])
    log.close()
    assert (tmp_path / "log").read_text() == "c\n"
    assert len((tmp_path / "log.1").read_text()) == 51
    assert (tmp_path / "log.2").read_text() == "a\n"


def test_a_torn_line_of_a_dead_keeper_stays_alone(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("whole\ntor")
    log = LogFile(str(tmp_path / "log"), 1000, 3, lambda: 0)
    log.append([b"next\n"])
    log.close()
    assert (tmp_path / "log").read_text() == "whole\ntor\nnext\n"


def test_lines_that_the_disk_refuses_are_counted_and_reported(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()  # stands for any error of open and write
    log = LogFile(str(tmp_path / "log"), 1000, 3, lambda: 0)
    log.append([b"1\n", b"2\n"])
    log.append([b"3\n"])
    assert log.dropped == 3
    assert not log.say_dropped()
    (tmp_path / "log").rmdir()
    log.append([b"4\n"])
    log.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == [
        "1970-01-01T00:00:00.000000000Z stderr F skerry: 3 lines dropped here: Is a directory",
        "4",
    ]
    assert log.dropped == 0


def test_of_a_batch_that_fills_the_disk_the_whole_lines_stay(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), 1000, 3, lambda: 0)
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
    log = LogFile(str(tmp_path / "log"), 10_000_000, 3, lambda: 0)
    stream = Stream(str(tmp_path / "fifo"), b"stdout", log, lambda: 0)
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
    log = LogFile(str(tmp_path / "log"), 1_000_000, 3, lambda: 0)
    (tmp_path / "fifo").write_text("in the way")
    stream = Stream(str(tmp_path / "fifo"), b"stdout", log, lambda: 0)
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
