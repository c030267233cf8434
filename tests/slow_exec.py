"""A program whose start takes for as long as a test wants."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def slow_exec(directory: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """A `sleep` that nobody executes until it is let go: the kernel has execve() wait for the lease on its file, 45 s at most."""
    program = directory / "slow"
    shutil.copy("/bin/sleep", program)
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # somebody wants the file
    held = os.open(program, os.O_RDONLY)
    fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    try:
        yield str(program), lambda: fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    finally:
        os.close(held)
        signal.signal(signal.SIGIO, before)
