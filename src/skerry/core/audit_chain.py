"""The audit log's chain: each entry is hashed with the hash of the one before, so none is changed unseen. Pure.

The hash of an entry is SHA-256 over the 32 bytes of `prev` and `canonical(entry)`. Who keeps a head (`AuditHead`) finds by
`follow` whether entries up to it were changed, taken away or written anew; what came after the newest head that
anybody has kept can be rewritten as a whole by whoever owns the database.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

import msgspec

from skerry.wire.audit import AuditEntry, AuditHead, AuditRow

GENESIS = AuditHead(0, "0" * 64)
"""Before the first entry."""

VERSION = 1

FIELDS: dict[int, tuple[str, ...]] = {
    1: (
        "seq", "at", "actor", "role", "action", "object", "origin", "outcome", "status", "of", "count", "detail",
    ),
}  # fmt: skip
"""What is hashed of an entry of each version, in this order. A version's line never changes."""

Fault = Literal["changed", "missing", "out of order", "forked", "truncated", "unknown"]


class Finding(msgspec.Struct, frozen=True):
    """What is wrong with a chain, and at which entry it shows first."""

    fault: Fault
    seq: int
    words: str


def canonical(entry: AuditEntry) -> bytes:
    """One form for one content: the version, then each field as its length in four bytes and its text in UTF-8.

    Raises KeyError for a version that this build does not know.
    """
    texts = [str(getattr(entry, name)).encode() for name in FIELDS[entry.version]]
    parts = [bytes([entry.version])]
    for text in texts:
        parts += [len(text).to_bytes(4, "big"), text]
    return b"".join(parts)


def entry_hash(entry: AuditEntry) -> str:
    """The entry's own hash, as it follows `entry.prev`. Raises KeyError as `canonical`, ValueError for a `prev` that is no hash."""
    return hashlib.sha256(bytes.fromhex(entry.prev) + canonical(entry)).hexdigest()


def follow(
    rows: Iterable[AuditRow], head: AuditHead, known: AuditHead | None = None
) -> Finding | None:
    """What is wrong with the entries that follow `head`; None: they are as they were written.

    `known` is a head that was kept before: where the entries pass it, they must agree.
    """
    for row in rows:
        finding = _fault_after(head, row)
        if finding is not None:
            return finding
        head = AuditHead(row.entry.seq, row.hash)
        if known is not None and known.seq == head.seq and known.hash != head.hash:
            return Finding(
                "forked",
                head.seq,
                f"entry {head.seq} is not the one that was kept as the head before: it, or one before it, was written anew",
            )
    return None


def cut_short(head: AuditHead, known: AuditHead) -> Finding | None:
    """Whether a chain that ends with `head` has lost what `known` has seen."""
    if head.seq >= known.seq:
        return None
    return Finding(
        "truncated",
        head.seq + 1,
        f"it ends with entry {head.seq}, and had {known.seq} when its head was kept: the last {known.seq - head.seq} are gone",
    )


def _fault_after(head: AuditHead, row: AuditRow) -> Finding | None:
    entry, wanted = row.entry, head.seq + 1
    if entry.seq > wanted:
        return Finding("missing", wanted, f"after entry {head.seq} comes {entry.seq}")
    if entry.seq < wanted:
        return Finding(
            "out of order", entry.seq, f"after entry {head.seq} comes {entry.seq} once more"
        )
    if entry.version not in FIELDS:
        return Finding(
            "unknown",
            wanted,
            f"entry {wanted} has version {entry.version}: a newer Skerry can check it",
        )
    if _own_hash(entry) != row.hash:
        return Finding(
            "changed", wanted, f"entry {wanted} is not what its hash was made of: it was changed"
        )
    if entry.prev != head.hash:
        return Finding(
            "forked",
            wanted,
            f"entry {wanted} does not follow the entry {head.seq} that is here, but another one",
        )
    return None


def _own_hash(entry: AuditEntry) -> str | None:
    try:
        return entry_hash(entry)
    except (ValueError, UnicodeEncodeError):
        return None
