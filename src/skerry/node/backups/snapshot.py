"""What a node consists of at one moment, taken beside the running agent without stopping it.

Segment and file contents are pinned by hard links, which cost nothing; the database is copied by SQLite itself. The
order makes it one story: first the records, then the database that knows of at least all of them, then the files that
it says are not sent. What vanishes between two of these the hub has.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from skerry.kit.archive.format import Member
from skerry.kit.archive.writing import of_bytes, of_file
from skerry.kit.sqlite_connections import classify, connect
from skerry.node.identity import IDENTITY_FILE
from skerry.node.store.lane_recovery import HEAD_FILE

Holds = Literal["everything", "database"]

DATABASE = "node.db"
KEYS = "keys"
SETTINGS = "settings.json"
RECORDS = "records"
FILES = "files"

_KEPT = (IDENTITY_FILE, "node.yaml", "containers.json", "containers.used")
"""Small files beside the database; those that are there."""


class Snapshot(msgspec.Struct, frozen=True):
    """A moment, as files below `directory`, which whoever took it removes. `small` are contents by their name.

    `records` has the bytes of each that count: a segment may grow meanwhile, by what the database does not know.
    """

    directory: Path
    schema: int
    small: Mapping[str, bytes]
    records: Mapping[str, int]
    files: list[str]

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        files = [(self.directory / name).stat().st_size for name in (DATABASE, *self.files)]
        return sum(map(len, self.small.values())) + sum(files) + sum(self.records.values())

    def members(self) -> Iterator[Member]:
        """For an archive."""
        for name, content in self.small.items():
            yield of_bytes(name, content)
        for name in (DATABASE, *self.files):
            yield of_file(name, self.directory / name)
        for name, size in self.records.items():
            yield of_file(name, self.directory / name, size)


def take(data_dir: Path, database: Path, into: Path, holds: Holds) -> Snapshot:
    """Takes a snapshot below `into`, on the same file system. Raises Corrupt when the database is damaged, OSError."""
    into.mkdir(mode=0o700, parents=True)
    small = {name: (data_dir / name).read_bytes() for name in _KEPT if (data_dir / name).is_file()}
    segments: dict[str, dict[str, int]] = {}
    if holds == "everything":
        small |= _heads(data_dir)
        segments = _link_segments(data_dir, into)
    schema, acknowledged, unsent = _copy_database(database, into / DATABASE)
    files = _link_files(data_dir, into, unsent) if holds == "everything" else []
    records = {
        name: sizes[name]
        for lane, sizes in segments.items()
        for name in _not_acknowledged(list(sizes), acknowledged.get(lane, 0))
    }
    return Snapshot(into, schema, small, records, files)


def _heads(data_dir: Path) -> dict[str, bytes]:
    """Of sealed lanes, as the last clean stop left them; before the segments, which are never behind them then."""
    found = {}
    for lane in _lanes(data_dir):
        with contextlib.suppress(FileNotFoundError):
            found[f"{RECORDS}/{lane.name}/{HEAD_FILE}"] = (lane / HEAD_FILE).read_bytes()
    return found


def _lanes(data_dir: Path) -> list[Path]:
    root = data_dir / RECORDS
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _link_segments(data_dir: Path, into: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for lane in _lanes(data_dir):
        for path in sorted(lane.glob("[0-9]" * 20 + ".seg")):
            name = f"{RECORDS}/{lane.name}/{path.name}"
            if _pin(path, into / name):
                found.setdefault(lane.name, {})[name] = (into / name).stat().st_size
    return found


def _not_acknowledged(names: list[str], through: int) -> list[str]:
    """Those with a record behind `through`; the last one too, because it carries numbers and sessions on."""
    firsts = [int(Path(name).stem) for name in names]
    return [
        name
        for name, following in zip(names, [*firsts[1:], None], strict=True)
        if following is None or following - 1 > through
    ]


def _copy_database(source: Path, target: Path) -> tuple[int, dict[str, int], list[str]]:
    """The copy is consistent, has no free pages, and was read whole; also its schema, acknowledgements, files to send."""
    target.touch(mode=0o600)
    try:
        with contextlib.closing(connect(source, read_only=True)) as db:
            db.execute("VACUUM INTO ?", (str(target),))
        with contextlib.closing(sqlite3.connect(target)) as copy:
            schema = int(copy.execute("PRAGMA user_version").fetchone()[0])
            lanes = dict(copy.execute("SELECT lane, acknowledged FROM lane"))
            unsent = copy.execute("SELECT sha256 FROM file WHERE sent_at IS NULL")
            return schema, lanes, [row[0] for row in unsent]
    except sqlite3.Error as error:
        raise classify(error, source) from error


def _link_files(data_dir: Path, into: Path, unsent: list[str]) -> list[str]:
    names = (f"{FILES}/{sha256[:2]}/{sha256[2:]}" for sha256 in unsent)
    return [name for name in names if _pin(data_dir / name, into / name)]


def _pin(path: Path, target: Path) -> bool:
    """Keeps what `path` is now under another name, by a copy where the file system has no links. False: it is gone."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except FileNotFoundError:
        return False
    except OSError:
        shutil.copyfile(path, target)
    return True
