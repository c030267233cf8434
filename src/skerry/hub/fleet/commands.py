"""Orders to nodes: written for people in `command`, for the node as a row that it pulls; its answer is a row that it pushes.

An order is given once while it stands, begun by its node before it expires or never, and told to have ended as the
node said. What cannot be repeated is not begun twice: see `node.orders`.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, Row, delete, func, select, update

from skerry.hub.store import changes, rows
from skerry.hub.store.bodies import COMMAND_REPLY, STATE, Bodies
from skerry.hub.store.device_tables import command
from skerry.hub.store.tables import FLEET, state
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import InvalidInput, Refused
from skerry.kit.hlc import HybridClock
from skerry.kit.ids import uuid7
from skerry.wire.codec import decode, encode
from skerry.wire.devices import (
    ENDED,
    Action,
    Command,
    CommandState,
    CommandView,
    EdgeOrder,
    Outcome,
)
from skerry.wire.sync import StateRow

COMMAND, OUTCOME = "command", "outcome"
_OPEN = ("queued", "started")
_ORIGIN = "hub"

LATE = 300.0
"""Seconds after its expiry for which the answer to an order is waited for: the node may be telling it."""

SHOWN = 20
"""Orders of one device that people are shown, the newest first."""

MOST_OPEN = 100
"""Orders about twins that one device has not ended."""

KEPT = 1000
"""Orders of one device of which is known what became of them."""

_NEVER_BEGUN = "the device was not heard of in time: nothing was done"


class _Key(NamedTuple):
    node_id: str
    command: str


class Commands:
    """Writes orders, within the caller's transaction, which holds the fleet's lock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hlc = HybridClock(clock)

    def issue(
        self, connection: Connection, node_id: str, action: Action, issuer: str, ttl: float
    ) -> CommandView:
        """The order of this kind that stands, or a new one that may be begun for `ttl` seconds."""
        standing = [
            one
            for one in read_commands(connection, node_id, self._clock.wall_ns())
            if one.action == action and one.state in _OPEN
        ]
        if standing:
            return standing[0]
        now = self._clock.wall_ns()
        given = Command(uuid7(self._clock), action, now, now + int(ttl * NS), issuer)
        return self._give(connection, node_id, given)

    def order(
        self, connection: Connection, node_id: str, asked: EdgeOrder, issuer: str, ttl: float
    ) -> CommandView:
        """An order about twins, or the one that was given by the same request. Raises Refused where too many stand."""
        now = self._clock.wall_ns()
        its_id = _id_of(node_id, asked) if asked.request else uuid7(self._clock)
        known = read_command(connection, node_id, its_id, now) if asked.request else None
        if known is not None:
            return known
        self.settle(connection, node_id)
        if _count_open(connection, node_id) >= MOST_OPEN:
            raise Refused(
                f"cannot order it: {MOST_OPEN} orders to this device have not ended. Wait until it has answered, or they expire."
            )
        _forget_old(connection, node_id)
        until = now + int(ttl * NS)
        told = (asked.request, asked.twin, asked.payload)
        return self._give(
            connection, node_id, Command(its_id, asked.action, now, until, issuer, *told)
        )

    def _give(self, connection: Connection, node_id: str, given: Command) -> CommandView:
        self._write(connection, [(node_id, given.id, given)])
        row = {
            "fleet_id": FLEET,
            "node_id": node_id,
            "id": given.id,
            "action": given.action,
            "issuer": given.issuer,
            "issued_at": given.issued_at,
            "expires_at": given.expires_at,
            "state": "queued",
            "updated_at": given.issued_at,
            "message": "",
        }
        connection.execute(command.insert(), row)
        at = given.issued_at
        return CommandView(given.id, given.action, "queued", at, given.expires_at, given.issuer, at)

    def settle(self, connection: Connection, node_id: str | None = None) -> None:
        """Takes over what nodes, or this one alone, have told, and takes orders that have ended away from them."""
        now = self._clock.wall_ns()
        its = command.c
        query = select(command).where(its.fleet_id == FLEET, its.state.in_(_OPEN))
        if node_id is not None:
            query = query.where(its.node_id == node_id)
        found = connection.execute(query).all()
        told = read_outcomes(connection, {row.node_id for row in found})
        over = []
        bodies = Bodies.of(connection)
        for row in found:
            view = shown(row, told.get(_Key(row.node_id, row.id)), now)
            if (view.state, view.message) == (row.state, row.message):
                continue
            reached = {
                "state": view.state,
                "message": view.message,
                "updated_at": view.updated_at,
            }
            if view.reply:
                reached["reply"] = bodies.seal(COMMAND_REPLY, view.reply.encode(), row.id)
            connection.execute(update(command).where(its.id == row.id).values(**reached))
            if view.state in ENDED:
                over.append((row.node_id, row.id, None))
        self._write(connection, over)

    def drop(self, connection: Connection, node_id: str) -> None:
        """The node takes no orders any more: those that stand are taken over as they are, or have failed."""
        self.settle(connection, node_id)
        open_ = update(command).where(command.c.node_id == node_id, command.c.state.in_(_OPEN))
        now = self._clock.wall_ns()
        connection.execute(
            open_.values(state="failed", message="the device was decommissioned", updated_at=now)
        )

    def _write(
        self, connection: Connection, orders: Sequence[tuple[str, str, Command | None]]
    ) -> None:
        """Puts orders (node, id) before their nodes, or takes them away."""
        if not orders:
            return
        first = changes.allot(connection, len(orders))
        hlc, at = self._hlc.tick(), self._clock.wall_ns()
        scoped = [
            rows.Scoped(
                node_id,
                StateRow(
                    entity=COMMAND,
                    id=order_id,
                    rev=seq,
                    hlc=hlc,
                    origin=_ORIGIN,
                    deleted=given is None,
                    body=msgspec.Raw(b"{}" if given is None else encode(given)),
                ),
            )
            for seq, (node_id, order_id, given) in enumerate(orders, first)
        ]
        rows.write(connection, scoped, at)
        written = [
            changes.Change(one.row.rev, one.scope, COMMAND, one.row.id, _ORIGIN) for one in scoped
        ]
        changes.append(connection, written, at)


