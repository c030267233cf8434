"""The output of workloads: read from FIFOs, stamped line by line, written to files that rotate.

Each log has two FIFOs beside its file, `<log>.out.fifo` and `<log>.err.fifo`. The workload has them open for
reading and writing, so it outlives the keeper without SIGPIPE and at most blocks while nobody reads; a new
keeper opens them by path. A line in the file has the CRI form, «2026-11-21T02:34:44.123456789Z stdout F text»;
`P` instead of `F` marks a piece of a line that goes on: the next line of the same stream is its next piece.
What workloads print is kept byte for byte; of a long line, and of one that is unfinished after about a second
(a prompt, a progress bar), there are pieces.

What is in a FIFO survives the keeper. A SIGKILL loses what it has read and not written: of each stream the
last second of an unfinished line, and one chunk if it comes between the two calls.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable

MAX_LINE = 16 * 1024
CHUNK = 64 * 1024
_DRAIN_CHUNKS = 32
"""At an exit, at most this many chunks are read: more than a pipe holds, and an end to a runaway's output."""

_PATIENCE_SECONDS = 1.0
"""For the end of an unfinished line, and between two tries to write where the disk has refused lines."""

Now = Callable[[], int]
Later = Callable[[float, Callable[[], object]], object]


def stamp(now_ns: int) -> bytes:
    """`now_ns` (since 1970) as it begins a log line."""
    seconds, fraction = divmod(now_ns, 1_000_000_000)
    t = time.gmtime(seconds)
    return b"%04d-%02d-%02dT%02d:%02d:%02d.%09dZ" % (*t[:6], fraction)


def cut_lines(
    data: bytes, whole: bytes, part: bytes, limit: int = MAX_LINE
) -> tuple[list[bytes], bytes]:
    """Log lines for every line that ends in `data`, and the rest (at most `limit` bytes).

    `whole` and `part` begin the log lines; a line of more than `limit` bytes becomes several.
    """
    lines = data.split(b"\n")
    rest = lines.pop()
    out: list[bytes] = []
    for line in lines:
        end = _cut_pieces(line, part, limit, out) if len(line) > limit else line
        out.append(whole + end + b"\n")
    if len(rest) > limit:
        rest = _cut_pieces(rest, part, limit, out)
    return out, rest


def _cut_pieces(line: bytes, part: bytes, limit: int, out: list[bytes]) -> bytes:
    while len(line) > limit:
        end = whole_characters(line[:limit])
        out.append(part + line[:end] + b"\n")
        line = line[end:]
    return line


def whole_characters(data: bytes) -> int:
    """How much of `data` comes before a UTF-8 sequence that it breaks off; all of what is no UTF-8."""
    for back, byte in enumerate(reversed(data[-3:]), start=1):
        if byte & 0xC0 != 0x80:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if byte >= 0xC0 and length > back else len(data)
    return len(data)


def fitting(lines: list[bytes], size: int, limit: int) -> int:
    """How many of `lines` go into a file that has `size` bytes before it has more than `limit`."""
    if size + sum(map(len, lines)) <= limit:
        return len(lines)
    for count, line in enumerate(lines):
        size += len(line)
        if size > limit:
            return count
    return len(lines)


def rotation(path: str, files: int) -> list[tuple[str, str]]:
    """The renames, in order, after which `path` is free and at most `files` - 1 older files remain."""
    names = [path, *(f"{path}.{number}" for number in range(1, files))]
    return list(zip(reversed(names[:-1]), reversed(names[1:]), strict=True))


