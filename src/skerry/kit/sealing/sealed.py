"""Bodies under AES-256-GCM or ChaCha20-Poly1305 of the package «cryptography», which is loaded here and only when asked.

A nonce is eight random bytes, drawn for each key in each process, and a counter: within a process none occurs twice.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from skerry.kit.errors import Corrupt, Transient
from skerry.kit.sealing.cipher import Place, Row
from skerry.kit.sealing.format import (
    OVERHEAD,
    START,
    bound_to,
    bounds,
    head,
    is_sealed,
    key_id_of,
    take_apart,
)
from skerry.kit.sealing.keys import MOST_MESSAGES, Algorithm, DataKey

_COUNTER = struct.Struct(">I")
_PREFIX = 8


class Aead(Protocol):
    """Authenticated encryption with one key."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


def aead(algorithm: Algorithm, secret: bytes) -> Aead:
    """The algorithm with this key."""
    from cryptography.hazmat.primitives.ciphers import aead as library  # noqa: PLC0415 - 7 MB

    return (
        library.AESGCM(secret) if algorithm == "AES-256-GCM" else library.ChaCha20Poly1305(secret)
    )


class KeyInUse(msgspec.Struct):
    """One key in this process; `before` messages were sealed with it, or may have been, by earlier ones.

    From the message of number `until` on it seals only what `reserve`, which moves `until`, has room for.
    """

    id: int
    aead: Aead
    before: int = 0
    used: int = 0
    until: int = MOST_MESSAGES
    reserve: Callable[[], None] | None = None
    head: bytes = b""
    prefix: bytes = msgspec.field(default_factory=lambda: os.urandom(_PREFIX))
    numbers: itertools.count[int] = msgspec.field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.head = head(self.id)

    @property
    def messages(self) -> int:
        """Sealed with it at most, by all processes."""
        return self.before + self.used

    def seal(self, plain: bytes, words: tuple[str, ...]) -> bytes:
        """`plain` in sealed form. Raises Transient when the key has sealed all that it may."""
        number = next(self.numbers)
        self._count(number)
        nonce = self.prefix + _COUNTER.pack(number)
        return self.head + nonce + self.aead.encrypt(nonce, plain, bound_to(self.id, words))

    def seal_rows(self, rows: Sequence[Row], words: tuple[str, ...]) -> list[bytes]:
        """As `seal` for each, with the row's own words after `words`."""
        numbers = list(itertools.islice(self.numbers, len(rows)))
        if numbers:
            self._count(numbers[-1])
        bound = bounds(self.id, words, [last for last, _ in rows])
        encrypt, start, prefix, pack = self.aead.encrypt, self.head, self.prefix, _COUNTER.pack
        return [
            start + (nonce := prefix + pack(number)) + encrypt(nonce, plain, its)
            for number, (_, plain), its in zip(numbers, rows, bound, strict=True)
        ]

    def _count(self, number: int) -> None:
        """The messages up to `number` are to be sealed. Raises Transient."""
        self.used = number + 1
        if self.before + number >= self.until and self.reserve is not None:
            self.reserve()
        if self.before + number >= min(self.until, MOST_MESSAGES):
            raise Transient(
                f"cannot seal anything: key {self.id:08x} has sealed what was counted, or has served, and neither more "
                "nor the next one could be kept. The node's log says why."
            )

    def open_rows(
        self,
        rows: Sequence[Row],
        words: tuple[str, ...],
        otherwise: Callable[[str | tuple[str, ...], bytes], bytes],
    ) -> list[bytes]:
        """The contents; `otherwise` is asked about each that is not under this key, or is not for its place."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as below

        bound = bounds(self.id, words, [last for last, _ in rows])
        decrypt, begin = self.aead.decrypt, self.head
        nonce, secret = slice(len(begin), START), slice(START, None)
        plain: list[bytes] = []
        for (last, sealed), its in zip(rows, bound, strict=True):
            try:
                plain.append(
                    decrypt(sealed[nonce], sealed[secret], its)
                    if sealed.startswith(begin) and len(sealed) >= OVERHEAD
                    else otherwise(last, sealed)
                )
            except InvalidTag:
                plain.append(otherwise(last, sealed))
        return plain

    def open(self, sealed: bytes, words: tuple[str, ...]) -> bytes | None:
        """The content; None when it was not sealed with this key for this place."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - loaded since the key is

        parts = take_apart(sealed)
        if parts is None:
            return None
        try:
            return self.aead.decrypt(parts.nonce, parts.secret, bound_to(self.id, words))
        except InvalidTag:
            return None


class InForce(msgspec.Struct, frozen=True):
    """What a cipher works with at one moment."""

    sealing: KeyInUse
    opening: dict[int, KeyInUse]
    plain: bool


class SealingCipher:
    """The cipher of one class of data. `install` changes its keys at once, for all threads."""

    seals = True

    def __init__(self, in_force: InForce) -> None:
        self._now = in_force

    @property
    def now(self) -> InForce:
        """The keys that it works with."""
        return self._now

    def install(self, in_force: InForce) -> None:
        """From now on these keys, and plain bodies only if they say so."""
        self._now = in_force

    def seal(self, plain: bytes, place: Place) -> bytes:
        return self._now.sealing.seal(plain, _words(place))

    def open(self, sealed: bytes, place: Place) -> bytes:
        now = self._now
        if not is_sealed(sealed):
            if now.plain:
                return sealed
            raise Corrupt(f"cannot read {place}: it is not sealed, as everything here must be")
        key = now.opening.get(key_id_of(sealed))
        if key is None:
            raise Corrupt(
                f"cannot read {place}: it is sealed with key {key_id_of(sealed):08x}, which is not on the key ring"
            )
        plain = key.open(sealed, _words(place))
        if plain is None:
            raise Corrupt(f"cannot read {place}: it is not what was sealed there")
        return plain

    def seal_rows(self, rows: Sequence[Row], within: Place) -> list[bytes]:
        return self._now.sealing.seal_rows(rows, _words(within))

    def open_rows(self, rows: Iterable[Row], within: Place) -> list[bytes]:
        def otherwise(last: str | tuple[str, ...], sealed: bytes) -> bytes:
            return self.open(sealed, within.at(last))

        return self._now.sealing.open_rows(list(rows), _words(within), otherwise)

    def is_current(self, sealed: bytes) -> bool:
        return sealed.startswith(self._now.sealing.head)


def in_force(
    keys: Sequence[DataKey], former: InForce | None, *, plain: bool, used_before: bool = False
) -> InForce:
    """The keys of one class for a cipher; those that `former` has stay the same objects, with their counters.

    `used_before`: other processes may have used up what is reserved.
    """
    known = {} if former is None else former.opening
    opening = {
        key.id: known.get(key.id)
        or KeyInUse(key.id, aead(key.algorithm, key.secret), key.reserved if used_before else 0)
        for key in keys
    }
    sealing = next(key.id for key in keys if not key.retired)
    return InForce(opening[sealing], opening, plain)


def _words(place: Place) -> tuple[str, ...]:
    return (place.table, place.column, *place.row)
