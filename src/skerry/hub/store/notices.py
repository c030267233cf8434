"""What the hub processes of one PostgreSQL tell each other, each notice as a part of the transaction that it tells of.

`store.listening` hears them. A SQLite database belongs to one process: nobody is told anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec
from sqlalchemy import Connection, text

from skerry.wire.codec import decode, encode

CHANNEL = "skerry"
ORIGIN = "skerry origin"
"""Key in a connection's `info`: which process it belongs to (`HubStore.origin`)."""

_MOST_IDS = 150
"""Of a notice, so that it stays below PostgreSQL's 8,000 bytes."""


class News(msgspec.Struct, frozen=True, tag="news"):
    """There are changes for these nodes."""

    nodes: list[str]


class Shared(msgspec.Struct, frozen=True, tag="shared"):
    """Rows of these entities have changed, for every node that pulls them."""

    entities: list[str]


class Deleted(msgspec.Struct, frozen=True, tag="deleted"):
    """The fleet has forgotten a node."""

    node: str


class Rekeyed(msgspec.Struct, frozen=True, tag="rekeyed"):
    """A node has enrolled (again): its key may be another one."""

    node: str


class Revoked(msgspec.Struct, frozen=True, tag="revoked"):
    """A node's key and secret are not believed any more."""

    node: str


class Trust(msgspec.Struct, frozen=True, tag="trust"):
    """The fleet's roots have changed."""


class Linked(msgspec.Struct, frozen=True, tag="linked"):
    """A node has opened a live link, in its `turn` (the database's time); `run` and `place` as in `fleet.agents.Agent`."""

    node: str
    turn: int
    run: str
    place: str


class Rollouts(msgspec.Struct, frozen=True, tag="rollouts"):
    """A change that goes in waves has begun, or a person has given an order about one."""


class Shown(msgspec.Struct, frozen=True, tag="shown"):
    """Something that the page shows has changed."""


Notice = News | Shared | Deleted | Rekeyed | Revoked | Trust | Linked | Rollouts | Shown


class Told(msgspec.Struct, frozen=True):
    """A notice and the process that it comes from."""

    origin: str
    notice: Notice


def tell(connection: Connection, notice: Notice) -> None:
    """Tells the other processes, when and if the transaction is committed."""
    if connection.dialect.name != "postgresql":
        return
    payload = encode(Told(connection.info.get(ORIGIN, ""), notice)).decode()
    statement = text("SELECT pg_notify(:channel, :payload)")
    _ = connection.execute(statement, {"channel": CHANNEL, "payload": payload})


def tell_news(connection: Connection, nodes: Collection[str]) -> None:
    """As `tell`, with as many notices as these nodes need."""
    for some in _pieces(sorted(set(nodes))):
        tell(connection, News(some))


def read_notice(payload: str) -> Told:
    """What `tell` was given. Raises InvalidInput for what no hub of this version sends."""
    return decode(payload.encode(), Told, "a notice of another hub")


def _pieces(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _MOST_IDS):
        yield ids[start : start + _MOST_IDS]
