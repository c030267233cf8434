"""What a restore leaves behind: records in what was set aside that neither the hub has nor what took its place.

Read from the files' frames, which tell their numbers without any key. Neighbour: `restoring`, which tells people.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from skerry.kit.errors import Corrupt, Transient
from skerry.kit.sqlite_connections import connect
from skerry.node.backups.snapshot import RECORDS
from skerry.node.store.segments import examine


def left_behind(aside: Path, database: Path, instead: Path | None) -> int:
    """How many records of `aside`, whose database is `database`, are at no hub, as far as that knows.

    `instead` is the data directory that has some of them again; None: it is another node's.
    """
    acknowledged = _acknowledged(database)
    again = {} if instead is None else _heads(instead)
    return sum(
        max(head - max(acknowledged.get(lane, 0), again.get(lane, 0)), 0)
        for lane, head in _heads(aside).items()
    )


def _acknowledged(database: Path) -> dict[str, int]:
    """Nothing, where the database is damaged or gone: then all may be missing."""
    if not database.exists():
        return {}
    try:
        with contextlib.closing(connect(database, read_only=True)) as db:
            return {row[0]: row[1] for row in db.execute("SELECT lane, acknowledged FROM lane")}
    except (Corrupt, Transient, sqlite3.Error):
        return {}


def _heads(directory: Path) -> dict[str, int]:
    """The last number of each lane."""
    lanes = [path for path in (directory / RECORDS).glob("*") if path.is_dir()]
    last = {lane.name: max(lane.glob("*.seg"), default=None) for lane in lanes}
    return {lane: _reach(path) for lane, path in last.items() if path is not None}


def _reach(path: Path) -> int:
    return examine(path.read_bytes(), int(path.stem), None).reach
