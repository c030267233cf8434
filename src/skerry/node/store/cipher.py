"""The cipher at the store's boundary: what a person wrote («body») passes through it on the way to the disk.

Keys (ids, times, numbers, states) stay plain so that ranges and lookups keep working. The null cipher is
the only one until the encryption issue; its successor takes its place in `node/agent.py`.
"""

from __future__ import annotations

from typing import Protocol


class Cipher(Protocol):
    """Turns bodies into what is stored and back. Every call may come from any thread."""

    def seal(self, plain: bytes) -> bytes: ...

    def open(self, sealed: bytes) -> bytes:
        """The inverse of `seal`. Raises Corrupt when `sealed` was not made with this cipher's key."""
        ...


class NullCipher:
    """Stores bodies as they are."""

    def seal(self, plain: bytes) -> bytes:
        return plain

    def open(self, sealed: bytes) -> bytes:
        return sealed
