"""What uses a disk and why, of a node or a hub: `skerry storage` and `skerry hub storage`.

Loaded when somebody asks. Bytes are what the disk holds, in whole blocks, unless a field says otherwise; times are
ns since 1970.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from skerry.wire.local import Growth


class StorageLine(msgspec.Struct, frozen=True):
    """One part of what is used. `count` files or rows; `oldest` None: it has no age. `why` it is kept."""

    what: str
    bytes: int
    count: int
    why: str
    oldest: int | None = None


class StreamUse(msgspec.Struct, frozen=True):
    """The records of one name and publisher. `records` and `bytes` are counted, or reckoned from a part of them.

    `rule` is what a retention rule says of it; empty: none fits.
    """

    name: str
    source: str
    records: int
    bytes: int
    node: str = ""
    oldest: int | None = None
    newest: int | None = None
    rule: str = ""


class Removed(msgspec.Struct, frozen=True):
    """What a retention rule has removed so far, and when the last time was. A node counts from its start on."""

    rule: str
    records: int
    last_at: int


class StorageReport(msgspec.Struct, frozen=True):
    """`used` is the sum of `lines`; `limit` None: the disk is the limit. `free` None: the disk is not ours to look at.

    `goes` names what would go next when room is needed, in its order, with the bytes that may go. `counted` is the
    part of the records of which streams were counted one by one: 1.0 all, less: the rest is reckoned from it.
    """

    of: Literal["node", "hub"]
    place: str
    used: int
    free: int | None
    limit: int | None
    lines: list[StorageLine]
    streams: list[StreamUse] = []
    counted: float = 1.0
    goes: list[StorageLine] = []
    growth: Growth | None = None
    removed: list[Removed] = []
    problem: str = ""
    """What keeps it from working as it should, for example a full disk; empty: nothing."""
