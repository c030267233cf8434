"""Which nodes may change which twins, alerts and assets (ADR 43); `core.cyberwave.ownership` has the rules.

A node is believed to be the device of the fingerprint that the hub keeps for it, not of the one that it tells.
"""

from __future__ import annotations

import functools
import logging

from sqlalchemy import Connection, select

from skerry.core.cyberwave.linking import is_linked
from skerry.core.cyberwave.ownership import (
    SHARED_NAMES,
    Guarded,
    alert_fault,
    guarded,
    twin_fault,
)
from skerry.core.merging import Version
from skerry.core.merging.bodies import Body, decoded
from skerry.hub.store import changes, shared
from skerry.hub.store.shared import Stored
from skerry.hub.store.shared_tables import shared_entity
from skerry.hub.store.tables import FLEET, node
from skerry.kit.errors import InvalidInput
from skerry.kit.one_line import one_line

_FIRST_EPOCH = 1
_SHOWN = 64

log = logging.getLogger(__name__)


def guard_of(connection: Connection, entity: str, node_id: str) -> TwinGuard | None:
    """What judges the node's edits of the entity besides its declaration; None: nothing does."""
    found = guarded(entity) if node_id else None
    if found is None or (entity in SHARED_NAMES and not _has_twins(connection)):
        return None
    return TwinGuard(connection, entity, found, node_id)


class TwinGuard:
    """Within one transaction."""

    def __init__(self, connection: Connection, entity: str, found: Guarded, node_id: str) -> None:
        self._connection = connection
        self._entity = entity
        self._found = found
        self._node_id = node_id
        kept = select(node.c.name, node.c.fingerprint).where(node.c.id == node_id)
        row = connection.execute(kept).one_or_none()
        self._name: str = "" if row is None else row.name
        self._fingerprint: str = "" if row is None else row.fingerprint
        self._serves = functools.cache(self._is_linked)

    def refuses(self, row_id: str, held: Stored | None, becomes: Version, *, again: bool) -> bool:
        """Whether the row stays as it is. `again`: the node tells what the hub may have lost."""
        if again and held is None and changes.read_log(self._connection).epoch > _FIRST_EPOCH:
            return False  # the hub was put back once: what only nodes have now, they bring
        fault = self._fault(row_id, held, becomes)
        if fault:
            log.warning(
                "node «%s» may not change row «%s» of «%s»: %s (it is known as device «%s»)",
                self._name, one_line(row_id[:_SHOWN]), self._entity, fault, self._fingerprint,
            )  # fmt: skip
        return bool(fault)

    def _fault(self, row_id: str, held: Stored | None, becomes: Version) -> str:
        was = None if held is None or held.deleted else _body(held.body)
        will = None if becomes.deleted else _body(becomes.body)
        match self._found.kind:
            case "catalog":
                return "only people change assets, environments and workflows"
            case "twins":
                return (
                    "only people add twins"
                    if was is None
                    else twin_fault(was, will, self._fingerprint)
                )
            case "alerts":
                return alert_fault(was, will, self._serves)
            case "presence":
                return "" if self._serves(row_id) else "the twin is not linked to this device"

    def _is_linked(self, twin: str) -> bool:
        if not twin:  # an alert of the environment's: whoever is a device there
            return bool(self._fingerprint)
        found = shared.find(self._connection, self._found.twins, twin)
        if found is None or found.deleted or not self._fingerprint:
            return False
        return is_linked(_body(found.body), self._fingerprint)


def _has_twins(connection: Connection) -> bool:
    its = shared_entity.c
    query = select(its.entity).where(
        its.fleet_id == FLEET, its.entity.startswith("twins_", autoescape=True)
    )
    return any(guarded(row.entity) for row in connection.execute(query))


def _body(text: bytes) -> Body:
    """What cannot be read is linked to nobody."""
    try:
        return decoded(text)
    except InvalidInput:
        return {}
