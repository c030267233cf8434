"""Whose lines stand in a driver's log: a log outlives its driver, and a later twin's may get the same name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import InvalidInput, Transient
from skerry.wire.codec import decode, encode

NOTE = "twin.json"
"""Beside the log."""


class _Owner(msgspec.Struct, frozen=True):
    """The twin that has the name, and since when (wall, ns)."""

    twin: str
    since: int


class LogOwners:
    """`path_of` says where a workload's log is."""

    def __init__(self, path_of: Callable[[str], Path], clock: Clock, disk: Disk) -> None:
        self._path_of = path_of
        self._clock = clock
        self._disk = disk
        self._known: dict[str, _Owner] = {}

    def take(self, workload: str, twin: str) -> None:
        """The twin's driver is about to be started under that name. Raises Transient."""
        owner = self._owner(workload)
        if owner is not None and owner.twin == twin:
            return
        path = self._path_of(workload)
        owner = _Owner(twin, max(self._clock.wall_ns(), _last(path) + 1))
        try:
            self._disk.make_directory("driver.log", path.parent)
            self._disk.write_atomic("driver.log-owner", path.with_name(NOTE), encode(owner))
        except OSError as error:
            raise Transient(
                f"cannot start driver «{workload}»: whose log it is cannot be written: {error.strerror}"
            ) from error
        self._known[workload] = owner

    def since(self, workload: str, twin: str) -> int | None:
        """From when on the lines are the twin's (wall, ns); None: none are."""
        owner = self._owner(workload)
        return owner.since if owner is not None and owner.twin == twin else None

    def _owner(self, workload: str) -> _Owner | None:
        if workload not in self._known:
            note = self._path_of(workload).with_name(NOTE)
            try:
                self._known[workload] = decode(note.read_bytes(), _Owner, f"file {note}")
            except (OSError, InvalidInput):
                return None
        return self._known[workload]


def _last(path: Path) -> int:
    """When the log was last written: the clock may have been set back since."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
