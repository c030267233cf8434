"""Room on the disk: what counts as what, when something has to go, and what goes first. Pure.

`accounting` measures, `eviction` lets go, `storage_watch` does both now and then; docs/reference/limits.md tells people.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import PurePath

import msgspec

from skerry.kit.clock import NS
from skerry.wire.local import Growth

HIGH = 0.95
"""Above this part of the limit the node lets go of what it may …"""

LOW = 0.90
"""… until it is below this one."""

SPARE = 12 * 1024 * 1024
"""On the disk itself, this much is to be free: what the reserve for records needs to be taken up again."""

_PARTS = {
    "backups": "backups",
    "files": "files",
    "logs": "logs",
    "models": "models",
    "tmp": "tmp",
    "workloads": "workloads",
}
DATABASE, RESERVE, SAMPLES, QUARANTINE, OTHER = (
    "database",
    "reserve",
    "samples",
    "quarantine",
    "other",
)
UNSENT, ACKNOWLEDGED, BACKED_UP = "records unsent", "records acknowledged", "records backed up"
CLASSES = (
    DATABASE, UNSENT, ACKNOWLEDGED, BACKED_UP, SAMPLES, RESERVE, "backups", "files", "logs", "models", "tmp", "workloads", QUARANTINE, OTHER,
)  # fmt: skip
IN_LANES = frozenset({UNSENT, ACKNOWLEDGED, BACKED_UP, SAMPLES})
"""What the record store counts by itself."""


STAYING = frozenset({DATABASE, UNSENT, "backups", "files", "logs", "workloads", QUARANTINE, OTHER})
"""What does not go by itself when room is needed, or not all of it."""

_TELLING = 1800 * NS
"""After so long one can say how fast the use grows."""


class Measured(msgspec.Struct, frozen=True):
    """Bytes on the disk by class, and of each workload's own directory."""

    classes: Mapping[str, int]
    workloads: Mapping[str, int]

    @property
    def total(self) -> int:
        """All of the data directory."""
        return sum(self.classes.values())

    @property
    def beside_records(self) -> int:
        """Without what the record store counts by itself."""
        counted = {*IN_LANES, RESERVE}
        return sum(size for name, size in self.classes.items() if name not in counted)


class RecordFile(msgspec.Struct, frozen=True):
    """A file of records of a lane: its last number, and how far the hub has the lane, and has it in a backup."""

    sample: bool
    last: int
    acknowledged: int
    backed_up: int


_DATABASE = re.compile(r"node\.db.*|[^/]+\.db(-wal|-shm)?")
"""`storage.path` may give the database another name."""


def class_of(path: PurePath, records: Mapping[PurePath, RecordFile]) -> str:
    """The class of a file by its path below the data directory."""
    if path.suffix == ".damaged" or ".damaged" in path.suffixes:
        return QUARANTINE
    found = records.get(path)
    if found is not None:
        return _class_of_records(found)
    first = path.parts[0]
    if first == "records":
        return RESERVE if path.name == "reserve" else UNSENT
    if _DATABASE.fullmatch(path.as_posix()):
        return DATABASE
    return _PARTS.get(first, OTHER)


def _class_of_records(file: RecordFile) -> str:
    if file.sample:
        return SAMPLES
    if file.last > file.acknowledged:
        return UNSENT
    return BACKED_UP if file.last <= file.backed_up else ACKNOWLEDGED


class Trend:
    """How the use grew within the last day: by points a quarter of an hour apart."""

    _EVERY = 900 * NS
    _POINTS = 97

    def __init__(self) -> None:
        self._points: deque[tuple[int, Mapping[str, int]]] = deque(maxlen=self._POINTS)

    def note(self, at: int, classes: Mapping[str, int]) -> None:
        """What was measured at `at`, in monotonic ns."""
        if not self._points or at - self._points[-1][0] >= self._EVERY:
            self._points.append((at, dict(classes)))

    def growth(self, at: int, classes: Mapping[str, int], left: int) -> Growth | None:
        """How it grew up to `at`; `left` bytes may still come. None: it was not looked at for long enough."""
        if not self._points or at - self._points[0][0] < _TELLING:
            return None
        began, before = self._points[0]
        days = (at - began) / (86_400 * NS)
        grown = {name: classes.get(name, 0) - before.get(name, 0) for name in {*classes, *before}}
        staying = sum(size for name, size in grown.items() if name in STAYING) / days
        by = max(sorted(grown), key=lambda name: grown[name])
        return Growth(
            (at - began) // NS,
            round(sum(grown.values()) / days),
            round(max(left, 0) / staying * 86_400) if staying > 0 else None,
            by if grown[by] > 0 else "",
        )


def to_evict(used: int, limit: int | None, free: int) -> int:
    """Bytes that should go, because the limit or the disk itself is nearly reached; 0: none."""
    above = 0 if limit is None or used <= limit * HIGH else used - int(limit * LOW)
    short = 2 * SPARE - free if free < SPARE else 0
    return max(above, short, 0)


def shares(wanted: int, evictable: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """How many bytes go from which stage: each gives all that it may before the next one gives anything."""
    found = []
    for stage, size in evictable:
        share = min(wanted, size)
        if share > 0:
            found.append((stage, share))
            wanted -= share
    return found
