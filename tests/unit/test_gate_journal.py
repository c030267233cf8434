"""The gate's journal: what was written is read, whole or not at all, once and in order; within its bound."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.gate import journal
from skerry.gate.journal import GAP, HEADER, KEPT, Entry, Journal, NoRoom, files, read

SESSION = bytes(range(16))


def ticks() -> Callable[[], int]:
    return count(1000).__next__


def new(directory: Path, limit: int = 2**25, session: bytes = SESSION) -> Journal:
    return Journal(str(directory), session, limit, (ticks(), ticks()))


def everything(directory: Path, after: int = 0) -> list[Entry]:
    return [
        entry
        for session, k in files(str(directory))
        for entry, _ in read(f"{directory}/{session}-{k}", after)
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path


entries = st.lists(
    st.tuples(
        st.integers(0, 15),
        st.integers(0, 65535),
        st.text(st.characters(codec="utf-8"), max_size=40),
        st.binary(max_size=200) | st.just(b"x" * 700_000) | st.just(b"y" * 1_500_000),
    ),
    max_size=6,
)


@given(written=entries)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[int, int, str, bytes]]
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    writer = new(directory)
    assert [writer.append(*entry) for entry in written] == list(range(1, len(written) + 1))
    got = everything(directory)
    assert [(e.flags, e.token, e.topic, e.payload) for e in got] == written
    assert [entry.n for entry in got] == list(range(1, len(written) + 1))
    assert [entry.wall_ns for entry in got] == list(range(1000, 1000 + len(written)))
    writer.close()


def test_a_file_that_goes_while_it_is_counted_counts_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        earlier = new(path, session=bytes([number]) * 16)
        earlier.append(0, 1, "t", b"x" * 1000)
        earlier.close()
    gone = path / f"{bytes(16).hex()}-0"
    real = os.scandir

    @contextmanager
    def scandir(directory: str) -> Iterator[list["os.DirEntry[str]"]]:
        with real(directory) as found:
            entries = list(found)
        gone.unlink()  # as the agent does
        yield entries

    monkeypatch.setattr(os, "scandir", scandir)
    assert new(path, 8_000).is_roomy_for(1)


def test_without_descriptors_there_is_no_room(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = new(path, session=bytes(16))
    earlier.append(0, 1, "t", b"x" * 5_000)
    earlier.close()
    writer = new(path, 8_000)

    def scandir(directory: str) -> None:
        raise OSError(errno.EMFILE, "too many open files", directory)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", scandir)
        with pytest.raises(NoRoom):
            writer.append(KEPT, 1, "t", b"y" * 5_000)
    (path / f"{bytes(16).hex()}-0").unlink()
    assert writer.append(KEPT, 1, "t", b"y" * 5_000) == 1


def test_every_cut_and_every_wrong_byte_ends_the_file_before(path: Path) -> None:
    writer = new(path)
    for number in range(3):
        writer.append(KEPT, 1, "t", b"payload %d" % number)
    writer.close()
    file = path / f"{SESSION.hex()}-0"
    whole = file.read_bytes()
    ends = [HEADER, *(end for _, end in read(str(file), 0))]
    for cut in range(len(whole)):
        file.write_bytes(whole[:cut])
        assert [e.n for e in everything(path)] == [n for n in (1, 2, 3) if ends[n] <= cut]
    for at in range(HEADER, len(whole)):
        file.write_bytes(whole[:at] + bytes((whole[at] ^ 0xFF,)) + whole[at + 1 :])
        assert [e.n for e in everything(path)] == [n for n in (1, 2, 3) if ends[n] <= at]


def test_a_reader_goes_on_where_it_stopped(path: Path) -> None:
    writer = new(path)
    writer.append(0, 1, "t", b"1")
    file = f"{path}/{SESSION.hex()}-0"
    ((first, offset),) = read(file, 0)
    assert first.n == 1
    assert list(read(file, 0, offset)) == []
    writer.append(0, 1, "t", b"2")
    assert [entry.n for entry, _ in read(file, 0, offset)] == [2]
    assert [entry.n for entry, _ in read(file, 1)] == [2]


def test_something_else_is_no_journal(path: Path) -> None:
    (path / "x").write_bytes(b"something else")
    with pytest.raises(ValueError, match="no file of a journal"):
        list(read(str(path / "x"), 0))


def test_files_go_when_all_of_them_is_stored(path: Path) -> None:
    writer = new(path)
    for _ in range(5):
        writer.append(0, 1, "t", b"x" * 400_000)
    assert [k for _, k in files(str(path))] == [0, 1, 2]
    writer.discard(3)
    assert [entry.n for entry in everything(path)] == [3, 4, 5]
    writer.discard(4)
    assert [entry.n for entry in everything(path)] == [5]
    writer.discard(99)
    assert writer.stored == 5
    writer.append(0, 1, "t", b"x" * 400_000)
    writer.append(0, 1, "t", b"x" * 600_000)
    writer.discard(7)
    assert files(str(path)) == []
    assert writer.append(0, 1, "t", b"") == 8
    assert [entry.n for entry in everything(path)] == [8]


def test_beyond_the_bound_nothing_is_written_until_there_is_room(path: Path) -> None:
    writer = new(path, limit=2_000_000)
    taken = [fill(writer, token) for token in range(1, 400)]
    with pytest.raises(NoRoom):
        writer.append(0, 999, "t", b"x" * 2_000)
    assert 1_990_000 < sum(file.stat().st_size for file in path.iterdir()) <= 2_000_000
    writer.discard(writer.last)
    assert writer.append(0, 1, "t", b"x" * 100_000) == sum(taken) + 1


def fill(writer: Journal, token: int) -> int:
    """How many entries of 2 kB have room."""
    for written in count():
        try:
            writer.append(0, token, "t", b"x" * 2_000)
        except NoRoom:
            return written
    raise AssertionError


def test_a_token_that_floods_leaves_a_third_to_the_others(path: Path) -> None:
    writer = new(path, limit=3_000_000)
    size = 2_000 + 38
    taken = [fill(writer, token) * size for token in (1, 2, 3)]
    for bytes_taken, share in zip(taken, (2_000_000, 666_667, 222_223), strict=True):
        assert share - 4 * size < bytes_taken <= share
    writer.append(0, 4, "t", b"x" * 2_000)
    writer.append(GAP, 1, "t", b"7")  # of a token whose share is full
    assert not writer.is_roomy_for(1)
    assert [entry.n for entry in everything(path)] == list(range(1, writer.last + 1))


def test_what_is_stored_is_no_more_of_a_tokens_share(path: Path) -> None:
    writer = new(path, limit=3_000_000)
    written = fill(writer, 1)
    assert not writer.is_roomy_for(1)
    writer.discard(written)
    assert writer.is_roomy_for(1)
    assert fill(writer, 1) > 0.9 * written  # a file goes as a whole


def test_what_earlier_runs_have_left_counts_until_the_agent_has_removed_it(path: Path) -> None:
    earlier = new(path)
    for _ in range(4):
        earlier.append(0, 1, "t", b"x" * 400_000)
    earlier.close()
    writer = new(path, limit=2_000_000, session=bytes(16))
    assert writer.append(0, 1, "t", b"x" * 200_000) == 1
    with pytest.raises(NoRoom):
        writer.append(0, 1, "t", b"x" * 400_000)
    for file in path.glob(f"{SESSION.hex()}-*"):
        file.unlink()
    assert writer.append(0, 1, "t", b"x" * 400_000) == 2
    assert {session for session, _ in files(str(path))} == {bytes(16).hex()}


def test_a_full_device_leaves_no_half_entry(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = new(path)
    writer.append(0, 1, "t", b"first")
    real = os.writev
    left = [30]

    def full(fd: int, buffers: list[bytes]) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        data = b"".join(bytes(buffer) for buffer in buffers)[: left[0]]
        left[0] -= len(data)
        return os.write(fd, data)

    monkeypatch.setattr(journal.os, "writev", full)
    with pytest.raises(NoRoom):
        writer.append(0, 1, "t", b"second")
    monkeypatch.setattr(journal.os, "writev", real)
    assert writer.append(0, 1, "t", b"third") == 2
    assert [entry.payload for entry in everything(path)] == [b"first", b"third"]
