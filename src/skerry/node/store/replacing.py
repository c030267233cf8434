"""A damaged database makes way for one from a backup, or an empty one. Loaded only where that has happened.

    NAME.rebuilding     why, and what the damaged file will be called: written before anything is touched
    NAME.rebuilt        what will take its place, made whole first, with all that is known besides (`rebuilding`)
    NAME.TIME.damaged   the damaged file, set aside as the last step but one, and what lay beside it

Cut off anywhere, by a kill, the power or a full disk, the next start goes on with it: everything is made again until
the damaged file has gone aside, and once the other one is in its place, only the note is left to be removed.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import Refused, Transient
from skerry.kit.sealing.cipher import Cipher
from skerry.kit.sqlite import migrate
from skerry.kit.sqlite_connections import Driver, connect
from skerry.node.store.rebuilding import REBUILDING, Rebuilt, Recovered, note_rebuilt, take_in
from skerry.node.store.started import Started
from skerry.wire.codec import decode, encode

DAMAGED = ".damaged"
BESIDE = ("-wal", "-shm", "-journal")
"""What belongs to a database's file and goes with it: SQLite would roll a former one's log into the next."""

_NEW = ".rebuilt"
_MOST_ASIDE = 10
"""Damaged databases that are kept: the first one, from before all that followed, and the newest."""

log = logging.getLogger(__name__)


class _Unfinished(msgspec.Struct, frozen=True):
    """The note about a rebuild: `aside` is the damaged file's name to be, `there` whether there is one."""

    cause: str
    aside: str
    there: bool


class Replacing(msgspec.Struct, frozen=True):
    """The database at `path`, and what it takes to make another one; `recover` puts a backup's at another path."""

    path: Path
    disk: Disk
    clock: Clock
    cipher: Cipher
    scripts: list[str]
    driver: Driver
    recover: Callable[[Path], Recovered | None]
    started: Started


def replaced(job: Replacing, cause: str) -> Rebuilt | None:
    """Replaces the database because of `cause`, or goes on with what was cut off (None: it had been done).

    Raises Refused when it cannot be done now: nothing is lost by then, and the next start tries again.
    """
    note = _beside(job.path, REBUILDING)
    try:
        found = _unfinished(note)
        rebuilt = None
        if found is None or not _is_done(job.path, found):
            rebuilt = _replaced(job, found or _begun(job, note, cause))
        job.disk.unlink("store.rebuild-end", note)
        job.disk.sync_directory("store.rebuild-ended", note.parent)
    except (OSError, Transient, sqlite3.Error) as error:
        raise Refused(
            f"cannot rebuild {job.path}, which is damaged: {error}. Nothing is lost; start the node again when that is mended."
        ) from error
    return rebuilt


def damaged_ones(database: Path) -> list[tuple[int, Path]]:
    """The files that were set aside and when (wall ns), the first one first."""
    paths = database.parent.glob(f"{database.name}.*{DAMAGED}")
    times = ((path.name[len(database.name) + 1 : -len(DAMAGED)], path) for path in paths)
    return sorted((int(time), path) for time, path in times if time.isdecimal())


def _unfinished(note: Path) -> _Unfinished | None:
    return decode(note.read_bytes(), _Unfinished, str(note)) if note.exists() else None


def _is_done(path: Path, found: _Unfinished) -> bool:
    return path.exists() and (not found.there or path.with_name(found.aside).exists())


def _begun(job: Replacing, note: Path, cause: str) -> _Unfinished:
    newest = max((time for time, _ in damaged_ones(job.path)), default=0)
    at = max(job.clock.wall_ns(), newest + 1)  # in their order, whatever the clock says
    begun = _Unfinished(cause, f"{job.path.name}.{at}{DAMAGED}", job.path.exists())
    job.disk.write_atomic("store.rebuild-begin", note, encode(begun))
    return begun


def _replaced(job: Replacing, begun: _Unfinished) -> Rebuilt:
    log.error("%s. The damaged file is set aside as %s", begun.cause, begun.aside)
    new = _beside(job.path, _NEW)
    with ExitStack() as undoing:
        undoing.callback(_clear, job.disk, new)  # on a full disk it would only take room
        _clear(job.disk, new)
        found = job.recover(new) or Recovered("", 0)
        rebuilt, taken = _filled(job, new, begun, found)
        job.disk.point("store.rebuilt")
        _set_aside(job, begun)
        job.disk.rename("store.rebuild-put", new, job.path)
        undoing.pop_all()
    log.error("%s; taken from what runs: %s", rebuilt, ", ".join(taken) or "nothing")
    return rebuilt


def _clear(disk: Disk, new: Path) -> None:
    for suffix in ("", *BESIDE):
        disk.unlink("store.rebuild-clear", _beside(new, suffix))


def _filled(
    job: Replacing, new: Path, begun: _Unfinished, found: Recovered
) -> tuple[Rebuilt, list[str]]:
    """Makes the new file whole: what happened and what runs stand in it, and nothing in a log beside it."""
    with contextlib.closing(connect(new, driver=job.driver)) as db:
        migrate(db, job.scripts, new)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        aside = begun.aside if begun.there else ""
        rebuilt = note_rebuilt(db, begun.cause, found.backup, found.made_at, job.clock, aside)
        taken = take_in(db, job.started.all(), job.cipher)
        db.execute("COMMIT")
        if db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise Transient(f"cannot empty the log of {new}: somebody is reading")
    return rebuilt, taken


def _set_aside(job: Replacing, begun: _Unfinished) -> None:
    aside = job.path.with_name(begun.aside)
    for suffix in (
        "",
        *BESIDE,
    ):  # the file first: whoever reads it would make what belongs to it again
        beside = _beside(job.path, suffix)
        if beside.exists():
            job.disk.rename("store.set-aside", beside, _beside(aside, suffix))
    for _, older in damaged_ones(job.path)[1 : 1 - _MOST_ASIDE]:
        for suffix in (*BESIDE, ""):  # on a failing disk they would be without end
            job.disk.unlink("store.drop-aside", _beside(older, suffix))


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
