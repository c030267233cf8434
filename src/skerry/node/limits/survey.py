"""A look at each part of a data directory, for people: what it holds, how much, since when, and why. Loaded when asked for.

`accounting` measures the same directory by classes for the limit; this goes into more detail and counts directories, too,
so that the sum is what `du` says. Everything but `survey` is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath

import msgspec

from skerry.kit.clock import NS
from skerry.kit.units import format_duration, format_size
from skerry.node.limits.storage import (
    ACKNOWLEDGED,
    BACKED_UP,
    DATABASE,
    OTHER,
    QUARANTINE,
    RESERVE,
    SAMPLES,
    UNSENT,
    RecordFile,
    class_of,
)
from skerry.node.limits.walking import BLOCK, entries
from skerry.wire.files import FilesWaiting
from skerry.wire.local import LinkStatus
from skerry.wire.models import CachedModel
from skerry.wire.storage import StorageLine

_NAMED = frozenset({"logs", "workloads"})
"""Classes whose directories are named after workloads."""

_IN_LANES = frozenset({UNSENT, ACKNOWLEDGED, BACKED_UP, SAMPLES})

Part = tuple[str, str]
"""A class of `limits.storage`, and what of it: a lane, a workload; «» where there is only one."""


class Use(msgspec.Struct):
    """What the disk holds of a part. `oldest`: when its oldest file was last written, in ns since 1970; of records, the oldest one's time."""

    bytes: int = 0
    count: int = 0
    oldest: int | None = None


class Pages(msgspec.Struct, frozen=True):
    """A database from inside, in bytes: the file, the part of it that is free, and its log (WAL)."""

    file: int
    free: int
    log: int


class Reasons(msgspec.Struct, frozen=True):
    """What says why things are kept. `acknowledged`: for how long what the hub has is."""

    now: int
    link: LinkStatus
    database: Pages
    keep_limit: int
    sample_limit: int
    models: list[CachedModel]
    files: FilesWaiting | None
    workloads: frozenset[str]
    acknowledged: str


def survey(data_dir: Path, records: Mapping[PurePath, RecordFile]) -> dict[Part, Use]:
    """What the disk holds of each part now, in whole blocks, directories included; what vanishes meanwhile is left out."""
    found: dict[Part, Use] = {}
    for path, status, is_directory in entries(str(data_dir)):
        below = PurePath(path).relative_to(data_dir)
        use = found.setdefault(_part(below, records, is_directory=is_directory), Use())
        use.bytes += status.st_blocks * BLOCK
        if not is_directory:
            use.count += 1
            use.oldest = min(use.oldest or status.st_mtime_ns, status.st_mtime_ns)
    return found


def _part(path: PurePath, records: Mapping[PurePath, RecordFile], *, is_directory: bool) -> Part:
    parts = path.parts
    if not parts:
        return OTHER, ""
    if is_directory and (parts[0] == "records" or len(parts) == 1):
        return OTHER, ""
    name = class_of(path / "x" if is_directory else path, records)
    if name in _IN_LANES:
        return name, parts[1] if len(parts) > 2 else ""
    if name in _NAMED:
        return name, parts[1] if len(parts) > 1 else ""
    return name, ""


def lines(found: Mapping[Part, Use], why: Reasons) -> list[StorageLine]:
    """One line for each part, the largest first."""
    made = [line for part, use in found.items() for line in _lines(part, use, why)]
    return sorted(made, key=lambda line: (-line.bytes, line.what))


def _lines(part: Part, use: Use, why: Reasons) -> Iterator[StorageLine]:
    name, detail = part
    if name == DATABASE:
        yield from _database(use, why)
        return
    what = (
        f"records {detail}, {_STATES[name]}" if name in _IN_LANES else f"{name} {detail}".rstrip()
    )
    yield StorageLine(what, use.bytes, use.count, _reason(part, why), use.oldest)


_STATES = {
    UNSENT: "not at the hub",
    ACKNOWLEDGED: "at the hub",
    BACKED_UP: "at the hub and in its backup",
    SAMPLES: "samples",
}


def _database(use: Use, why: Reasons) -> Iterator[StorageLine]:
    """The file's blocks divided by what SQLite says of its pages; the rest, its index and copies, counts as tables."""
    pages = why.database
    free, log = min(pages.free, use.bytes), min(pages.log, use.bytes)
    yield StorageLine(
        "database tables", use.bytes - free - log, use.count,
        "desired state, statuses, what goes to the hub, the sync log",
    )  # fmt: skip
    yield StorageLine(
        "database free pages", free, 0, "room held for a full disk; what is above it is given back in steps"
    )  # fmt: skip
    yield StorageLine("database log (WAL)", log, 1, "written over and over; held for a full disk")


def _reason(part: Part, why: Reasons) -> str:
    name, detail = part
    if name in _FIXED:
        return _FIXED[name]
    found: dict[str, Callable[[], str]] = {
        UNSENT: lambda: _of_unsent(why),
        ACKNOWLEDGED: lambda: why.acknowledged,
        SAMPLES: lambda: (
            f"the oldest go above {format_size(why.sample_limit)}, each gap is a record"
        ),
        "files": lambda: _of_files(why.files),
        "models": lambda: _of_models(why.models),
        "logs": lambda: f"output of {detail}, rotated as its spec says",
        "workloads": lambda: _of_directory(detail, why.workloads),
    }
    return found[name]() if name in found else ""


def _of_unsent(why: Reasons) -> str:
    if why.link.state == "standalone":
        return f"this node has no hub; at {format_size(why.keep_limit)} publishing is refused"
    if why.link.state == "offline":
        since = format_duration((why.now - why.link.since) / NS)
        return f"not acknowledged by the hub, not reached for {since}"
    return "written to at present, or not acknowledged by the hub yet"


def _of_directory(workload: str, here: frozenset[str]) -> str:
    if workload not in here:
        return "of a workload that is not here any more: its owner removes it"
    return f"pinned by workload {workload}: its own directory"


_FIXED = {
    BACKED_UP: "goes with the next pass, or by a rule",
    RESERVE: "held for events about lost records; given up on a full disk",
    QUARANTINE: "damaged, set aside: waits for a person (skerry doctor)",
    "tmp": "goes first when room is needed",
    "backups": "copies of the database, rotated; the newest stays",
    OTHER: "identity, keys, sockets, directories",
}


def _of_files(waiting: FilesWaiting | None) -> str:
    if waiting is None or not waiting.count:
        return "the hub has them; they go when room is needed"
    return f"{waiting.count} not at the hub yet ({format_size(waiting.size)}); the others go when room is needed"


def _of_models(models: list[CachedModel]) -> str:
    pinned = sorted({user for model in models for user in model.used_by})
    if not pinned:
        return "no workload needs them: they go when room is needed"
    return f"pinned by workload {', '.join(pinned)}"
