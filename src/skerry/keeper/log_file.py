"""One log on disk: lines are appended, files rotate by size, number and age. Written by one process at a time.

`logs` brings the lines of native workloads in the keeper, `runtimes.containers.output` those of containers in the
agent; both let it age by their own timers, so nobody else touches the files of a log that is being written.
Those of a log that nobody writes are the agent's (`node.workloads.log_ageing`).
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable

from skerry.keeper.log_rules import LogRules

_PATIENCE_SECONDS = 1.0
"""Between two tries to write where the disk has refused lines."""

_LONGEST_SLEEP = 3600.0
"""Seconds after which a log looks at its age again whatever it had expected: the device's clock may be set."""

_STAMP = 30
_NS = 1_000_000_000

Now = Callable[[], int]
Later = Callable[[float, Callable[[], object]], object]


def stamp(now_ns: int) -> bytes:
    """`now_ns` (since 1970) as it begins a log line."""
    seconds, fraction = divmod(now_ns, 1_000_000_000)
    t = time.gmtime(seconds)
    return b"%04d-%02d-%02dT%02d:%02d:%02d.%09dZ" % (*t[:6], fraction)


def moment(stamped: bytes) -> int | None:
    """The time (ns since 1970) with which a log line begins; None when it does not begin so."""
    digits = stamped[:29].translate(None, b"-T:.")
    if stamped[29:30] != b"Z" or len(digits) != 23 or not digits.isdigit():
        return None
    year, month, day = int(digits[:4]), int(digits[4:6]), int(digits[6:8])
    years = year - (month < 3)  # years begin in March, so that the leap day is the last one
    days = 365 * years + years // 4 - years // 100 + years // 400
    days += (153 * ((month + 9) % 12) + 2) // 5 + day - 719469
    seconds = 86400 * days + 3600 * int(digits[8:10]) + 60 * int(digits[10:12]) + int(digits[12:14])
    return seconds * _NS + int(digits[14:])


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

    def __init__(self, path: str, rules: LogRules, now: Now, later: Later) -> None:
        self.path = path
        self.rules = rules
        self.dropped = 0
        self._now = now
        self._later = later
        self._retrying = False
        self._fd = -1
        self._size = 0
        self._reason = ""
        self._ageing = False
        self._closed = False

    def obey(self, rules: LogRules) -> None:
        """From now on these rules hold, also while nothing is appended."""
        self.rules = rules
        if rules.age is not None and not self._ageing:
            self._age()

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
        self._closed = True
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
        count = fitting(lines, self._size, self.rules.size)
        if not count:
            if self._size:
                self._rotate()
            count = max(1, fitting(lines, 0, self.rules.size))
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
        files = self.rules.files
        if files <= 1:
            os.unlink(self.path)
        for old, new in rotation(self.path, files):
            if os.path.exists(old):
                os.rename(old, new)
        surplus = max(files, 1)
        while os.path.exists(f"{self.path}.{surplus}"):
            os.unlink(f"{self.path}.{surplus}")
            surplus += 1
        self._open()

    def _age(self) -> None:
        """Lets what is too old go, and comes back when something else will be."""
        self._ageing = False
        age = self.rules.age
        if self._closed or age is None:
            return
        span = int(age * _NS)
        oldest = self._now() - span
        try:
            first = first_time(self.path)
            if first is not None and first < oldest:
                self._rotate()
                first = None
            kept = remove_older(self.path, oldest)
        except OSError:
            first = kept = None  # the disk refuses; what is due stays due
        times = [at for at in (first, kept) if at is not None]
        due = (min(times) - oldest) / _NS if times else age
        self._ageing = True
        self._later(min(max(due, _PATIENCE_SECONDS), _LONGEST_SLEEP), self._age)


def first_time(path: str) -> int | None:
    """When the first line of a log file was written (ns since 1970); None without one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        begin = os.pread(fd, _STAMP, 0)
        return (moment(begin) or os.fstat(fd).st_mtime_ns) if begin else None
    finally:
        os.close(fd)


def remove_older(path: str, oldest: int) -> int | None:
    """Removes the rotated files whose last line is older than `oldest` (ns); returns the age of the oldest that stays.

    The oldest goes first, so that the numbers that stay have no hole.
    """
    count = 0
    while os.path.exists(f"{path}.{count + 1}"):
        count += 1
    for number in range(count, 0, -1):
        written = os.stat(f"{path}.{number}").st_mtime_ns
        if written >= oldest:
            return written
        os.unlink(f"{path}.{number}")
    return None
