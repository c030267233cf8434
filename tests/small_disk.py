"""A file system with little room, mounted for one test, and ways to use it up."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

BLOCK = 4096


@contextlib.contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[Path]:
    """`directory` as a disk of its own. Skips the test where nobody may mount."""
    directory.mkdir(mode=0o700)
    options = f"size={megabytes}m,mode=700"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a file system is not permitted")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(directory: Path) -> Path:
    """Takes every free block; returns the file to remove in order to give them back."""
    hog = directory / "hog"
    with hog.open("ab", buffering=0) as file:
        while free_bytes(directory):  # who lives there may give something back meanwhile
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(BLOCK))
    return hog


def free_bytes(directory: Path) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
