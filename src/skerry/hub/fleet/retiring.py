"""Taking devices out of service: drained and heard to the end where they can be reached, refused at once where they cannot.

    drain (no work, an order to send everything) ─► refused, tombstone ─► told to erase itself ─► certificate of erasure

Each step is in the database before the next begins, so a hub that starts again goes on; `settle` is one of its loops.
Whoever comes with the credential of a device that is out of service gets the order to erase itself, and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Column, Connection, Row, select, update

from skerry.core.credentials import secret_hash
from skerry.core.roles import Role
from skerry.hub.fleet.assignments import Assignments
from skerry.hub.fleet.commands import Commands, any_open, read_commands
from skerry.hub.fleet.device_views import device_views, find_device
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.fleet.removal import remove
from skerry.hub.fleet.reservations import new_row, void_token
from skerry.hub.fleet.views import heard
from skerry.hub.store import locks
from skerry.hub.store.bodies import ERASURE, Bodies
from skerry.hub.store.device_tables import device
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import FLEET, node
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput, Refused
from skerry.kit.tasks import Guard, Tasks
from skerry.wire.codec import decode, encode
from skerry.wire.devices import (
    NOT_TAKEN,
    Erasure,
    ErasureReport,
    ErasureTaken,
    ErasureView,
    WipeOrder,
)

DRAIN_TTL = 365 * 86400.0
"""Seconds for which a node may still begin to drain: it was asked to while it was online."""

SETTLE_EVERY = 1.0
_MAX_REASON = 500
_MAX_STATEMENT = 65_536


class _Kept(msgspec.Struct, frozen=True):
    """A certificate as `device.erasure` has it."""

    received_at: int
    statement: str
    mac: str


class Taken(NamedTuple):
    """The answer to a certificate; `is_new`: it was not kept before."""

    answer: ErasureTaken
    is_new: bool


class Retiring:
    """`notify` as in `Nodes`; `ended` is called with a device's id, after the commit, when it is out of service."""

    def __init__(  # noqa: PLR0913 - all that a device leaves
        self,
        store: HubStore,
        nodes: Nodes,
        assignments: Assignments,
        commands: Commands,
        clock: Clock,
        *,
        notify: Callable[[str], None],
        ended: Callable[[str], None],
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._assignments = assignments
        self._commands = commands
        self._clock = clock
        self._notify = notify
        self._ended = ended

    async def decommission(
        self, name: str, reason: str, by: str, *, now: bool, role: Role | None = None
    ) -> str:
        """Takes a device out of service; returns its id. One that is so already stays as it is.

        One that is online drains first, unless it is to be `now`; one that is not is refused from now on, and what it has
        not sent is lost. Raises NotFound, InvalidInput, Refused.
        """
        if len(reason) > _MAX_REASON:
            raise InvalidInput(
                f"cannot decommission device «{name}»: a reason has at most {_MAX_REASON} characters"
            )

        def work(connection: Connection) -> tuple[str, bool]:
            locks.of_fleet(connection)
            device_id = find_device(connection, name, "decommission", role)
            its = select(device.c.decision).where(device.c.id == device_id)
            decision = connection.execute(its).scalar() or ""
            if decision == "decommissioned":
                return device_id, False
            if now or not self._is_online(connection, device_id):
                self._end(connection, device_id, reason, by)
                return device_id, True
            if decision != "draining":
                self._check_takes_orders(connection, device_id)
                self._drain(connection, device_id, reason, by)
            return device_id, False

        device_id, is_over = await self._store.write(work)
        if is_over:
            self._forget([device_id])
        else:
            self._notify(device_id)
        return device_id

    async def settle(self) -> bool:
        """Takes devices out of service that have drained, and takes over what became of orders; whether there was any."""
        if not await self._store.read(_any_work):
            return False

        def work(connection: Connection) -> list[str]:
            locks.of_fleet(connection)
            self._commands.settle(connection)
            return [one for one in _draining(connection) if self._has_drained(connection, one)]

        self._forget(await self._store.write(work))
        return True

    def follow(self, tasks: Tasks, chance: random.Random, changed: Callable[[], None]) -> None:
        """Settles for as long as the tasks run; calls `changed` when there was something to do."""
        guard = Guard("orders to devices", self._clock, chance)

        async def once() -> None:
            if await self.settle():
                changed()

        async def run() -> None:
            while True:
                await guard.run(once)
                await self._clock.sleep(SETTLE_EVERY)

        tasks.forever(run(), name="orders to devices")

    async def order_for(self, bearer: str) -> WipeOrder | None:
        """What a device that is out of service is told, by the secret that it had."""
        node_id, _, secret = bearer.partition(".")
        return await self._order(node_id, device.c.secret_hash, secret_hash(secret))

    async def order_for_key(self, node_id: str, key_hash: str) -> WipeOrder | None:
        """The same, by the key that its connection has proved."""
        return await self._order(node_id, device.c.key_hash, key_hash)

    async def _order(self, node_id: str, kept: Column[str], shown: str) -> WipeOrder | None:
        its = device.c
        query = select(its.name, kept.label("kept"), its.decided_at, its.reason).where(
            its.id == node_id, its.decision == "decommissioned"
        )
        row = await self._store.read(lambda connection: connection.execute(query).first())
        if row is None or not row.kept or not hmac.compare_digest(row.kept, shown):
            return None
        hub_id, receipt = self._store.facts.hub_id, self._receipt(node_id)
        return WipeOrder(node_id, row.name, hub_id, receipt, row.decided_at, row.reason)

    async def take_erasure(self, report: ErasureReport) -> Taken:
        """Keeps a certificate of erasure; the first one stays. Raises Refused unless the device was told to make it."""
        statement = report.statement.encode()
        right = hmac.new(self._receipt(report.node_id).encode(), statement, "sha256").hexdigest()
        if len(statement) > _MAX_STATEMENT or not hmac.compare_digest(
            right.encode(), report.mac.encode()
        ):
            raise Refused(f"{NOT_TAKEN}: it is not of a device of this hub")
        erased = decode(statement, Erasure, "the certificate of erasure")
        if erased.node_id != report.node_id:
            raise Refused(f"{NOT_TAKEN}: it is another device's")
        now = self._clock.wall_ns()
        kept = encode(_Kept(now, report.statement, report.mac))

        def work(connection: Connection) -> bool:
            sealed = Bodies.of(connection).seal(ERASURE, kept, report.node_id)
            its = update(device).where(
                device.c.id == report.node_id,
                device.c.decision == "decommissioned",
                device.c.erased_at == 0,
            )
            return connection.execute(its.values(erasure=sealed, erased_at=now)).rowcount == 1

        is_new = await self._store.write(work)
        return Taken(ErasureTaken(hashlib.sha256(statement).hexdigest()), is_new)

    def _check_takes_orders(self, connection: Connection, device_id: str) -> None:
        [view] = device_views(connection, {}, self._clock.wall_ns(), [device_id])
        if view.inventory is not None and "orders" not in view.inventory.capabilities:
            raise Refused(
                f"cannot drain device «{view.name}»: its agent takes no orders. Update it, or decommission it with --now."
            )

    def _drain(self, connection: Connection, device_id: str, reason: str, by: str) -> None:
        row = connection.execute(
            select(node.c.name, node.c.enrolled_at).where(node.c.id == device_id)
        ).one()
        held = connection.execute(select(device.c.id).where(device.c.id == device_id)).first()
        if held is None:
            connection.execute(device.insert(), new_row(device_id, row.name, row.enrolled_at, ""))
        decided = {
            "decision": "draining",
            "decided_at": self._clock.wall_ns(),
            "decided_by": by,
            "reason": reason,
        }
        connection.execute(update(device).where(device.c.id == device_id).values(**decided))
        self._assignments.clear_node(connection, device_id)
        self._commands.issue(connection, device_id, "decommission", by, DRAIN_TTL)

    def _has_drained(self, connection: Connection, device_id: str) -> bool:
        """Takes the device out of service if its node has said that the hub has everything, or can say nothing any more."""
        orders = read_commands(connection, device_id, self._clock.wall_ns())
        newest = next((one for one in orders if one.action == "decommission"), None)
        row = connection.execute(select(device).where(device.c.id == device_id)).one()
        its = (node.c.id == device_id, node.c.revoked_at.is_not(None))
        was_revoked = connection.execute(select(node.c.id).where(*its)).first() is not None
        if was_revoked or (newest is not None and newest.state == "done"):
            self._end(connection, device_id, row.reason, row.decided_by)
            return True
        if newest is None or newest.state in {"failed", "expired", "unknown"}:
            self._commands.issue(connection, device_id, "decommission", row.decided_by, DRAIN_TTL)
        return False

    def _end(self, connection: Connection, device_id: str, reason: str, by: str) -> None:
        """The credential is refused from this commit on; what stays is the tombstone."""
        now = self._clock.wall_ns()
        was = connection.execute(select(node).where(node.c.id == device_id)).first()
        held = connection.execute(select(device).where(device.c.id == device_id)).first()
        row = self._before(device_id, was, held)
        if not row["decision"]:
            row |= {"decided_at": now, "decided_by": by, "reason": reason}
        void_token(connection, None if held is None else held.token_hash)
        if was is not None:
            row |= {
                "secret_hash": was.secret_hash,
                "key_hash": was.key_hash or was.revoked_key_hash,
                "enrolled_at": was.enrolled_at,
                "version": was.version,
                "last_seen": heard(device_id, was.last_seen, self._nodes.last_seen, now).at,
            }
        row |= {"decision": "decommissioned", "ended_at": now, "token_hash": None}
        self._commands.drop(connection, device_id)
        remove(connection, device_id)
        connection.execute(device.insert(), row)

    @staticmethod
    def _before(device_id: str, was: Row[Any] | None, held: Row[Any] | None) -> dict[str, object]:
        """The device's row as it is, or the one that a node would have."""
        if held is not None:
            return held._asdict()
        if was is None:
            raise Refused(f"cannot decommission device {device_id}: it was deleted meanwhile")
        return new_row(device_id, was.name, was.enrolled_at, "")

    def _is_online(self, connection: Connection, device_id: str) -> bool:
        """One that was revoked is not, however lately it was heard: it can send nothing any more."""
        its = (node.c.id == device_id, node.c.revoked_at.is_(None))
        written = connection.execute(select(node.c.last_seen).where(*its)).scalar()
        if written is None:
            return False
        return heard(device_id, written, self._nodes.last_seen, self._clock.wall_ns()).online

    def _receipt(self, node_id: str) -> str:
        """Known to the hub and to whom it has told to erase itself; derived, so that nothing has to be kept."""
        return hmac.new(
            self._store.facts.cursor_key, f"erasure {node_id}".encode(), "sha256"
        ).hexdigest()

    def _forget(self, ids: list[str]) -> None:
        for device_id in ids:
            self._nodes.forget(device_id)
            self._ended(device_id)


def read_erasure(connection: Connection, device_id: str) -> ErasureView | None:
    """The certificate of a device that has erased itself."""
    body = connection.execute(select(device.c.erasure).where(device.c.id == device_id)).scalar()
    if body is None:
        return None
    kept = decode(Bodies.of(connection).open(ERASURE, body, device_id), _Kept, "a certificate")
    statement = kept.statement.encode()
    return ErasureView(
        kept.received_at,
        hashlib.sha256(statement).hexdigest(),
        kept.statement,
        kept.mac,
        decode(statement, Erasure, "a certificate of erasure"),
    )


def _any_work(connection: Connection) -> bool:
    return any_open(connection) or bool(_draining(connection))


def _draining(connection: Connection) -> list[str]:
    query = select(device.c.id).where(device.c.fleet_id == FLEET, device.c.decision == "draining")
    return list(connection.execute(query).scalars())
