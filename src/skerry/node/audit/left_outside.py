"""What commands do beside the agent, which may not run: they leave lines in a file, and the agent enters them.

`skerry node enroll` and `restore` work on a directory whose database may not exist yet, or is about to be another
one; so the file lies beside it. A line is durable before anything is done. Once taken in, its id is a fact in the
same transaction: killed before the file is gone, the agent takes no line twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from skerry.core.audit_entries import Deed
from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import Refused
from skerry.kit.ids import random_token
from skerry.kit.sqlite import read_queries
from skerry.node.audit.callers import program_of, this_process, user_name
from skerry.node.store import audit_log
from skerry.wire.codec import encode

FILE = "audit.pending"
_TAKEN = "audit_taken"
_REMEMBERED = 100
"""Lines beside those in the file: what began may have its outcome long after, when the file has gone."""

_STATE = read_queries(Path(audit_log.__file__).with_name("state.sql"))


class Left(msgspec.Struct, frozen=True):
    """A line: what was done when, and of which line it is the outcome."""

    id: str
    at: int
    deed: Deed
    of: str = ""


class LeftOutside:
    """The file in one data directory."""

    def __init__(self, data_dir: Path, disk: Disk, clock: Clock) -> None:
        self._path = data_dir / FILE
        self._disk = disk
        self._clock = clock

    def leave(self, deed: Deed, of: str = "") -> str:
        """Appends a line, durably; returns its id. Raises OSError."""
        line = Left(random_token(), self._clock.wall_ns(), deed, of)
        with _alone(self._path.parent):
            self._append(line)
        return line.id

    def _append(self, line: Left) -> None:
        fd = self._disk.open_append("audit.leave", self._path)
        try:
            self._disk.append(
                "audit.leave", fd, b"\n" + encode(line) + b"\n"
            )  # after half a line, too
            self._disk.sync("audit.leave", fd)
        finally:
            os.close(fd)
        self._disk.sync_directory("audit.leave", self._path.parent)

    def read(self) -> list[Left]:
        """The lines in their order; half a line was never durable, and nothing followed from it."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        found = []
        for line in data.splitlines():
            with contextlib.suppress(msgspec.DecodeError):
                found.append(msgspec.json.decode(line, type=Left))
        return found

    def taken(self, lines: Sequence[Left]) -> None:
        """They are in the log. A file that has grown meanwhile stays until the next look."""
        if not lines:
            return
        with contextlib.suppress(BlockingIOError), _alone(self._path.parent, wait=False):
            if self.read() == list(lines):
                self._disk.unlink("audit.taken", self._path)


@contextlib.contextmanager
def _alone(directory: Path, *, wait: bool = True) -> Iterator[None]:
    """Nobody else appends or unlinks; raises BlockingIOError rather than `wait`. The file itself goes, its directory stays."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(fd)


def take_in(db: sqlite3.Connection, lines: Sequence[Left]) -> None:
    """Enters the lines that are not entered yet, in the caller's transaction."""
    row = db.execute(_STATE["fact"], (_TAKEN,)).fetchone()
    known: dict[str, int] = {} if row is None else msgspec.json.decode(row["value"])
    for line in lines:
        if line.id not in known:
            deed = msgspec.structs.replace(line.deed, of=known.get(line.of, 0))
            known[line.id] = audit_log.enter(db, deed, line.at).seq
    if lines:
        kept = {*sorted(known, key=known.__getitem__)[-_REMEMBERED:], *(line.id for line in lines)}
        numbers = {id_: seq for id_, seq in known.items() if id_ in kept}
        db.execute(_STATE["set_fact"], (_TAKEN, encode(numbers).decode()))


@contextlib.contextmanager
def entered(
    data_dir: Path, disk: Disk, clock: Clock, action: str, detail: str
) -> Iterator[Callable[[str], None]]:
    """What a command does in the block is begun before it and has its outcome after it; the call sets what that says.

    Raises Refused when it cannot be entered: then nothing must be done.
    """
    caller = this_process()
    deed = Deed(
        user_name(caller.uid), "", action, str(data_dir), f"command line, {program_of(caller)}",
        outcome="begun", detail=detail,
    )  # fmt: skip
    outside = LeftOutside(data_dir, disk, clock)
    try:
        disk.make_directory("audit.directory", data_dir)
        begun = outside.leave(deed)
    except OSError as error:
        raise Refused(
            f"cannot enter into {data_dir / FILE} who does this: {error.strerror}. Make room, and try again; nothing was done."
        ) from error
    said = [detail]
    outcome = "failed"
    try:
        yield lambda words: said.__setitem__(0, words)
        outcome = "done"
    finally:
        with contextlib.suppress(OSError):  # it is done, or not; «begun» says who
            outside.leave(msgspec.structs.replace(deed, outcome=outcome, detail=said[0]), begun)
