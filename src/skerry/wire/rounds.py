"""What a node answers about its rounds of sync: one on request, and the log of those before. `skerry sync now|log`."""

from __future__ import annotations

import msgspec

from skerry.wire.sync import Lane


class SyncRound(msgspec.Struct, frozen=True):
    """How a push and a pull on request went (`skerry sync now`).

    `ok`: the hub has what was here when it was asked, as far as it may be sent now, and was asked for changes. `sent` are
    records or frames by lane, `pulled` rows. `waiting` is what each lane still has, `held` why some of it may not be sent.
    """

    ok: bool
    seconds: float
    sent: dict[Lane, int]
    pulled: int
    waiting: dict[Lane, int]
    problems: list[str]
    held: str = ""


class SyncLogEntry(msgspec.Struct, frozen=True):
    """A line of the sync log; `details` is JSON. See docs/reference/sync.md."""

    at: str
    operation: str
    kind: str
    name: str
    status: str
    details: msgspec.Raw


class SyncLogPage(msgspec.Struct, frozen=True):
    """The newest lines of the sync log, oldest first."""

    entries: list[SyncLogEntry]