def _id_of(node_id: str, asked: EdgeOrder) -> str:
    """The same for the same request to the same device."""
    words = f"{node_id}\0{asked.action}\0{asked.request}"
    return str(uuid.UUID(bytes=hashlib.sha256(words.encode()).digest()[:16]))


def _count_open(connection: Connection, node_id: str) -> int:
    its = command.c
    query = select(func.count()).where(
        its.fleet_id == FLEET, its.node_id == node_id, its.state.in_(_OPEN)
    )
    return connection.execute(query).scalar_one()


def _forget_old(connection: Connection, node_id: str) -> None:
    its = command.c
    mine = (its.fleet_id == FLEET, its.node_id == node_id)
    newest = select(its.issued_at).where(*mine).order_by(its.issued_at.desc())
    oldest_kept = connection.execute(newest.offset(KEPT - 1).limit(1)).scalar()
    if oldest_kept is not None:
        gone = delete(command).where(*mine, its.issued_at < oldest_kept)
        connection.execute(gone.where(its.state.not_in(_OPEN)))


def any_open(connection: Connection) -> bool:
    """Whether an order stands."""
    query = select(command.c.id).where(command.c.fleet_id == FLEET, command.c.state.in_(_OPEN))
    return connection.execute(query.limit(1)).first() is not None


def read_commands(connection: Connection, node_id: str, now: int) -> list[CommandView]:
    """The newest orders of one device, the newest first, as of `now` (ns since 1970)."""
    its = command.c
    query = select(command).where(its.fleet_id == FLEET, its.node_id == node_id)
    found = connection.execute(query.order_by(its.issued_at.desc()).limit(SHOWN)).all()
    return _views(connection, node_id, found, now)


def read_command(
    connection: Connection, node_id: str, order_id: str, now: int
) -> CommandView | None:
    """One order, as of `now`; None: there is none."""
    its = command.c
    query = select(command).where(its.fleet_id == FLEET, its.node_id == node_id, its.id == order_id)
    views = _views(connection, node_id, connection.execute(query).all(), now)
    return views[0] if views else None


def _views(
    connection: Connection, node_id: str, found: Sequence[Row[tuple[object, ...]]], now: int
) -> list[CommandView]:
    told = read_outcomes(connection, {node_id}) if any(row.state in _OPEN for row in found) else {}
    bodies = Bodies.of(connection)
    views = []
    for row in found:
        view = shown(row, told.get(_Key(node_id, row.id)), now)
        if row.reply is not None:
            kept = bodies.open(COMMAND_REPLY, row.reply, row.id)
            view = msgspec.structs.replace(view, reply=kept.decode())
        views.append(view)
    return views


def read_outcomes(connection: Connection, nodes: Collection[str]) -> Mapping[_Key, Outcome]:
    """What these nodes have told of their orders."""
    its = state.c
    query = select(its.scope, its.id, its.body, its.updated_at).where(
        its.fleet_id == FLEET,
        its.scope.in_(nodes),
        its.entity == OUTCOME,
        its.deleted.is_(False),
    )
    bodies = Bodies.of(connection)
    return {
        _Key(row.scope, row.id): _told(
            bodies.open(STATE, row.body, row.scope, OUTCOME, row.id), row.id, row.updated_at
        )
        for row in connection.execute(query)
    }


def _told(body: bytes, order: str, at: int) -> Outcome:
    """What an older hub let in unchecked ends its own order, and holds up no other one."""
    try:
        return decode(body, Outcome, "an outcome")
    except InvalidInput:
        return Outcome(order, "unknown", at, "the device's answer cannot be read")


def shown(row: Row[tuple[object, ...]], told: Outcome | None, now: int) -> CommandView:
    """An order as of `now`: what its node told last, or that it was never heard."""
    reached: CommandState = row.state
    message, at, left, reply = row.message, row.updated_at, {}, ""
    if reached in _OPEN and told is not None:
        reached, at, left, reply = told.state, told.at, dict(told.left), told.reply
        message = told.message or told.step
    elif reached == "queued" and now > row.expires_at + int(LATE * NS):
        reached, at, message = "expired", now, _NEVER_BEGUN
    return CommandView(
        row.id,
        row.action,
        reached,
        row.issued_at,
        row.expires_at,
        row.issuer,
        at,
        message,
        left,
        reply,
    )
