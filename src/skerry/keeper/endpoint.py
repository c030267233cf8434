"""Where agents find the keeper: a socket in the data directory, and the lock that one keeper for each holds.

The keeper's working directory is the data directory. So it goes along when that is renamed, and an agent can tell
by /proc which directory a keeper belongs to that has lost its socket (`runtimes.other_keepers`).
"""

from __future__ import annotations

import fcntl
import os
import socket

_BACKLOG = 128
_DELETED = " (deleted)"


class Endpoint:
    """The socket at `path`, which is `<data directory>/<directory>/<name>`."""

    def __init__(self, path: str) -> None:
        directory, name = os.path.split(os.path.abspath(path))
        self._root, directory = os.path.split(directory)
        self._path = os.path.join(directory, name)
        self._lock = -1
        self._bound: tuple[int, int] | None = None

    def open(self) -> socket.socket | None:
        """A listening socket in place of whatever is there; None when another keeper holds the lock. Raises OSError."""
        os.chdir(self._root)
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        # First: closing any descriptor of a file gives up all of this process's locks on it.
        self._unlock()
        lock = _take_lock(f"{self._path}.lock")
        if lock is None:
            return None
        self._lock = lock
        listener = _listen(self._path)
        self._bound = _identity(self._path)
        return listener

    def is_lost(self) -> bool:
        """Whether the path leads elsewhere than to us. From then on `open` takes the directory where it is now."""
        try:
            self._root = os.getcwd()
        except FileNotFoundError:
            self._root = os.readlink("/proc/self/cwd").removesuffix(_DELETED)
            return True
        return _identity(self._path) != self._bound

    def is_homeless(self) -> bool:
        """Whether the data directory is gone, so that no agent of it can come any more."""
        try:
            os.getcwd()
        except FileNotFoundError:
            return True
        return False

    def close(self) -> None:
        """Makes room for another keeper."""
        if not self.is_lost():
            _unlink(self._path)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _take_lock(path: str) -> int | None:
    """A record lock: forked children do not inherit it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def _listen(path: str) -> socket.socket:
    # What a dead keeper left behind is in the way; the lock says that it is dead.
    _unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    os.chmod(path, 0o600)
    listener.listen(_BACKLOG)
    listener.settimeout(0)
    return listener


def _identity(path: str) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return stat.st_dev, stat.st_ino


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
