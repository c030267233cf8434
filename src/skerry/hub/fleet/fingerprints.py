"""As which device Cyberwave's twins know each node: the first that it tells is kept, another one takes a person (ADR 43).

What a node may change of twins goes by this. No two nodes of a fleet have the same.
"""

from __future__ import annotations

import logging

from sqlalchemy import Connection, select, update

from skerry.core.cyberwave.names import is_fingerprint
from skerry.hub.store import locks
from skerry.hub.store.bodies import STATE, Bodies
from skerry.hub.store.tables import FLEET, node, state
from skerry.kit.errors import InvalidInput, Refused
from skerry.kit.one_line import one_line
from skerry.wire.codec import decode
from skerry.wire.workload import NodeInfo

_SHOWN = 64

log = logging.getLogger(__name__)


def claim(connection: Connection, node_id: str, name: str, kept: str, told: str) -> None:
    """A node tells its fingerprint, `kept` is what the hub has for it. One that is another's, or not the kept one, changes nothing."""
    if not told or told == kept:
        return
    if kept:
        log.warning(
            "node «%s» says that it is device «%s», the hub knows it as «%s», and goes on to: skerry device fingerprint %s",
            name, one_line(told[:_SHOWN]), kept, name,
        )  # fmt: skip
        return
    locks.of_fleet(connection)
    if not is_fingerprint(told):
        log.warning(
            "node «%s» says that it is device «%s»: no device has such a name",
            name,
            one_line(told[:_SHOWN]),
        )
    elif (other := _holder(connection, told)) is not None:
        log.warning(
            "node «%s» says that it is device «%s», but that is node «%s»", name, told, other
        )
    else:
        _keep(connection, node_id, told)


def is_unheard(connection: Connection, node_id: str) -> bool:
    """Whether the hub knows it as no device, and has never been told one: not after a person has said that it is none."""
    kept = select(node.c.fingerprint).where(node.c.id == node_id, node.c.revoked_at.is_(None))
    return connection.execute(kept).scalar() == "" and not told_by(connection, node_id)


def hear(connection: Connection, node_id: str, told: str) -> None:
    """A node that is unheard tells its fingerprint with its hello."""
    if is_unheard(connection, node_id):
        named = select(node.c.name).where(node.c.id == node_id)
        claim(connection, node_id, connection.execute(named).scalar_one(), "", told)


def told_by(connection: Connection, node_id: str) -> str:
    """What the node says now; empty: nothing, or it was never heard."""
    its = state.c
    query = select(its.body).where(
        its.fleet_id == FLEET, its.scope == node_id, its.entity == "node", its.deleted.is_(False)
    )
    row = connection.execute(query).first()
    if row is None:
        return ""
    body = Bodies.of(connection).open(STATE, row.body, node_id, "node", node_id)
    return decode(body, NodeInfo, "a node").fingerprint


def assign(connection: Connection, node_id: str, name: str, fingerprint: str) -> None:
    """A person says which device the node is; empty: none, until it tells one again. Raises InvalidInput, Refused."""
    locks.of_fleet(connection)
    if fingerprint and not is_fingerprint(fingerprint):
        raise InvalidInput(
            f"cannot know device «{name}» as «{one_line(fingerprint[:_SHOWN])}»: a fingerprint has letters, digits, «.», «_» and «-», "
            "at most 127, and begins with a letter or digit"
        )
    other = _holder(connection, fingerprint) if fingerprint else None
    if other not in {None, name}:
        raise Refused(
            f"cannot know device «{name}» as «{fingerprint}»: that is device «{other}». "
            f"If it is not any more: skerry device fingerprint {other} --release"
        )
    _keep(connection, node_id, fingerprint)


def _holder(connection: Connection, fingerprint: str) -> str | None:
    query = select(node.c.name).where(node.c.fleet_id == FLEET, node.c.fingerprint == fingerprint)
    found: str | None = connection.execute(query).scalar()
    return found


def _keep(connection: Connection, node_id: str, fingerprint: str) -> None:
    connection.execute(update(node).where(node.c.id == node_id).values(fingerprint=fingerprint))
