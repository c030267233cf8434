"""Letting a node in: what its token, its secret and its former id allow, in one transaction.

The order of the checks is what a stranger learns: without a token that is one, nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError

from skerry.core.credentials import secret_hash
from skerry.hub.fleet.assignments import Assignments, read_labels
from skerry.hub.fleet.controller import Node
from skerry.hub.fleet.labels import check_labels, stored_given, stored_labels
from skerry.hub.fleet.node_keys import Issue, Issued
from skerry.hub.fleet.reservations import as_reserved
from skerry.hub.fleet.tokens import Device, find_token, redeem
from skerry.hub.store import locks
from skerry.hub.store.bodies import Bodies
from skerry.hub.store.notices import Rekeyed, tell
from skerry.hub.store.tables import FLEET, node
from skerry.kit.errors import Refused
from skerry.wire.sync import Enrol


@dataclass(frozen=True)
class Known:
    """An enrolled node, and which nodes have news because it is new."""

    id: str
    name: str
    news: AbstractSet[str] = frozenset()
    issued: Issued | None = None


def let_in(
    connection: Connection,
    assignments: Assignments,
    request: Enrol,
    issue: Issue | None,
    new_id: str,
    now: int,
) -> Known:
    """The node of this request: a new one, under `new_id`, or the one that it is already.

    Raises WrongToken, and Refused for what the token does not allow or another device has.
    """
    token = find_token(connection, request.token, now)
    locks.of_fleet(connection)
    request = as_reserved(connection, request)
    if token.uses == 1:
        _give_place_back(connection, request, token.created_at)
    held = connection.execute(
        select(node.c.id, node.c.name, node.c.labels).where(
            node.c.secret_hash == request.secret_hash
        )
    ).one_or_none()
    node_id = held.id if held else request.former_id or new_id
    name = held.name if held else request.name
    device = Device(node_id, name, request.hardware, held=held is not None, proved=_proves(request))
    given = redeem(connection, request.token, device, now)
    if held is None:
        _check_former(connection, request)
        _insert(connection, request, node_id, now)
        labels = request.labels | given
    else:
        labels = read_labels(Bodies.of(connection), node_id, held.labels) | given
    check_labels(labels)
    issued = _admit(connection, node_id, issue, labels, given)
    news = assignments.place_node(connection, Node(node_id, name, labels))
    return Known(node_id, name, news, issued)


def _proves(request: Enrol) -> bool:
    """Whether it shows the secret itself: its hash is in the database and in backups."""
    return hmac.compare_digest(secret_hash(request.secret), request.secret_hash)


def _give_place_back(connection: Connection, request: Enrol, created_at: int) -> None:
    """Who lost the secret has its place again, once a person has revoked the node and made a token for one since.

    So does a node from a backup that was not sealed, which has no secret in it.
    """
    its, shown = node.c, request.secret_hash
    taken = connection.execute(select(its.id).where(its.secret_hash == shown)).first()
    if taken is None and _proves(request):
        place = (its.fleet_id == FLEET, its.id == request.former_id, its.revoked_at <= created_at)
        connection.execute(update(node).where(*place).values(secret_hash=shown))


def _admit(
    connection: Connection,
    node_id: str,
    issue: Issue | None,
    labels: Mapping[str, str],
    given: Mapping[str, str],
) -> Issued | None:
    """Notes what its enrolment gave to a node, and tells the other hub processes that its key is another one."""
    issued = issue(node_id) if issue else None
    bodies = Bodies.of(connection)
    row: dict[str, object] = {
        "revoked_at": None,
        **(issued.row() if issued else {"key_hash": ""}),
    }
    row["labels"] = stored_labels(bodies, node_id, labels)
    row["trust_number"] = issued.trust if issued else 0
    row["given_labels"] = stored_given(bodies, node_id, given)
    connection.execute(update(node).where(node.c.id == node_id).values(row))
    tell(connection, Rekeyed(node_id))
    return issued


def _insert(connection: Connection, request: Enrol, node_id: str, now: int) -> None:
    row = {
        "id": node_id,
        "fleet_id": FLEET,
        "name": request.name,
        "labels": "{}",
        "secret_hash": request.secret_hash,
        "version": request.version,
        "enrolled_at": now,
        "last_seen": now,
    }
    try:
        connection.execute(node.insert(), row)
    except IntegrityError as error:
        raise Refused(
            f"cannot enrol node «{request.name}»: the fleet has a node of this name. "
            "Choose another name, or delete that node first; the token can still be used."
        ) from error


def _check_former(connection: Connection, request: Enrol) -> None:
    query = select(node.c.name).where(node.c.id == request.former_id)
    name = connection.execute(query).scalar()
    if name is not None:
        raise Refused(
            f"cannot enrol node «{request.name}» again: the hub still has it, as «{name}». "
            f"Withdraw what it was known by (skerry revoke node {name}) and use a token for one node that was made since, "
            f"or delete it: skerry delete node {name}. The token can still be used."
        )
