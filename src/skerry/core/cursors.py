"""Cursors of the hub's change log: signed, opaque to nodes, and bound to the hub's history.

A cursor names a change by its sequence number and by that change's random tag. After the hub's store was
restored from a backup the number may exist again, but with another tag: the hub notices, and nodes start over.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Annotated

import msgspec

from skerry.kit.errors import InvalidInput

_Number = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]


class Position(msgspec.Struct, frozen=True, array_like=True):
    """A place in the change log; `seq` 0 is before the first change and has an empty tag."""

    epoch: _Number
    seq: _Number
    tag: str
    scope: str


_SIGNATURE = 16


def sign(position: Position, key: bytes) -> str:
    """The cursor for `position` as URL-safe text."""
    body = msgspec.msgpack.encode(position)
    return base64.urlsafe_b64encode(_signature(body, key) + body).decode()


def verify(cursor: str, key: bytes) -> Position:
    """The position in `cursor`. Raises InvalidInput unless `sign` made it with `key`."""
    try:
        data = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except ValueError as error:
        raise InvalidInput("cannot read cursor: it is not URL-safe base64") from error
    body = data[_SIGNATURE:]
    if not hmac.compare_digest(_signature(body, key), data[:_SIGNATURE]):
        raise InvalidInput("cannot use cursor: it was not issued by this hub")
    try:
        return msgspec.msgpack.decode(body, type=Position)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput("cannot use cursor: another version of this hub issued it") from error


def set_digest(revisions: dict[tuple[str, str], int]) -> str:
    """A digest of a whole set of rows, from (entity, id) to revision; independent of order."""
    digest = hashlib.sha256()
    for (entity, row), revision in sorted(revisions.items()):
        digest.update(f"{entity}\0{row}\0{revision}\n".encode())
    return digest.hexdigest()


def _signature(body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:_SIGNATURE]
