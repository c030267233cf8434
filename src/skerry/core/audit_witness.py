"""What a witness does: judges what a node tells of its audit log by what was kept of it before. Pure.

A node's head is signed over `head_bytes`. The hub keeps every head and every entry, so a log that lost its end, was
written anew, or goes on from a copy contradicts something that is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from skerry.core.audit_chain import FIELDS, Finding, cut_short, follow
from skerry.wire.audit import AuditHead, AuditRow, SignedHead

_DOMAIN = b"skerry audit head 1"
_MOST = 2**62
_LONGEST = 2000
"""Characters of a text; an entry's own are shorter (`audit_entries.shown`)."""

_DIGITS = frozenset("0123456789abcdef")


def head_bytes(node_id: str, head: SignedHead) -> bytes:
    """What a node signs: whose head it is, which one, and when; each part with its length."""
    parts = [_DOMAIN]
    for text in (node_id, str(head.seq), head.hash, str(head.at)):
        data = text.encode()
        parts += [len(data).to_bytes(4, "big"), data]
    return b"".join(parts)


def judge(
    head: AuditHead,
    rows: Sequence[AuditRow],
    *,
    have: AuditHead,
    told: AuditHead,
    kept: Callable[[int], str | None],
) -> Finding | None:
    """What contradicts what is kept of a chain; None: `head` and `rows`, which begin behind `have`, go on from it.

    `have` is how far the kept entries go, `told` the highest head that was told; `kept` gives the hash of a kept entry.
    """
    if head.seq <= told.seq:
        known = told.hash if head.seq == told.seq else kept(head.seq)
        if known is not None and known != head.hash:
            words = f"entry {head.seq} is another one now than the one that was told before"
            return Finding("forked", head.seq, words)
        if head.seq < told.seq:
            return cut_short(head, told)
    return follow(rows, have, told) or _disagrees(rows, head)


def row_fault(row: AuditRow) -> str | None:
    """Why a row cannot be kept, whatever its hash says; None: it can."""
    entry = row.entry
    if entry.version not in FIELDS:
        return f"entry {entry.seq} has version {entry.version}, which this hub does not know"
    for name in entry.__struct_fields__:
        value = getattr(entry, name)
        if isinstance(value, str) and (len(value) > _LONGEST or "\0" in value):
            return f"field {name} of entry {entry.seq} is too long, or no text"
        if isinstance(value, int) and not -_MOST <= value < _MOST:
            return f"field {name} of entry {entry.seq} is out of range"
    return None if is_hash(row.hash) and is_hash(entry.prev) else f"entry {entry.seq} has no hash"


def is_hash(text: str) -> bool:
    """Whether it is a SHA-256 in hexadecimal digits."""
    return len(text) == 64 and _DIGITS.issuperset(text)


def _disagrees(rows: Sequence[AuditRow], head: AuditHead) -> Finding | None:
    for row in rows:
        if row.entry.seq == head.seq and row.hash != head.hash:
            words = f"entry {head.seq} that came is not the one of the head that came with it"
            return Finding("forked", head.seq, words)
    return None
