"""Reading workloads' logs: implements `node.ports.LogSource` on the files that the keeper writes and rotates.

Layout: `<directory>/<workload>/current.log`, older ones `.1`, `.2`, …; each line in the CRI form that
`skerry.keeper.logs` describes. Whoever follows polls the file's size; nobody else costs anything.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Iterable
from io import FileIO
from pathlib import Path

from skerry.core.log_lines import Levels, parse_line, reaches
from skerry.core.names import name_fault
from skerry.kit.clock import Clock, iso
from skerry.kit.errors import NotFound
from skerry.wire.logs import LogQuery

CURRENT = "current.log"
_DEFAULT_LINES = 100
_CHUNK = 64 * 1024
_POLL_SECONDS = 0.15
_STAMP = len("2026-11-21T02:34:44.123456789Z")


class LogFiles:
    """Implements `LogSource`. `directory` holds one directory for each workload that has ever run here."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    def path(self, workload: str) -> Path:
        """Where the current log of a workload is, or will be."""
        return self._directory / workload / CURRENT

    def read(self, workload: str, query: LogQuery) -> AsyncIterator[str]:
        path = self.path(workload)
        if name_fault(workload) is not None or not path.parent.is_dir():
            raise NotFound(f"cannot read the log of workload «{workload}»: it has never run here")
        return self._lines(path, query)

    async def _lines(self, path: Path, query: LogQuery) -> AsyncIterator[str]:
        reader = _Reader(path)
        try:
            choice = _Choice(query)
            if query.since is None:
                for found in await _last(reader, choice):
                    yield found
            while (lines := reader.next_lines()) or query.follow:
                for line in lines:
                    if (text := choice.of(line)) is not None:
                        yield text
                await (asyncio.sleep(0) if lines else self._clock.sleep(_POLL_SECONDS))
        finally:
            reader.close()


async def _last(reader: _Reader, choice: _Choice) -> Iterable[str]:
    """The last of the lines that are there and wanted; the reader stands behind them, or before them if they are all wanted."""
    if choice.all:
        reader.keep_last(_DEFAULT_LINES)
        return ()
    found: deque[str] = deque(maxlen=_DEFAULT_LINES)
    while lines := reader.next_lines():
        found.extend(text for line in lines if (text := choice.of(line)) is not None)
        await asyncio.sleep(0)
    return found


class _Choice:
    """Which lines a query wants. A torn line has no time and no level of its own; it goes with the one before it."""

    def __init__(self, query: LogQuery) -> None:
        self.all = query.since is None and query.until is None and query.level is None
        self._since = b"" if query.since is None else iso(query.since).encode()
        self._until = b"" if query.until is None else iso(query.until).encode()
        self._level = query.level
        self._levels = Levels()
        self._wanted = query.since is None

    def of(self, line: bytes) -> str | None:
        """The line as text, if it is wanted."""
        whole = line[_STAMP - 1 : _STAMP] == b"Z"
        if whole:
            at = line[:_STAMP]
            self._wanted = at >= self._since and (not self._until or at < self._until)
        if not self._wanted:
            return None
        text = line.decode("utf-8", "backslashreplace")
        parsed = parse_line(text) if whole and self._level is not None else None
        if parsed is not None:
            self._wanted = reaches(self._levels.of(parsed), self._level)
        return text if self._wanted else None


class _Reader:
    """A position in a log that goes on through rotations: open files, oldest first, the first one being read.

    The position is always at the beginning of a line, because the keeper may take a torn one back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = open_files(path)

    def keep_last(self, count: int) -> None:
        """Moves to the last `count` lines."""
        for index in range(len(self._files) - 1, -1, -1):
            count -= _seek_last(self._files[index], count)
            if count <= 0:
                _close(self._files[:index])
                del self._files[:index]
                return

    def next_lines(self) -> list[bytes]:
        """Some of the next lines; none when there is no whole line left at present."""
        if not self._files:
            self._files = open_files(self._path)
        while self._files:
            lines = _whole_lines(self._files[0])
            if lines or not self._step():
                return lines
        return []

    def close(self) -> None:
        _close(self._files)
        self._files = []

    def _step(self) -> bool:
        """Leaves a file that has been read to its end, or finds the files that rotation has made since.

        In the second case the file is read once more: it may have grown before it was rotated.
        """
        if len(self._files) == 1:
            self._find_newer()
            return len(self._files) > 1
        self._files.pop(0).close()
        return True

    def _find_newer(self) -> None:
        inode = _inode(self._files[0])
        try:
            if self._path.stat().st_ino == inode:
                return
        except FileNotFoundError:
            return  # between the two steps of a rotation: nothing newer yet
        found = open_files(self._path)
        inodes = [_inode(file) for file in found]
        # Not among them: rotated away while we read; then everything there is newer.
        old = inodes.index(inode) + 1 if inode in inodes else 0
        _close(found[:old])
        self._files += found[old:]


def _whole_lines(file: FileIO) -> list[bytes]:
    chunk = file.read(_CHUNK) or b""
    lines = chunk.split(b"\n")
    rest = lines.pop()
    if len(rest) == _CHUNK:
        return [rest]  # longer than any line of the keeper's: garbage, passed on in pieces
    file.seek(-len(rest), os.SEEK_CUR)
    return lines


def open_files(path: Path) -> list[FileIO]:
    """The log's files, oldest first. Opened newest first, so that a rotation meanwhile hides none of them."""
    files: list[FileIO] = []
    number = 0
    while True:
        try:
            # Unbuffered: a buffer would keep what the keeper takes back.
            file = FileIO(path.with_name(f"{path.name}.{number}") if number else path)
        except FileNotFoundError:
            if number:
                return files
        else:
            if files and _inode(file) == _inode(files[0]):
                file.close()
            else:
                files.insert(0, file)
        number += 1


def _inode(file: FileIO) -> int:
    return os.fstat(file.fileno()).st_ino


def _seek_last(file: FileIO, count: int) -> int:
    """Moves to the last `count` lines of a file; returns how many lines it has from there on."""
    position = file.seek(0, os.SEEK_END)
    found = 0
    while position > 0:
        start = max(0, position - _CHUNK)
        file.seek(start)
        block = file.read(position - start)
        end = len(block)
        while (end := block.rfind(b"\n", 0, end)) >= 0:
            if found == count:
                file.seek(start + end + 1)
                return found
            found += 1
        position = start
    file.seek(0)
    return found


def last_place(files: list[FileIO]) -> tuple[int, int]:
    """Where the last lines of these files begin: which file, and the byte."""
    count = _DEFAULT_LINES
    for index in range(len(files) - 1, -1, -1):
        count -= _seek_last(files[index], count)
        if count <= 0:
            return index, files[index].tell()
    return 0, 0


def _close(files: list[FileIO]) -> None:
    for file in files:
        file.close()
