"""Reading files that people wrote: bounded, UTF-8, with errors in one sentence."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import BinaryIO

from skerry.kit.errors import InvalidInput
from skerry.kit.units import format_size

MAX_BYTES = 1 << 20

_LINK = "is a link, which is not followed: put the file there"
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
"""With Linux's O_PATH one that may be passed, whether or not it may be listed."""


def read_text(path: Path) -> str:
    """The text of `path`. Raises InvalidInput when it cannot be read, is over 1 MiB or is no UTF-8."""
    try:
        with path.open("rb") as file:
            return read_stream(file, str(path))
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error


def read_unlinked(
    path: Path,
    most: int = MAX_BYTES,
    opened: Callable[[int, os.stat_result], None] = lambda *_: None,
) -> bytes:
    """What is in a file that others than its reader may have put there: no link is followed, and no pipe waited for.

    `opened` may change the file before. Raises InvalidInput, whose words are to follow the file's name, and OSError.
    """
    try:
        fd = os.open(path, _FILE)
    except OSError:
        if path.is_symlink():
            raise InvalidInput(_LINK) from None
        raise
    return _content(fd, most, opened)


def read_below(root: Path, path: PurePath, most: int = MAX_BYTES) -> bytes:
    """As `read_unlinked`, the file `path` in `root`: no link is followed below `root`, whenever somebody puts one there."""
    at = os.open(root, _DIRECTORY)
    try:
        for name in path.parts[:-1]:
            following = _open_in(at, name, _DIRECTORY | os.O_NOFOLLOW)
            os.close(at)
            at = following
        fd = _open_in(at, path.name, _FILE)
    finally:
        os.close(at)
    return _content(fd, most)


def _open_in(directory: int, name: str, flags: int) -> int:
    try:
        return os.open(name, flags, dir_fd=directory)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR} and _is_link(directory, name):
            raise InvalidInput(_LINK) from None
        raise


def _is_link(directory: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _content(
    fd: int, most: int, opened: Callable[[int, os.stat_result], None] = lambda *_: None
) -> bytes:
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise InvalidInput("is no file")
        opened(fd, found)
        data = file.read(most + 1)
    if len(data) > most:
        raise InvalidInput(f"has more than {most} bytes")
    return data


def read_stream(file: BinaryIO, name: str) -> str:
    """As `read_text`, from an open file or pipe; at most one byte too many is taken from it."""
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        size = file.seek(0, os.SEEK_END) if file.seekable() else 0  # 0 of an endless device, too
        has = f"{format_size(size)} is" if size else "it has"
        raise InvalidInput(f"cannot read {name}: {has} more than a file may have (1 MiB)")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidInput(
            f"cannot read {name}: line {line} is not UTF-8 text. Is the file binary?"
        ) from error
