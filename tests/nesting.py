"""Directories in each other."""

from __future__ import annotations

import os
from pathlib import Path


def nest(place: Path, depth: int, file: str) -> None:
    """So many, with a file in the last: deeper than a path can name."""
    at = os.open(place, os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)
