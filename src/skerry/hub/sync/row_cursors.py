"""Cursors of shared rows: where a node is in one entity's feed. Pure; see `core.cursors` for the signature.

Of what was deleted before its floor, a node holds nothing.

head    where the history stood when the cursor was given, with its tag; at the end of the feed the node is there
floor   where it stood when the node began with the entity, or was told to compare buckets
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from skerry.core.cursors import Position, sign, verify
from skerry.hub.store.changes import Log
from skerry.hub.sync.history import judge
from skerry.kit.errors import InvalidInput

Verdict = Literal["follows", "horizon", "lost", "newly lost"]


class Place(NamedTuple):
    """A node's place in an entity's feed."""

    epoch: int
    seq: int
    tag: str
    head: int
    floor: int

    @property
    def at_end(self) -> bool:
        """Whether the node had every row of the entity then."""
        return self.seq == self.head

    def position(self, node_id: str = "", entity: str = "") -> Position:
        """As it is signed."""
        return Position(
            self.epoch, self.head, self.tag, f"{node_id}/{entity}/{self.seq}/{self.floor}"
        )


def write(place: Place, node_id: str, entity: str, key: bytes) -> str:
    """The cursor for `place`."""
    return sign(place.position(node_id, entity), key)


def read(cursor: str, node_id: str, entity: str, key: bytes) -> Place | None:
    """The place in `cursor`, or None when it is none that this hub gave to this node for this entity."""
    try:
        position = verify(cursor, key)
        whose, seq, floor = position.scope.rsplit("/", 2)
        place = Place(position.epoch, int(seq), position.tag, position.seq, int(floor))
    except (InvalidInput, ValueError):
        return None
    return place if whose == f"{node_id}/{entity}" else None


def verdict(place: Place, log: Log, tag: str | None, pruned_through: int) -> Verdict:
    """Whether the entity's feed can go on from `place`; `tag` is that of the commit that gave `place.head`.

    `log.pruned_through` is up to where commits are forgotten, `pruned_through` up to where deleted rows of the entity are.

    lost        the hub was put back, which is known; «newly lost»: which nobody knew so far
    """
    match judge(place.position(), log, tag):
        case "lost":
            return "newly lost"
        case "unusable":
            forgotten = tag is None and place.head <= log.pruned_through
            return "horizon" if forgotten and place.epoch == log.epoch else "lost"
        case "follows":
            return "follows" if max(place.seq, place.floor) >= pruned_through else "horizon"
