"""What the gate has written down, as the agent reads it: a session at a time, those of earlier runs of the gate first."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from skerry.gate import journal
from skerry.gate.journal import Entry

MOST_ENTRIES = 500
MOST_BYTES = 4 * 1024 * 1024
"""Of a batch; a single entry may be larger."""


_BAD = ".bad"

log = logging.getLogger(__name__)


class Cursor:
    """One session's entries beyond `after`, in order. The gate removes files only of what the agent has stored."""

    def __init__(self, directory: Path, session: str, after: int) -> None:
        self.session = session
        self._directory = directory
        self._after = after
        self._k = 0
        self._offset = journal.HEADER

    def batch(self) -> list[Entry]:
        """The next ones; empty when there are no more now. Raises OSError."""
        found: list[Entry] = []
        size = 0
        # A file that another one follows has got its last entry before that one was made.
        for k in self._files():
            offset = self._offset if k == self._k else journal.HEADER
            try:
                for entry, end in journal.read(self._path(k), self._after, offset):
                    self._k, self._offset, self._after = k, end, entry.n
                    found.append(entry)
                    size += len(entry.payload)
                    if len(found) >= MOST_ENTRIES or size >= MOST_BYTES:
                        return found
            except FileNotFoundError:
                continue  # all of it was stored, and the gate has removed it meanwhile
            except ValueError as error:
                self._set_aside(k, error)
        return found

    def remove(self) -> None:
        """Removes what an earlier run of the gate has left, once all of it is stored. Raises OSError."""
        for session, k in journal.files(str(self._directory)):
            if session == self.session:
                Path(self._path(k)).unlink(missing_ok=True)

    def _set_aside(self, k: int, why: ValueError) -> None:
        """The other files do not wait for one that nobody can read. Raises OSError."""
        path = Path(self._path(k))
        path.replace(bad := path.with_name(f"{path.name}{_BAD}"))
        log.warning("cannot read what the gate has captured: %s; it is set aside as %s", why, bad)

    def _files(self) -> list[int]:
        return [
            k
            for session, k in journal.files(str(self._directory))
            if session == self.session and k >= self._k
        ]

    def _path(self, k: int) -> str:
        return f"{self._directory}/{self.session}-{k}"


def is_whole(entries: Sequence[Entry]) -> bool:
    """Whether they are as many as a batch may have."""
    size = sum(len(entry.payload) for entry in entries)
    return len(entries) >= MOST_ENTRIES or size >= MOST_BYTES


def sessions(directory: Path) -> list[str]:
    """Those that have files there, the oldest first. Raises OSError."""
    begun: dict[str, int] = {}
    for session, k in journal.files(str(directory)):
        try:
            written = (directory / f"{session}-{k}").stat().st_mtime_ns
        except FileNotFoundError:
            continue  # the gate has removed it meanwhile
        begun[session] = min(begun.get(session, written), written)
    return sorted(begun, key=begun.__getitem__)
