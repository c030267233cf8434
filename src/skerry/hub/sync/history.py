"""Whether a node's cursor lies in this hub's history: pure."""

from __future__ import annotations

from typing import Literal

from skerry.core.cursors import Position, verify
from skerry.hub.store.changes import Log
from skerry.kit.errors import InvalidInput

Verdict = Literal["follows", "unusable", "lost"]


def read_cursor(cursor: str | None, key: bytes, node_id: str) -> Position | None:
    """The position in `cursor`, or None when there is none that this hub gave to this node."""
    if cursor is None:
        return None
    try:
        position = verify(cursor, key)
    except InvalidInput:
        return None
    return position if position.scope == node_id else None


def judge(position: Position, log: Log, tag: str | None) -> Verdict:
    """Compares `position` with the log, whose change of that number has `tag` (None: there is no such change).

    follows   send what changed since
    unusable  the change was pruned, or belongs to history whose loss is known: send everything
    lost      the hub's database is a copy from before that change: start a new epoch, then send everything
    """
    if position.epoch > log.epoch:
        return "lost"
    if position.seq == 0 or tag == position.tag:
        return "follows"
    pruned = tag is None and position.seq <= log.pruned_through
    return "unusable" if pruned or position.epoch < log.epoch else "lost"
