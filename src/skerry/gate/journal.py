"""What clients have published, in files in memory, until the agent has stored it.

A file is `<session>-<k>`: «SKJ1», 16 bytes of session, then entries in the order of their `n`, which begins at 1 in each
session and leaves no number out. An entry is its length and CRC-32 (4 bytes each, of what follows), and

    n 8  wall clock in ns 8  monotonic clock in ns 8  flags 1  token's number 2  length of the topic 2  topic  payload

All numbers are little-endian. What is cut off or does not match its checksum ends a file: nothing whole comes after it,
because the gate that was killed over it has written no more to that file.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator

from skerry.gate.records import NamedTuple

MAGIC = b"SKJ1"
HEADER = len(MAGIC) + 16
QOS = 3
DUP = 4
KEPT = 8
GAP = 16
HELD = 32
"""The flags of an entry: its QoS, whether the client sent it again, whether every message of the topic counts. With GAP
it stands for messages that there was no room for; its payload is their number. With HELD they were left out because the
agent had the gate hold who publishes them."""

SHARE = 2
"""What a token's entries may take: so many times what they leave free. So one that floods has two thirds of the journal,
two of them have two fifths each, and whoever comes next finds room, too (the dynamic thresholds of shared buffers)."""

_FILE_SIZE = 1024 * 1024
_HEAD = struct.Struct("<II")
_FIXED = struct.Struct("<QQQBHH")


class Entry(NamedTuple):
    """One message as it was taken."""

    n: int
    wall_ns: int
    monotonic_ns: int
    flags: int
    token: int
    topic: str
    payload: bytes


class NoRoom(Exception):
    """The journal, or the token's share of it, is as large as it may be, or the device's memory is full."""


class _File(NamedTuple):
    k: int
    last: int
    size: int
    held: dict[int, int]


class Journal:
    """The journal of this run of the gate, in `directory`; at most `limit` bytes with what earlier runs have left there."""

    def __init__(
        self,
        directory: str,
        session: bytes,
        limit: int,
        clocks: tuple[Callable[[], int], Callable[[], int]],
    ) -> None:
        self.session = session.hex()
        self.last = 0
        """The `n` of the newest entry."""
        self.stored = 0
        """Up to here the agent has everything."""
        self._directory = directory
        self._header = MAGIC + session
        self._limit = limit
        self._file_size = min(_FILE_SIZE, limit // 8)
        self._wall_ns, self._monotonic_ns = clocks
        self._files: deque[_File] = deque()
        self._held: Counter[int] = Counter()
        self._held_here: Counter[int] = Counter()
        self._k = 0
        self._fd = -1
        self._written = 0
        self._ours = 0
        self._earlier = self._size_of_earlier()

    def is_roomy_for(self, token: int) -> bool:
        """Whether a token has room for more than a few: half of its share, and an eighth of the journal."""
        free = self._limit - self._total()
        return free > self._limit // 8 and self._held[token] <= free * SHARE // 2

    def append(self, flags: int, token: int, topic: str, payload: bytes | memoryview) -> int:
        """Writes an entry and returns its `n`. Raises NoRoom; then nothing is written.

        What stands for others has room wherever there is any: it is told also of a token whose share is full.
        """
        name = topic.encode()
        size = _HEAD.size + _FIXED.size + len(name) + len(payload)
        n = self.last + 1
        fixed = _FIXED.pack(n, self._wall_ns(), self._monotonic_ns(), flags, token, len(name))
        crc = zlib.crc32(payload, zlib.crc32(name, zlib.crc32(fixed)))
        head = _HEAD.pack(size - _HEAD.size, crc)
        try:
            if not self._has_room(size, None if flags & GAP else token):
                raise NoRoom
            if self._fd < 0 or self._written + size > self._file_size:
                self._next_file()
            self._write(size, head + fixed + name, payload)
        except (OSError, MemoryError) as error:
            raise NoRoom from error
        self.last = n
        self._held[token] += size
        self._held_here[token] += size
        return n

    def discard(self, n: int) -> None:
        """The agent has stored everything up to `n`."""
        self.stored = max(self.stored, min(n, self.last))
        while self._files and self._files[0].last <= self.stored:
            file = self._files.popleft()
            _unlink(self._path(file.k))
            self._ours -= file.size
            self._held -= Counter(file.held)  # who holds nothing any more has no entry
        if self._fd >= 0 and self.stored == self.last and self._written > self._file_size // 2:
            self._retire()
            self.discard(n)

    def close(self) -> None:
        """Leaves the files to the agent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _has_room(self, size: int, token: int | None) -> bool:
        if self._fits(size, token):
            return True
        # The agent removes what earlier runs have left without a word to us.
        self._earlier = self._size_of_earlier() if self._earlier else 0
        return self._fits(size, token)

    def _fits(self, size: int, token: int | None) -> bool:
        left = self._limit - self._total() - size
        return left >= 0 and (token is None or self._held[token] + size <= SHARE * left)

    def _total(self) -> int:
        return self._ours + self._written + self._earlier

    def _size_of_earlier(self) -> int:
        total = 0
        with os.scandir(self._directory) as found:
            for file in found:
                if not file.name.startswith(self.session):
                    with contextlib.suppress(FileNotFoundError):  # the agent has just removed it
                        total += file.stat(follow_symlinks=False).st_size
        return total

    def _path(self, k: int) -> str:
        return f"{self._directory}/{self.session}-{k}"

    def _next_file(self) -> None:
        if self._fd >= 0:
            self._retire()
        path = self._path(self._k)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, self._header)
        except OSError:
            os.close(fd)
            os.unlink(path)
            raise
        self._fd = fd
        self._written = HEADER

    def _retire(self) -> None:
        """The file is written to its end; it goes when the agent has what is in it."""
        os.close(self._fd)
        self._fd = -1
        self._files.append(_File(self._k, self.last, self._written, dict(self._held_here)))
        self._held_here.clear()
        self._ours += self._written
        self._written = 0
        self._k += 1

    def _write(self, size: int, head: bytes, payload: bytes | memoryview) -> None:
        at = self._written
        done = 0
        try:
            done = os.writev(self._fd, [head, payload])
            while done < size:
                rest = (
                    (head[done:], payload) if done < len(head) else (payload[done - len(head) :],)
                )
                done += os.writev(self._fd, rest)
        except (OSError, MemoryError):
            os.ftruncate(self._fd, at)
            os.lseek(self._fd, at, os.SEEK_SET)
            raise
        self._written = at + size


