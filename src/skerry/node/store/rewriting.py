"""Sealing finished segment files again, beside the running lanes, while everybody goes on reading them.

A file is written anew under another name and then takes the old one's place in the commit thread. The records and
their numbers, the frames and the chain stay what they were; only what is sealed is sealed anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt, Transient
from skerry.kit.units import format_size
from skerry.node.store.frame_cipher import FrameCipher
from skerry.node.store.lane_recovery import rewriting
from skerry.node.store.segments import HEADER, Frame, Hole, Segment, Whole, scan

T = TypeVar("T")

_AT_ONCE = 512 * 1024
"""Bytes that are synced together: what is published meanwhile waits for so many at most."""


class Rewritten(msgspec.Struct, frozen=True):
    """A whole file that waits beside `segment`'s. `size` is its own, in bytes."""

    segment: Segment
    size: int


def rewrite(
    segment: Segment, cipher: FrameCipher, disk: Disk, breathe: Callable[[], None], spare: int
) -> Rewritten | None:
    """Writes a finished file anew, durably, unless all of it is sealed as it would be now: then None.

    `breathe` is called after each frame, so that publishers need not wait for a whole file. Raises Corrupt when something
    in it does not open, FileNotFoundError when it was dropped, Transient when less than `spare` bytes would be left to
    publishers, and OSError: then nothing of it is left.
    """
    items = list(_breathing(scan(segment.path.read_bytes()), breathe))
    if cipher.are_current(items):
        return None
    pieces = list(_breathing(_sealed_anew(items, cipher), breathe))
    header = _header(items, segment, sum(map(len, pieces)), cipher)
    path = rewriting(segment.path)
    disk.unlink("segment.rewrite-begin", path)
    _leave_room(segment, len(header) + sum(map(len, pieces)) + spare, disk)
    try:
        _write(path, [header, *pieces], disk, breathe)
    except OSError:
        disk.unlink("segment.rewrite-failed", path)
        raise
    return Rewritten(segment, path.stat().st_size)


def _leave_room(segment: Segment, wanted: int, disk: Disk) -> None:
    if disk.free_bytes(segment.path.parent) < wanted:
        raise Transient(
            f"cannot seal {segment.path} anew: the disk has no room for a second copy. It follows once "
            f"{format_size(wanted)} are free."
        )


def _breathing(work: Iterable[T], breathe: Callable[[], None]) -> Iterator[T]:
    for step in work:
        yield step
        breathe()


def _sealed_anew(items: list[Frame | Hole], cipher: FrameCipher) -> Iterator[bytes]:
    for item in items:
        if isinstance(item, Hole):
            raise Corrupt("bytes without a frame")
        if item.mark == HEADER:
            continue
        plain = cipher.opened(item).payload
        yield cipher.frame(item.mark, item.first, item.count, item.previous, plain)


def _header(items: list[Frame | Hole], segment: Segment, size: int, cipher: FrameCipher) -> bytes:
    first = items[0] if items else None
    header = cipher.read_header(first) if isinstance(first, Frame) else None
    if header is None:
        raise Corrupt("no header")
    whole = Whole(size, segment.times)
    return cipher.header(
        msgspec.structs.replace(header, whole=whole), segment.first, segment.previous
    )


def _write(path: Path, pieces: list[bytes], disk: Disk, breathe: Callable[[], None]) -> None:
    fd = disk.open_append("segment.rewrite-open", path)
    try:
        waiting: list[bytes] = []
        for piece in pieces:
            waiting.append(piece)
            if sum(map(len, waiting)) >= _AT_ONCE:
                disk.append("segment.rewrite", fd, b"".join(waiting))
                disk.sync("segment.rewrite-some", fd)
                waiting = []
                breathe()
        disk.append("segment.rewrite", fd, b"".join(waiting))
        disk.sync("segment.rewrite-sync", fd)
    finally:
        os.close(fd)
