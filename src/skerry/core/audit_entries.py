"""What goes into an audit log, on node and hub: a deed becomes the entry after a head. Pure.

Nothing of an entry is ever sealed, so nothing in it may be secret: callers give names, routes and addresses, and
`shown` makes them fit. How entries are chained: `audit_chain`.
"""

from __future__ import annotations

import re

import msgspec

from skerry.wire.audit import AuditEntry, AuditHead

_LONGEST = 300
"""Characters of one field: an entry stays below a kilobyte or two."""

_SECRET = re.compile(r"skt_[0-9A-Za-z]+|\b([0-9a-fA-F]{12})[0-9a-fA-F]{28,}\b")
"""API tokens, and digits enough to be another secret or a content's hash, of which the first ones are kept."""


class Deed(msgspec.Struct, frozen=True):
    """What an entry says but for its place in the chain."""

    actor: str
    role: str
    action: str
    object: str = ""
    origin: str = ""
    outcome: str = "done"
    status: int = 0
    of: int = 0
    count: int = 1
    detail: str = ""


def entry_of(deed: Deed, head: AuditHead, at: int) -> AuditEntry:
    """The entry that follows `head`, with texts as `shown`."""
    return AuditEntry(
        seq=head.seq + 1,
        at=at,
        actor=shown(deed.actor),
        role=shown(deed.role),
        action=deed.action,
        object=shown(deed.object),
        origin=shown(deed.origin),
        outcome=deed.outcome,
        status=deed.status,
        of=deed.of,
        count=deed.count,
        detail=shown(deed.detail),
        prev=head.hash,
    )


def outcome_of(status: int) -> str:
    """What an answer's HTTP status says about what was asked."""
    return "done" if status < 400 else "refused" if status < 500 else "failed"


def shown(text: str) -> str:
    """A text as an entry has it: one line, not long, and without anything that looks like a secret."""
    masked = _SECRET.sub(lambda found: f"{found[1] or 'skt_'}…", text[: 4 * _LONGEST])
    line = "".join(each if each.isprintable() else "�" for each in masked)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
