"""Who may publish and subscribe to what: a client speaks for its own twins and hears of them, and nothing else.

Pure. A topic is `{prefix}cyberwave/<room>/<id>/…`, the prefix with nothing between; the id is never a wildcard.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from skerry.gate.records import NamedTuple

_NODES_OWN = frozenset(("alert", "driverlog", "worker_health"))
"""Of a twin, published by the node alone: what it says about a driver, a driver must not say."""
_KEPT = frozenset(("event", "map_update"))
_LONGEST_ID = 1000
_WILDCARDS = frozenset("+#")


class Scope(NamedTuple):
    """What the holder of a token may speak for. `role` is «driver», «worker» or «node»."""

    number: int
    role: str
    prefix: str
    twins: frozenset[str]
    environments: frozenset[str]
    workflows: frozenset[str]
    workload: str

    def mark(self) -> str:
        """Another for another scope. It is in a client's name at the broker, so no session outlives what it was opened for."""
        all_of_it = [*self[:3], *map(sorted, self[3:6])]
        return f"{zlib.crc32(repr(all_of_it).encode()):08x}"

    def covers(self, other: Scope) -> bool:
        """Whether everything that `other` may do, this one may do too."""
        return (
            (self.number, self.role, self.prefix) == (other.number, other.role, other.prefix)
            and self.twins >= other.twins
            and self.environments >= other.environments
            and self.workflows >= other.workflows
        )


def may_publish(scope: Scope, topic: str) -> bool:
    """Whether a client may publish there."""
    found = _place(scope, topic)
    if found is None or not _WILDCARDS.isdisjoint(topic):
        return False
    room, owner, below = found
    if owner not in _owned(scope, room):
        return False
    match room:
        case "twin":
            return scope.role == "node" or below[0] not in _NODES_OWN
        case "joint":
            return below == ["update"]
        case "ping":
            return below == ["request"]
        case _:
            return room != "pong"


def may_subscribe(scope: Scope, topic_filter: str, client_id: str) -> bool:
    """Whether a client of that id may subscribe there."""
    found = _place(scope, topic_filter)
    if found is None or not _is_filter(topic_filter):
        return False
    room, owner, below = found
    if owner not in _owned(scope, room):
        return False
    match room:
        case "twin":
            return _is_own_reply(below, client_id)
        case "joint" | "environment":
            return len(below) == 1
        case "pong":
            return below == ["response"]
        case _:
            return room != "ping"


def may_be_answered_at(scope: Scope, response_topic: str, client_id: str) -> bool:
    """Whether a request may ask for its answer there: only where the client could hear it, or it borrows another's rights."""
    return _WILDCARDS.isdisjoint(response_topic) and may_subscribe(scope, response_topic, client_id)


def is_kept(scope: Scope, topic: str) -> bool:
    """Whether every message there counts, as of events; elsewhere a newer one makes up for an older."""
    found = _place(scope, topic)
    if found is None:
        return False
    room, _, below = found
    return room == "workflow" or below[0] in _KEPT or below == ["navigate", "status"]


def is_client_id(text: str) -> bool:
    """Whether it may stand in topics as one level that matches nothing but itself."""
    return len(text) <= _LONGEST_ID and _WILDCARDS.isdisjoint(text) and "/" not in text


def _owned(scope: Scope, room: str) -> frozenset[str]:
    """What may stand below that room; nothing for a room that does not exist."""
    match room:
        case "twin" | "joint" | "ping" | "pong":
            return scope.twins
        case "environment":
            return scope.environments
        case "workflow":
            return scope.workflows
        case _:
            return frozenset()


def _place(scope: Scope, topic: str) -> tuple[str, str, list[str]] | None:
    """Room, id and what is below it, which is at least one level."""
    root = f"{scope.prefix}cyberwave/"
    levels = topic[len(root) :].split("/")
    if len(levels) < 3 or not topic.startswith(root):
        return None
    return levels[0], levels[1], levels[2:]


def _is_filter(topic_filter: str) -> bool:
    levels = topic_filter.split("/")
    return all(
        _WILDCARDS.isdisjoint(level) or level == "+" or (level == "#" and at == len(levels))
        for at, level in enumerate(levels, start=1)
    )


def _is_own_reply(below: Sequence[str], client_id: str) -> bool:
    """Whether a filter spells out no other client's inbox, `command/<client id>/response`."""
    return len(below) < 3 or below[0] not in ("command", "+") or below[1] == client_id
