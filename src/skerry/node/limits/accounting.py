"""Measures a data directory: one walk over its files, in a thread."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath

from skerry.node.limits.storage import Measured, RecordFile, class_of

_BLOCK = 512


def measure(data_dir: Path, records: Mapping[PurePath, RecordFile]) -> Measured:
    """What the disk holds of it now, in whole blocks. What vanishes meanwhile, and other file systems, are left out.

    `records` are the record files by their path below the directory.
    """
    classes: Counter[str] = Counter()
    workloads: Counter[str] = Counter()
    seen: set[int] = set()
    for path, status in _files(str(data_dir)):
        if status.st_nlink > 1:
            if status.st_ino in seen:
                continue
            seen.add(status.st_ino)
        size = status.st_blocks * _BLOCK
        below = PurePath(path).relative_to(data_dir)
        classes[class_of(below, records)] += size
        if len(below.parts) > 1 and below.parts[0] == "workloads":
            # The last block of a file is not held against its workload: a file may be as large as its limit.
            workloads[below.parts[1]] += min(size, status.st_size)
    return Measured(dict(classes), dict(workloads))


def _files(top: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every file below `top` that is on its file system."""
    device = os.stat(top).st_dev  # noqa: PTH116 - a Path for each of many files would cost more than the walk
    directories = [top]
    while directories:
        try:
            with os.scandir(directories.pop()) as entries:
                for entry in entries:
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    if status.st_dev != device:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        directories.append(entry.path)
                    else:
                        yield entry.path, status
        except OSError:
            continue