def read(path: str, after: int, offset: int = HEADER) -> Iterator[tuple[Entry, int]]:
    """The whole entries of a file with `n` beyond `after`, from `offset`; each with the offset at which it ends.

    It ends where nothing whole follows (yet). Raises OSError; ValueError for a file that is none of a journal.
    """
    with open(path, "rb") as file:
        if not MAGIC.startswith(magic := file.read(len(MAGIC))):
            raise ValueError(f"{path} is no file of a journal")
        if magic != MAGIC:
            return  # the gate was killed before it had written even that
        file.seek(offset)
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            size, crc = _HEAD.unpack(head)
            if size < _FIXED.size or size > os.fstat(file.fileno()).st_size - offset - _HEAD.size:
                return
            body = file.read(size)
            if len(body) < size or zlib.crc32(body) != crc:
                return
            offset += _HEAD.size + size
            entry = _entry(body)
            if entry.n > after:
                yield entry, offset


def files(directory: str) -> list[tuple[str, int]]:
    """Session and k of each file there, those of one session together and in order."""
    found = []
    for name in os.listdir(directory):
        session, dash, k = name.partition("-")
        if dash and k.isdecimal() and len(session) == 32:
            found.append((session, int(k)))
    return sorted(found)


def _entry(body: bytes) -> Entry:
    n, wall_ns, monotonic_ns, flags, token, length = _FIXED.unpack_from(body)
    payload_at = _FIXED.size + length
    topic = body[_FIXED.size : payload_at].decode()
    return Entry(n, wall_ns, monotonic_ns, flags, token, topic, body[payload_at:])


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
