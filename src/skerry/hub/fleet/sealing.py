"""Secrets on their way to nodes: what the hub keeps of them, and the envelopes of an assignment.

A value is sealed for each node apart, when an assignment is written that names it; what the node holds already is
left as it is. Nothing here is for people: `fleet.secrets` is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import msgspec
from sqlalchemy import Connection, select

from skerry.core.secrets import bound_to, key_id
from skerry.core.selection import selects
from skerry.hub.fleet.controller import Node
from skerry.hub.fleet.safe import Safe
from skerry.hub.store import rows
from skerry.hub.store.bodies import SECRET, Bodies
from skerry.hub.store.engine import insert
from skerry.hub.store.tables import FLEET, secret
from skerry.kit.errors import Corrupt, Refused
from skerry.kit.sealing import envelopes
from skerry.wire.codec import decode, encode
from skerry.wire.secrets import SealedSecret
from skerry.wire.workload import NodeInfo, Selector

NODE = "node"
"""The entity with what a node says about itself."""


class Kept(msgspec.Struct, frozen=True):
    """The body of a secret's row. `locked`: the value is so by the hub's `Safe`."""

    on: Selector
    value: bytes
    locked: bool


class HeldSecret(msgspec.Struct, frozen=True):
    """A secret in the database."""

    name: str
    version: int
    id: str
    set_at: int
    set_by: str
    kept: Kept


def read_secrets(connection: Connection) -> dict[str, HeldSecret]:
    """Every secret of the fleet, by name. Values that are locked stay so."""
    bodies = Bodies.of(connection)
    query = select(secret).where(secret.c.fleet_id == FLEET).order_by(secret.c.name)
    return {
        row.name: HeldSecret(
            row.name,
            row.version,
            row.id,
            row.set_at,
            row.set_by,
            decode(bodies.open(SECRET, row.body, row.name), Kept, f"secret «{row.name}»"),
        )
        for row in connection.execute(query)
    }


def write_secret(connection: Connection, safe: Safe, held: HeldSecret) -> None:
    """Inserts or replaces a secret whose value is not locked yet. Raises Refused, OSError."""
    bodies = Bodies.of(connection)
    kept = held.kept
    if not bodies.seals:
        value = safe.lock(kept.value, _purpose(held))
        kept = msgspec.structs.replace(kept, value=value, locked=True)
    row = {
        "version": held.version,
        "id": held.id,
        "set_at": held.set_at,
        "set_by": held.set_by,
        "body": bodies.seal(SECRET, encode(kept), held.name),
    }
    connection.execute(
        insert(connection, secret)
        .values(fleet_id=FLEET, name=held.name, **row)
        .on_conflict_do_update(index_elements=["fleet_id", "name"], set_=row)
    )


def value_of(safe: Safe, held: HeldSecret) -> bytes:
    """Raises Corrupt when this hub cannot open it."""
    return safe.open(held.kept.value, _purpose(held)) if held.kept.locked else held.kept.value


def _purpose(held: HeldSecret) -> bytes:
    return encode([FLEET, held.name, held.version, held.id])


class Sealing:
    """Seals within one transaction; reads nothing until something asks for a secret."""

    def __init__(self, connection: Connection, safe: Safe) -> None:
        self._connection = connection
        self._safe = safe
        self._keys: dict[str, bytes] = {}

    def sealed(
        self, names: Iterable[str], node: Node, before: Sequence[SealedSecret] = ()
    ) -> list[SealedSecret]:
        """These secrets as they are now, for this node. `before` is what it has."""
        had = {each.name: each for each in before}
        return [self._one(name, node, had.get(name)) for name in names]

    @cached_property
    def _held(self) -> dict[str, HeldSecret]:
        return read_secrets(self._connection)

    def _one(self, name: str, node: Node, had: SealedSecret | None) -> SealedSecret:
        held = self._held.get(name)
        if held is None:
            why = f"it does not exist: skerry secret set {name} --from-file FILE"
            return SealedSecret(name, why=why)
        if not selects(held.kept.on, node.name, node.labels):
            return SealedSecret(name, held.version, held.id, why="it is not for this node")
        public = self._key_of(node.id)
        wanted = SealedSecret(name, held.version, held.id, key_id(public) if public else "")
        if had is not None and had.sealed and (had.id, had.to) == (wanted.id, wanted.to):
            return had
        return self._sealed(wanted, held, node.id, public) if public else wanted

    def _sealed(
        self, wanted: SealedSecret, held: HeldSecret, node_id: str, public: bytes
    ) -> SealedSecret:
        try:
            sealed = envelopes.seal(value_of(self._safe, held), public, bound_to(wanted, node_id))
        except (Corrupt, Refused) as error:
            why = f"the hub cannot read it ({error}): set it again"
            return msgspec.structs.replace(wanted, why=why)
        except ValueError:
            return msgspec.structs.replace(wanted, why="the node has told a key that is none")
        return msgspec.structs.replace(wanted, sealed=sealed)

    def _key_of(self, node_id: str) -> bytes:
        if node_id not in self._keys:
            row = rows.find(self._connection, node_id, NODE, node_id)
            known = row is not None and not row.deleted
            info = decode(row.body, NodeInfo, "node") if row is not None and known else None
            self._keys[node_id] = b"" if info is None else info.secrets_key
        return self._keys[node_id]
