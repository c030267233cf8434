"""Measures a data directory: one walk over its files, in a thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePath

from skerry.node.limits.storage import Measured, RecordFile, class_of
from skerry.node.limits.walking import BLOCK, entries


def measure(data_dir: Path, records: Mapping[PurePath, RecordFile]) -> Measured:
    """What the disk holds of it now, in whole blocks. What vanishes meanwhile, and other file systems, are left out.

    `records` are the record files by their path below the directory.
    """
    classes: Counter[str] = Counter()
    workloads: Counter[str] = Counter()
    for path, status, is_directory in entries(str(data_dir)):
        if is_directory:
            continue
        size = status.st_blocks * BLOCK
        below = PurePath(path).relative_to(data_dir)
        classes[class_of(below, records)] += size
        if len(below.parts) > 1 and below.parts[0] == "workloads":
            # The last block of a file is not held against its workload: a file may be as large as its limit.
            workloads[below.parts[1]] += min(size, status.st_size)
    return Measured(dict(classes), dict(workloads))
