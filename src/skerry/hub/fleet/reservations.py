"""Devices that are registered before they come: a name, an id and an enrolment token that belong together."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, delete, select

from skerry.core.credentials import secret_hash
from skerry.hub.store.device_tables import device
from skerry.hub.store.tables import FLEET, enrolment_token, node
from skerry.kit.errors import Refused
from skerry.wire.sync import Enrol


def as_reserved(connection: Connection, request: Enrol) -> Enrol:
    """The request under the name and id that its token was made for; as it is where any node may come with the token.

    Raises Refused when name or id is kept for another token, or the id belongs to a device that is out of service.
    """
    its = device.c
    query = select(its.id, its.name, its.token_hash, its.decision).where(its.fleet_id == FLEET)
    found = connection.execute(query.where(its.token_hash == secret_hash(request.token))).first()
    if found is not None and not found.decision:
        _check_unused(connection, found.id, request)
        return msgspec.structs.replace(request, name=found.name, former_id=found.id)
    kept = connection.execute(query.where(its.name == request.name, its.decision == "")).first()
    if kept is not None and kept.id != request.former_id:
        raise Refused(
            f"cannot enrol node «{request.name}»: the name is kept for a device that is registered. Use that device's own "
            f"token (skerry device provision {request.name}), or choose another name; the token can still be used."
        )
    _check_awaited(connection, request)
    gone = query.where(its.id == request.former_id, its.decision == "decommissioned")
    if request.former_id and connection.execute(gone).first() is not None:
        raise Refused(
            f"cannot enrol node «{request.name}» again: device {request.former_id} was decommissioned, which is for ever. "
            "Enrol it as a new one, in an empty data directory; the token can still be used."
        )
    return request


def _check_awaited(connection: Connection, request: Enrol) -> None:
    """The id of a device that has not come yet is that device's, and no former one of anybody."""
    its = device.c
    query = select(its.id).where(its.fleet_id == FLEET, its.id == request.former_id)
    is_there = select(node.c.id).where(node.c.id == its.id).exists()
    if connection.execute(query.where(its.decision == "", ~is_there)).first() is not None:
        raise Refused(
            f"cannot enrol node «{request.name}»: the id is kept for a device that is registered. Use that device's own "
            "token; this one can still be used."
        )


def _check_unused(connection: Connection, device_id: str, request: Enrol) -> None:
    """A token whose node is there is used up for everybody but that node, which may ask again; it is for no other one."""
    its = node.c
    another = select(its.name).where(its.secret_hash == request.secret_hash, its.id != device_id)
    name = connection.execute(another).scalar()
    if name is not None:
        raise Refused(
            f"cannot enrol node «{name}» again: the token is for device {device_id}. Use it there, and create another one "
            "for this node: skerry token create. It can still be used."
        )
    held = connection.execute(select(its.secret_hash).where(its.id == device_id)).scalar()
    if held is not None and held != request.secret_hash:
        raise Refused(
            f"cannot enrol: the token is unknown, used or expired. Device {device_id} has enrolled with it already."
        )


def void_token(connection: Connection, token_hash: str | None) -> None:
    """An enrolment token that was a device's is nobody's now, unless it has made a node."""
    its = enrolment_token.c
    if token_hash is not None:
        gone = delete(enrolment_token).where(its.hash == token_hash, its.used_by.is_(None))
        connection.execute(gone)


def new_row(device_id: str, name: str, at: int, by: str) -> dict[str, object]:
    """A device that nothing is known of yet."""
    return {
        "id": device_id,
        "fleet_id": FLEET,
        "name": name,
        "registered_at": at,
        "registered_by": by,
        "ip_address": "",
        "ssh_user": "",
        "decision": "",
        "decided_at": 0,
        "decided_by": "",
        "reason": "",
        "ended_at": 0,
        "enrolled_at": 0,
        "last_seen": 0,
        "version": "",
        "erased_at": 0,
    }
