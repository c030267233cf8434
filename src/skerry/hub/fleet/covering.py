"""Which node somebody means, if it is one of those that his role is for: by its labels as the database has them now."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, case, or_, select

from skerry.core.roles import Role, covers
from skerry.hub.fleet.assignments import read_labels
from skerry.hub.fleet.controller import Node
from skerry.hub.store.bodies import Bodies
from skerry.hub.store.tables import FLEET, node


def is_for(role: Role | None, labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels is one of the role's; None is for all, as a role without labels is."""
    return role is None or covers(role, labels)


def find_node(connection: Connection, name: str, role: Role | None) -> str | None:
    """The id of the node of this name or id; None: there is none, or the role is not for it."""
    # An id is one thing's for ever, a name is chosen: it never stands before another node's id.
    query = (
        select(node.c.id)
        .where(node.c.fleet_id == FLEET, or_(node.c.name == name, node.c.id == name))
        .order_by(case((node.c.id == name, 0), else_=1))
        .limit(1)
    )
    found = connection.execute(query).scalar()
    covered = covers_nodes(connection, role, [found or ""])  # looked up for nobody, too
    return found if covered else None


def covers_nodes(connection: Connection, role: Role | None, ids: Collection[str]) -> bool:
    """Whether the role is for each of these nodes. A device that is no node has no labels.

    One that is judged costs no more in a large fleet: by the time that it takes nobody tells it from one that there is not.
    """
    if role is None or not role.scoped:
        return True
    only = ids if len(ids) == 1 else None
    return set(ids) <= {each.id for each in nodes_for(connection, role, only)}


def nodes_for(
    connection: Connection, role: Role | None, only: Collection[str] | None = None
) -> list[Node]:
    """The nodes that the role is for, or those of these ids; those on their way out, too."""
    query = select(node.c.id, node.c.name, node.c.labels).where(node.c.fleet_id == FLEET)
    if only is not None:
        query = query.where(node.c.id.in_(only))
    bodies = Bodies.of(connection)
    found = [
        Node(row.id, row.name, read_labels(bodies, row.id, row.labels))
        for row in connection.execute(query)
    ]
    return [each for each in found if is_for(role, each.labels)]
