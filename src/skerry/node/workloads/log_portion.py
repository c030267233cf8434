"""Reading a log on from a remembered place, bounded, across rotations: the half of `log_shipping` that reads files.

A file is known by its first line, which has the nanosecond of its writing: by that it is found again after it was
rotated, after a restart, and in a copy of the data directory.
"""

from __future__ import annotations

import hashlib
import os
from io import FileIO
from pathlib import Path

import msgspec

from skerry.node.workloads.logs import last_place, open_files

_FIRST_LINE = 200
_CHUNK = 64 * 1024
"""More than any line has."""


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Just before the byte `offset` of the file whose name for ever is `file`, 32 hexadecimal digits."""

    file: str
    offset: int


class Found(msgspec.Struct, frozen=True):
    """A line and where it begins."""

    place: Place
    line: bytes


class Portion(msgspec.Struct, frozen=True):
    """Lines in order, the place behind them, and how many bytes the log has from there on.

    `lost`: the file of the place that was asked for is there no more.
    """

    lines: list[Found]
    end: Place | None
    behind: int
    lost: bool = False


class Leap(msgspec.Struct, frozen=True):
    """A part of a log was passed over: how many lines, the first one's place, and the place behind them."""

    lines: int
    start: Place
    end: Place


class _Files:
    """The files of a log that hold something, oldest first, open."""

    def __init__(self, workload: str, path: Path) -> None:
        self._all = open_files(path)
        self.open = [file for file in self._all if _size(file)]
        self.names = [_name(workload, file) for file in self.open]
        self.sizes = [_size(file) for file in self.open]

    def close(self) -> None:
        for file in self._all:
            file.close()

    def find(self, place: Place) -> int | None:
        """Where the place's file is, if the place is in it."""
        for index, name in enumerate(self.names):
            if name == place.file and place.offset <= self.sizes[index]:
                return index
        return None

    def behind(self, index: int, offset: int) -> int:
        """Bytes from this place on."""
        return sum(self.sizes[index:]) - offset


def read_on(workload: str, path: Path, place: Place | None, most: int) -> Portion:
    """At most about `most` bytes of whole lines from `place`; without one, from the last hundred lines on."""
    files = _Files(workload, path)
    try:
        return _read(files, place, most) if files.open else Portion([], place, 0)
    finally:
        files.close()


def leap(workload: str, path: Path, place: Place, left: int) -> Leap | None:
    """Passes over lines until about `left` bytes are behind; None when `place` is not there or nothing needs passing."""
    files = _Files(workload, path)
    try:
        index = files.find(place)
        if index is None:
            return None
        count, offset = 0, place.offset
        while files.behind(index, offset) > left:
            chunk = os.pread(files.open[index].fileno(), _CHUNK, offset)
            end = chunk.rfind(b"\n") + 1
            if end:
                count += chunk.count(b"\n", 0, end)
                offset += end
            elif index + 1 < len(files.open):
                index, offset = index + 1, 0
            else:
                break
        return Leap(count, place, Place(files.names[index], offset)) if count else None
    finally:
        files.close()


def _read(files: _Files, place: Place | None, most: int) -> Portion:
    index, offset, lost = _start(files, place)
    lines: list[Found] = []
    while most > 0:
        chunk = os.pread(files.open[index].fileno(), _CHUNK, offset)
        end = chunk.rfind(b"\n") + 1
        if end:
            most -= end
            for line in chunk[: end - 1].split(b"\n"):
                lines.append(Found(Place(files.names[index], offset), line))
                offset += len(line) + 1
        elif index + 1 < len(files.open):
            index, offset = index + 1, 0
        else:
            break
    return Portion(lines, Place(files.names[index], offset), files.behind(index, offset), lost)


def _start(files: _Files, place: Place | None) -> tuple[int, int, bool]:
    if place is None:
        return *last_place(files.open), False
    found = files.find(place)
    return (0, 0, True) if found is None else (found, place.offset, False)


def _size(file: FileIO) -> int:
    return os.fstat(file.fileno()).st_size


def _name(workload: str, file: FileIO) -> str:
    begin = os.pread(file.fileno(), _FIRST_LINE, 0).partition(b"\n")[0]
    return hashlib.blake2b(b"%b\n%b" % (workload.encode(), begin), digest_size=16).hexdigest()
