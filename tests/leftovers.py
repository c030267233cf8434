"""What a test has left behind: processes that name its directory, and file systems mounted in it."""

from __future__ import annotations

import time
from pathlib import Path

_PATIENCE = 30.0
"""Seconds that a killed process may take to disappear."""


def leftovers(directory: Path) -> list[str]:
    """One line for each that is still there after a while; empty when the test was tidy."""
    deadline = time.monotonic() + _PATIENCE
    while (found := _processes(directory) + _mounts(directory)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def _processes(directory: Path) -> list[str]:
    mark = str(directory).encode() + b"/"
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if words and (mark in words or mark in (entry / "environ").read_bytes()):
                found.append(f"process {entry.name}: {words.decode(errors='replace')}")
        except OSError:
            continue
    return found


def _mounts(directory: Path) -> list[str]:
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return [f"mount {line}" for line in mounts if f" {directory}/" in line]
