"""Directories in each other, deeper than a path can name, or than whoever walks them has descriptors and calls for.

Programs make them by mistake or on purpose. What is to go anyway is brought up first; no link is followed.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

DEEPEST = 12
"""With names of any length a path of so many fits into what Linux takes."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def flatten(place: Path) -> None:
    """Brings up into `place` what lies deeper in it, under names of its own, as far as that may be moved."""
    with contextlib.suppress(OSError):  # it is none, or may not be read: whoever walks it says so
        top = os.open(place, _DIRECTORY)
        try:
            names = _directories(top)
            for name in names:  # which grows meanwhile
                _look_in(name, top, names, top, 1)
        finally:
            os.close(top)


def _look_in(name: str, at: int, names: list[str], top: int, depth: int) -> None:
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=at)
    except OSError:
        return
    try:
        if os.fstat(fd).st_dev != os.fstat(top).st_dev:
            return
        for below in _directories(fd):
            if depth < DEEPEST:
                _look_in(below, fd, names, top, depth + 1)
            else:
                _bring_up(below, fd, names, top)
    finally:
        os.close(fd)


def _bring_up(name: str, at: int, names: list[str], top: int) -> None:
    with contextlib.suppress(OSError):  # it stays, and whoever walks it says so
        new = f"deep-{os.stat(name, dir_fd=at, follow_symlinks=False).st_ino}"
        os.rename(name, new, src_dir_fd=at, dst_dir_fd=top)
        names.append(new)


def _directories(fd: int) -> list[str]:
    with os.scandir(fd) as found:
        return [one.name for one in found if one.is_dir(follow_symlinks=False)]
