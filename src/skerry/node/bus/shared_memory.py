"""Zenoh's shared memory that publishers have left behind: killed ones do not remove their files, and memory fills."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - Zenoh's place
_YOUNG = 30.0
"""Seconds in which a publisher may not have locked what it has made."""

log = logging.getLogger(__name__)


def sweep(now: float, memory: Path = MEMORY) -> list[str]:
    """Removes those that nobody uses; returns their names. `now` is in seconds since 1970.

    Whoever uses one, in a container or not, holds a lock on its file, which ends with the process.
    """
    return [path.name for path in sorted(memory.glob("*.zenoh")) if _remove(path, now)]


def _remove(path: Path, now: float) -> bool:
    """Not what may not be opened: it is another user's."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if now - os.fstat(file).st_mtime <= _YOUNG:
            return False
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except BlockingIOError:
        return False
    except OSError as error:
        log.warning("cannot remove %s, which nobody uses: %s", path, error.strerror)
        return False
    finally:
        os.close(file)
    return True
