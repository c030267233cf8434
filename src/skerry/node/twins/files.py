"""The files of twins in the configuration directory, `<uuid>.json`: each is one file for good, because containers have it mounted.

What stands in them is `edits`' affair. Names that are no twin's (`credentials.json` and its like) cannot be asked for here.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import msgspec

from skerry.core.cyberwave.names import is_uuid
from skerry.kit.disk import Disk
from skerry.kit.errors import InvalidInput, Refused

MAX_FILE = 4 * 1024 * 1024
"""Bytes that are read of a file: four times what a row may have."""

MOST_PARTS = 50_000
"""Objects and lists in a file, each of which takes thirty times its length in the agent's memory."""

_ENDING = ".json"

Stamp = tuple[int, int, int]
"""Which file it is (inode), its size, and when it was written (ns): another one, where something was."""


class Seen(msgspec.Struct, frozen=True):
    """A file as it was read."""

    text: bytes
    stamp: Stamp


class TwinFiles:
    """Those in `directory`."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self.directory = directory
        self._disk = disk

    def path(self, uuid: str) -> Path:
        """Where the twin's file is. Raises InvalidInput for what is no twin's UUID."""
        if not is_uuid(uuid):
            raise InvalidInput(
                f"cannot use the file of twin «{uuid[:40]}»: that is no UUID, in lower case and with dashes"
            )
        return self.directory / f"{uuid}{_ENDING}"

    def known(self) -> list[str]:
        """The twins that have a file there, whoever made it."""
        with contextlib.suppress(FileNotFoundError):
            names = (path.name.removesuffix(_ENDING) for path in self.directory.glob(f"*{_ENDING}"))
            return sorted(filter(is_uuid, names))
        return []

    def stamp(self, uuid: str) -> Stamp | None:
        """None: there is no file, or a directory in its place."""
        try:
            found = self.path(uuid).lstat()
        except FileNotFoundError:
            return None
        return None if stat.S_ISDIR(found.st_mode) else _stamp(found)

    def read(self, uuid: str) -> Seen | None:
        """The file as it is now; None as of `stamp`. Raises Refused for what is no file, or too large a one, in words that follow its path; OSError."""
        path = self.path(uuid)
        if self.stamp(uuid) is None:
            return None
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            if path.is_symlink():
                raise Refused("it is a link, which is not followed. Remove it") from error
            raise
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise Refused("it is no file. Remove it")
            text = file.read(MAX_FILE + 1)
        if len(text) > MAX_FILE:
            raise Refused(f"it has more than {MAX_FILE} bytes. Make it shorter")
        if text.count(b"{") + text.count(b"[") > MOST_PARTS:
            raise Refused(f"it has more than {MOST_PARTS} objects and lists. Make it shorter")
        return Seen(text, _stamp(found))

    def write(self, uuid: str, text: bytes, over: Stamp | None) -> bool:
        """Gives the file this text, in place; False: it is no longer the one that is named by `over`, so nothing is done.

        Docker makes a directory of what it is to mount and does not find: an empty one makes way. Raises OSError.
        """
        path = self.path(uuid)
        if self.stamp(uuid) != over:
            return False
        if over is None:
            with contextlib.suppress(FileNotFoundError):
                path.rmdir()
            self._disk.write_atomic("twin.write", path, text)
            return True
        _make_private(path)
        self._disk.rewrite("twin.rewrite", path, text, MAX_FILE)
        return True

    def remove(self, uuid: str) -> None:
        """Removes the file; a missing one is fine."""
        self._disk.unlink("twin.remove", self.path(uuid))


def _make_private(path: Path) -> None:
    """Only of the file itself: a driver may put a link in its place at any moment."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_mode & 0o077:
            os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_size, found.st_mtime_ns
