"""The bytes of frames of shared rows: compressed and sealed in the database, and those on their way in memory, too.

`shared_frames` freezes and sends them. A frame in memory counts only while its chain is that of the database: a chain
is over all bytes that the lane has had, so a frame of a transaction that was undone is never taken for another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

import msgspec

from skerry.kit.sealing.cipher import Cipher
from skerry.node.store.bodies import SHARED_FRAME
from skerry.node.store.shared_table import SQL
from skerry.wire.codec import compress, decode, decompress
from skerry.wire.shared import EditFrame
from skerry.wire.sync import Lane

_COMPRESSED = 4096
"""Bytes of a frame from which on it is compressed: less of it is written twice, and read when it is dropped."""

_IN_MEMORY = 2
"""One frame is on its way, the next one is frozen meanwhile."""


class Frozen(msgspec.Struct, frozen=True):
    """A frame, and the bytes that are sent of it."""

    frame: EditFrame
    body: bytes


class FrameBodies:
    """Those of all row lanes. Every call may come from any thread."""

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher
        self._newest: dict[str, Frozen] = {}

    @property
    def in_memory(self) -> Mapping[str, Frozen]:
        """The newest frames by their chains, as they are at this moment."""
        return dict(self._newest)

    def stored(self, lane: Lane, n: int, chain: str, frozen: Frozen) -> bytes:
        """What is stored of frame `n`, which is in memory from now on."""
        for older in list(self._newest)[: 1 - _IN_MEMORY]:
            self._newest.pop(older, None)
        self._newest[chain] = frozen
        body = frozen.body
        kept = compress(body, quick=True) if len(body) >= _COMPRESSED else body
        return self._cipher.seal(kept, SHARED_FRAME.place(lane, n))

    def opened(self, lane: Lane, n: int, stored: bytes) -> bytes:
        """The bytes of frame `n`, from what is stored."""
        kept = self._cipher.open(stored, SHARED_FRAME.place(lane, n))
        return kept if kept.startswith(b"{") else decompress(kept, f"frame {n} of lane «{lane}»")

    def frame(self, db: sqlite3.Connection, lane: Lane, n: int, chain: str) -> EditFrame:
        """The edits of a frame, within the transaction that drops it; it is no longer in memory."""
        found = self._newest.pop(chain, None)
        if found is not None:
            return found.frame
        (stored,) = db.execute(SQL["frame_body"], (lane, n)).fetchone()
        return decode(self.opened(lane, n, stored), EditFrame, f"frame {n} of lane «{lane}»")
