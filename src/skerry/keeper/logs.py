"""The output of workloads: read from FIFOs, stamped line by line, written to files that rotate.

Each log has two FIFOs beside its file, `<log>.out.fifo` and `<log>.err.fifo`. The workload has them open for
reading and writing, so it outlives the keeper without SIGPIPE and at most blocks while nobody reads; a new
keeper opens them by path. A line in the file has the CRI form, «2026-11-21T02:34:44.123456789Z stdout F text»;
`P` instead of `F` marks a piece of a line that goes on: the next line of the same stream is its next piece.
What workloads print is kept byte for byte but for what `masks` masks; of a long line, and of one that is
unfinished after about a second (a prompt, a progress bar), there are pieces.

What is in a FIFO survives the keeper. A SIGKILL loses what it has read and not written: of each stream the
last second of an unfinished line, and one chunk if it comes between the two calls.
"""

from __future__ import annotations

import os
import stat

from skerry.keeper.log_file import Later, LogFile, Now, stamp
from skerry.keeper.log_rules import LogRules
from skerry.keeper.masks import Masks

MAX_LINE = 16 * 1024
CHUNK = 64 * 1024
_DRAIN_CHUNKS = 32
"""At an exit, at most this many chunks are read: more than a pipe holds, and an end to a runaway's output."""

_PATIENCE_SECONDS = 1.0
"""For the end of an unfinished line."""


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


class Stream:
    """One FIFO: what it brought goes to the log by lines; an unfinished one after a while, as a piece."""

    def __init__(self, path: str, name: bytes, file: LogFile, now: Now, later: Later) -> None:
        self.path = path
        self.fd = open_fifo(path)
        self.masks = Masks(file.rules)
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
        # The rest once more: what it begins may be known for a secret only now.
        printed = self.masks.apply(self._rest + chunk)
        body, begun = self._without_begun(printed)
        lines, rest = cut_lines(body, head + b"F ", head + b"P ")
        self._rest = rest + begun
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
        end = whole_characters(self._without_begun(self._rest)[0])
        if end:
            self._file.append([self._head() + b"P " + self._rest[:end] + b"\n"])
            self._rest = self._rest[end:]
            self._is_continued = True

    def _without_begun(self, data: bytes) -> tuple[bytes, bytes]:
        """`data`, and what at its end may be half a secret: no piece of a line ends there."""
        size = self.masks.begun(data[data.rfind(b"\n") + 1 :])
        return (data[:-size], data[-size:]) if size else (data, b"")

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

    def __init__(self, path: str, rules: LogRules, now: Now, later: Later) -> None:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        self.file = LogFile(path, rules, now, later)
        self.users = 0
        out = Stream(f"{path}.out.fifo", b"stdout", self.file, now, later)
        try:
            err = Stream(f"{path}.err.fifo", b"stderr", self.file, now, later)
        except OSError:
            out.close(b"F")
            raise
        self.streams = (out, err)

    def obey(self, rules: LogRules) -> None:
        """From now on these rules hold for what is in the log and for what comes."""
        self.file.obey(rules)
        for stream in self.streams:
            stream.masks = Masks(rules)

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
