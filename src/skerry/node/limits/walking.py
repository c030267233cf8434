"""The walk over a data directory, in a thread: `accounting` measures by it, `survey` describes by it."""

from __future__ import annotations

import os
from collections.abc import Iterator

BLOCK = 512
"""Bytes of what `stat` counts blocks in."""

Entry = tuple[str, os.stat_result, bool]
"""A path, its status, and whether it is a directory."""


def entries(top: str) -> Iterator[Entry]:
    """Everything on the file system of `top`, itself included; what vanishes meanwhile is left out.

    A file with several names is there once, by the one that is met first.
    """
    status = os.stat(top)  # noqa: PTH116 - a Path for each of many files would cost more than the walk
    device = status.st_dev
    yield top, status, True
    seen: set[int] = set()
    directories = [top]
    while directories:
        for path, status, is_directory in _directly_in(directories.pop()):
            if status.st_dev != device:
                continue
            if is_directory:
                directories.append(path)
            elif status.st_nlink > 1:
                if status.st_ino in seen:
                    continue
                seen.add(status.st_ino)
            yield path, status, is_directory


def _directly_in(directory: str) -> Iterator[Entry]:
    try:
        with os.scandir(directory) as found:
            for entry in found:
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                yield entry.path, status, entry.is_dir(follow_symlinks=False)
    except OSError:
        return
