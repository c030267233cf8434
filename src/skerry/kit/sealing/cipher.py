"""The cipher at a store's boundary: what a person wrote («body») passes through it on the way to the disk.

Keys (ids, times, numbers, states) stay plain so that ranges and lookups keep working. Where a body belongs is
authenticated with it, so it opens nowhere else. `NullCipher` is encryption switched off, `sealed.SealingCipher` on;
both pass one contract suite.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from skerry.kit.errors import Refused
from skerry.kit.sealing.format import is_sealed, key_id_of


class Place(msgspec.Struct, frozen=True):
    """Where a body belongs: a column of a table and the row's primary key, all parts as text."""

    table: str
    column: str
    row: tuple[str, ...]

    def at(self, last: str | tuple[str, ...]) -> Place:
        """With one more part of the key, or some."""
        more = (last,) if isinstance(last, str) else last
        return Place(self.table, self.column, self.row + more)

    def __str__(self) -> str:
        return f"{self.table}.{self.column} of {' '.join(self.row)}"


Row = tuple[str | tuple[str, ...], bytes]
"""The last part of a row's key, or the last parts, and its body."""


class KeyMissing(Refused):
    """Something is sealed, and this process was given no keys. Nothing is damaged, and nothing may be touched."""


class Cipher(Protocol):
    """Turns bodies into what is stored and back. Every call may come from any thread."""

    @property
    def seals(self) -> bool:
        """Whether bodies are encrypted."""
        ...

    def seal(self, plain: bytes, place: Place) -> bytes: ...

    def open(self, sealed: bytes, place: Place) -> bytes:
        """The inverse of `seal`. Raises Corrupt when these bytes were not sealed for this place, or KeyMissing."""
        ...

    def seal_rows(self, rows: Sequence[Row], within: Place) -> list[bytes]:
        """As `seal` for the bodies of many rows. `within` has all of their places but the last part of the key, or parts."""
        ...

    def open_rows(self, rows: Iterable[Row], within: Place) -> list[bytes]:
        """The inverse of `seal_rows`; raises as `open`."""
        ...

    def is_current(self, sealed: bytes) -> bool:
        """Whether it is stored as `seal` would store it now; if not, a rotation seals it again."""
        ...


class NullCipher:
    """Stores bodies as they are."""

    seals = False

    def seal(self, plain: bytes, place: Place) -> bytes:  # noqa: ARG002 - a plain body opens anywhere
        return plain

    def open(self, sealed: bytes, place: Place) -> bytes:
        if is_sealed(sealed):
            raise KeyMissing(
                f"cannot read {place}: it is sealed with key {key_id_of(sealed):08x}, and encryption is off. "
                "Set encryption.storage.enabled."
            )
        return sealed

    def seal_rows(self, rows: Sequence[Row], within: Place) -> list[bytes]:  # noqa: ARG002 - as above
        return [plain for _, plain in rows]

    def open_rows(self, rows: Iterable[Row], within: Place) -> list[bytes]:
        return [
            self.open(sealed, within.at(last)) if is_sealed(sealed) else sealed
            for last, sealed in rows
        ]

    def is_current(self, sealed: bytes) -> bool:
        return not is_sealed(sealed)
