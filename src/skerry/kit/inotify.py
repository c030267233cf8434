"""Linux's inotify, by the C library: what has happened in directories waits in a descriptor, with no thread and no polling."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable
from pathlib import Path

MODIFY, ATTRIB, MOVED_FROM, MOVED_TO = 0x2, 0x4, 0x40, 0x80
CREATE, DELETE, DELETE_SELF, MOVE_SELF = 0x100, 0x200, 0x400, 0x800
IGNORED = 0x8000
"""The kernel does not watch one of the directories any more: it is gone."""

_CHANGES = (
    MODIFY | ATTRIB | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF
)  # fmt: skip
_EVENT = struct.Struct("iIII")
"""Watch, mask, cookie, length of the name that follows."""

_AT_ONCE = 64 * 1024
_USED_UP = {
    errno.EMFILE: "fs.inotify.max_user_instances is used up: raise it",
    errno.ENOSPC: "fs.inotify.max_user_watches is used up: raise it",
}


class Inotify:
    """Changes of these directories and of what is directly in them, from now on. `close` when done."""

    def __init__(self, directories: Iterable[Path]) -> None:
        """One that may not be read is left out. Raises OSError."""
        import ctypes  # noqa: PLC0415 - 0.7 MB, and most nodes watch nothing

        libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise _error(ctypes.get_errno())
        for directory in directories:
            if libc.inotify_add_watch(self.fd, os.fsencode(directory), _CHANGES) < 0:
                number = ctypes.get_errno()
                if number != errno.EACCES:
                    self.close()
                    raise _error(number, directory)

    def read(self) -> int:
        """The bits of all events since the last call; 0: there was none."""
        found = 0
        try:
            while events := os.read(self.fd, _AT_ONCE):
                found |= _bits(events)
        except BlockingIOError:
            return found
        return found

    def close(self) -> None:
        """Ends all watches."""
        os.close(self.fd)


def _bits(events: bytes) -> int:
    found = offset = 0
    while offset < len(events):
        _, mask, _, length = _EVENT.unpack_from(events, offset)
        found |= mask
        offset += _EVENT.size + length
    return found


def _error(number: int, directory: Path | None = None) -> OSError:
    words = _USED_UP.get(number, os.strerror(number))
    return OSError(number, words, *([] if directory is None else [str(directory)]))