class LogFile:
    """Appends lines to `path`. While the disk refuses them, lines are counted and dropped, never kept waiting."""

    def __init__(self, path: str, size: int, files: int, now: Now, later: Later) -> None:
        self.path = path
        self.limit = size
        self.files = files
        self.dropped = 0
        self._now = now
        self._later = later
        self._retrying = False
        self._fd = -1
        self._size = 0
        self._reason = ""

    def append(self, lines: list[bytes]) -> None:
        """Writes or drops all of `lines`, rotating where the file is full."""
        if self.dropped and not self._say_dropped():
            self.dropped += len(lines)
            return
        while lines:
            try:
                count = self._append_some(lines)
            except OSError as error:
                self._refused(error)
                self.dropped += len(lines)
                return
            lines = lines[count:]

    def close(self) -> None:
        """Says how many lines are missing, if there is room, and gives the descriptor back; no line may follow."""
        if self.dropped:
            self._say_dropped()
            self.dropped = 0
        self._close()

    def _say_dropped(self) -> bool:
        """Tries to write how many lines are missing here; False while there is still no room."""
        notice = b"%b stderr F skerry: %d lines dropped here: %b\n" % (
            stamp(self._now()),
            self.dropped,
            self._reason.encode(),
        )
        try:
            self._append_some([notice])
        except OSError as error:
            self._refused(error)
            return False
        self.dropped = 0
        return True

    def _refused(self, error: OSError) -> None:
        self._reason = error.strerror or ""
        self._close()
        if not self._retrying:
            self._retrying = True
            self._later(_PATIENCE_SECONDS, self._retry)

    def _retry(self) -> None:
        self._retrying = False
        if self.dropped:
            self._say_dropped()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append_some(self, lines: list[bytes]) -> int:
        if self._fd < 0:
            self._open()
        count = fitting(lines, self._size, self.limit)
        if not count:
            if self._size:
                self._rotate()
            count = max(1, fitting(lines, 0, self.limit))
        data = b"".join(lines[:count])
        written = os.write(self._fd, data)
        if written < len(data):
            # The disk filled up inside this write. A torn line would look like what the workload printed.
            count = fitting(lines[:count], 0, written)
            written = len(b"".join(lines[:count]))
            os.ftruncate(self._fd, self._size + written)
            if not count:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written
        return count

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o600)
        self._size = os.fstat(self._fd).st_size
        # A keeper or a device that died while writing leaves a torn line; the next one must not join it.
        if self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
            self._size += os.write(self._fd, b"\n")

    def _rotate(self) -> None:
        self._close()
        if self.files <= 1:
            os.unlink(self.path)
        for old, new in rotation(self.path, self.files):
            if os.path.exists(old):
                os.rename(old, new)
        surplus = max(self.files, 1)
        while os.path.exists(f"{self.path}.{surplus}"):
            os.unlink(f"{self.path}.{surplus}")
            surplus += 1
        self._open()


class Stream:
    """One FIFO: what it brought goes to the log by lines; an unfinished one after a while, as a piece."""

    def __init__(self, path: str, name: bytes, file: LogFile, now: Now, later: Later) -> None:
        self.path = path
        self.fd = open_fifo(path)
        self._name = name
        self._file = file
        self._now = now
        self._later = later
        self._rest = b""
        self._is_continued = False
        """The log's last line of this stream is a piece."""
        self._is_awaited = False
        """A timer runs for an unfinished line …"""
        self._is_new = False
        """… which has begun after it was set."""

    def read(self) -> bool:
        """Moves at most one chunk to the log; False when the FIFO is empty."""
        if self.fd < 0:
            return False
        try:
            chunk = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return False
        head = self._head()
        lines, self._rest = cut_lines(self._rest + chunk, head + b"F ", head + b"P ")
        if lines:
            self._file.append(lines)
            self._is_continued = self._is_continued and b"\n" not in chunk
            self._is_new = True
        if self._rest and not self._is_awaited:
            self._await_end()
        return True

    def _await_end(self) -> None:
        self._is_awaited, self._is_new = True, False
        self._later(_PATIENCE_SECONDS, self._write_unfinished)

    def _write_unfinished(self) -> None:
        self._is_awaited = False
        if self._rest and self._is_new:
            self._await_end()
            return
        end = whole_characters(self._rest)
        if end:
            self._file.append([self._head() + b"P " + self._rest[:end] + b"\n"])
            self._rest = self._rest[end:]
            self._is_continued = True

    def _head(self) -> bytes:
        return b"%b %b " % (stamp(self._now()), self._name)

    def drain(self) -> None:
        """Moves everything that an ended workload has left."""
        for _ in range(_DRAIN_CHUNKS):
            if not self.read():
                return

    def close(self, tag: bytes) -> None:
        """Ends an unfinished line: `F` when nothing follows, `P` when another keeper goes on."""
        if self._rest or (self._is_continued and tag == b"F"):
            self._file.append([self._head() + tag + b" " + self._rest + b"\n"])
            self._rest, self._is_continued = b"", False
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Output:
    """The log of the instances that share it, as a rule one. Raises OSError when a FIFO cannot be made."""

    def __init__(self, path: str, size: int, files: int, now: Now, later: Later) -> None:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        self.file = LogFile(path, size, files, now, later)
        self.users = 0
        out = Stream(f"{path}.out.fifo", b"stdout", self.file, now, later)
        try:
            err = Stream(f"{path}.err.fifo", b"stderr", self.file, now, later)
        except OSError:
            out.close(b"F")
            raise
        self.streams = (out, err)

    def drain(self) -> None:
        """Moves everything that ended workloads have left."""
        for stream in self.streams:
            stream.drain()

    def close(self, tag: bytes) -> None:
        """Writes unfinished lines with `tag` and gives the descriptors back."""
        for stream in self.streams:
            stream.close(tag)
        self.file.close()


def open_fifo(path: str) -> int:
    """A non-blocking descriptor of the FIFO at `path`, which is made if need be.

    It is open for writing too: a FIFO without writers would report «hung up» for ever.
    """
    try:
        if not stat.S_ISFIFO(os.lstat(path).st_mode):
            os.unlink(path)
            os.mkfifo(path, 0o600)
    except FileNotFoundError:
        os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
