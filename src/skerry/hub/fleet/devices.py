"""Devices: registered before they come, listed, restarted. `retiring` takes them out of service.

Where a device stands follows from what is known (`core.device_states`); stored are only what people decide, and what a
device needs before it is a node.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from sqlalchemy import Connection, select, update

from skerry.core.credentials import secret_hash
from skerry.core.names import holds_control, name_fault
from skerry.core.roles import Role
from skerry.core.selection import selects
from skerry.hub.fleet.assignments import Assignments
from skerry.hub.fleet.commands import Commands, read_command, read_commands
from skerry.hub.fleet.covering import is_for
from skerry.hub.fleet.device_history import read_history
from skerry.hub.fleet.device_views import device_outlines, device_views, find_device
from skerry.hub.fleet.edge_orders import check_order, needs
from skerry.hub.fleet.fingerprints import assign, told_by
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.fleet.reservations import new_row, void_token
from skerry.hub.fleet.retiring import Retiring, read_erasure
from skerry.hub.fleet.tokens import Tokens
from skerry.hub.fleet.views import own_statuses
from skerry.hub.store import locks
from skerry.hub.store.device_tables import device
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import FLEET, node
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.kit.ids import uuid7
from skerry.kit.nearest import did_you_mean
from skerry.kit.one_line import one_line
from skerry.wire.devices import (
    DEVICE_STATES,
    CommandView,
    DeviceDetail,
    DevicePage,
    EdgeOrder,
    Provisioned,
)
from skerry.wire.workload import Selector

MOST_LISTED = 1000
RESTART_TTL = 3600.0
LONGEST_TTL = 30 * 86400.0

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAX_WORD = 255
_SORTS: dict[str, Callable[[Any], object]] = {
    "name": lambda view: view.name,
    "state": lambda view: DEVICE_STATES.index(
        view.state
    ),  # of a DeviceView; the others of an Outline, too
    "last_seen": lambda view: view.last_seen,
    "registered_at": lambda view: view.registered_at,
    "version": lambda view: view.version,
}


@dataclass(frozen=True)
class Wanted:
    """Which devices are listed, and in which order: `sort` is a field, with «-» before it from the greatest down."""

    labels: dict[str, str] = field(default_factory=dict)
    state: str | None = None
    sort: str = "name"
    limit: int = 100
    offset: int = 0
    role: Role | None = None
    """Of whoever asks: others than those that it is for are not there."""

    def fits(self, name: str, labels: dict[str, str]) -> bool:
        """Whether it is of those that are asked for, by what is known of it."""
        return selects(Selector(labels=self.labels), name, labels) and is_for(self.role, labels)


@dataclass(frozen=True)
class Address:
    """How people reach a device: what scripts ask for. None leaves it as it is."""

    ip_address: str | None = None
    ssh_user: str | None = None


def _page(connection: Connection, wanted: Wanted, seen: Mapping[str, int], now: int) -> DevicePage:
    """What devices have told is read for those of the page alone, unless their states decide who that is."""
    part = slice(wanted.offset, wanted.offset + wanted.limit)
    key, reverse = _SORTS[wanted.sort.removeprefix("-")], wanted.sort.startswith("-")
    if wanted.state is None and wanted.sort.removeprefix("-") != "state":
        outlines = [
            each
            for each in device_outlines(connection, seen)
            if wanted.fits(each.name, each.labels)
        ]
        outlines.sort(key=key, reverse=reverse)  # type: ignore[arg-type]  # each sorts by one kind
        ids = [each.id for each in outlines[part]]
        views = {view.id: view for view in device_views(connection, seen, now, ids)}
        return DevicePage([views[each] for each in ids], len(outlines))
    found = [
        view
        for view in device_views(connection, seen, now)
        if wanted.state in {None, view.state} and wanted.fits(view.name, view.labels)
    ]
    found.sort(key=key, reverse=reverse)  # type: ignore[arg-type]  # as above
    return DevicePage(found[part], len(found))


class Devices:
    """`notify` as in `Nodes`."""

    def __init__(
        self,
        store: HubStore,
        nodes: Nodes,
        tokens: Tokens,
        commands: Commands,
        clock: Clock,
        notify: Callable[[str], None],
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._tokens = tokens
        self._commands = commands
        self._clock = clock
        self._notify = notify

    async def list(self, wanted: Wanted) -> DevicePage:
        """Those that are asked for. Raises InvalidInput."""
        sort = wanted.sort.removeprefix("-")
        if sort not in _SORTS:
            raise InvalidInput(
                f"cannot sort devices by «{one_line(sort[:64])}»: {did_you_mean(sort, _SORTS)}"
            )
        if wanted.state is not None and wanted.state not in DEVICE_STATES:
            raise InvalidInput(
                f"cannot list devices that are «{one_line(wanted.state[:64])}»: a state is one of {', '.join(DEVICE_STATES)}"
            )
        if not 1 <= wanted.limit <= MOST_LISTED or wanted.offset < 0:
            raise InvalidInput(
                f"cannot list devices: limit is 1 to {MOST_LISTED}, offset 0 or more"
            )
        seen, now = dict(self._nodes.last_seen), self._clock.wall_ns()
        return await self._store.read(lambda connection: _page(connection, wanted, seen, now))

    async def get(self, name: str, role: Role | None = None) -> DeviceDetail:
        """One device, by its id or name. Raises NotFound, as all below for one that the role is not for."""
        seen, now = dict(self._nodes.last_seen), self._clock.wall_ns()

        def read(connection: Connection) -> DeviceDetail:
            device_id = find_device(connection, name, "show", role)
            [view] = device_views(connection, seen, now, [device_id])
            return DeviceDetail(
                **msgspec.structs.asdict(view),
                commands=read_commands(connection, device_id, now),
                history=read_history(connection, device_id),
                erasure=read_erasure(connection, device_id),
                own=own_statuses(connection, device_id),
            )

        return await self._store.read(read)

    async def provision(
        self, name: str, address: Address, ttl: float, by: str, role: Role | None = None
    ) -> Provisioned:
        """Registers a device of this name, or finds it; one that has not enrolled gets a new token, its one before is void.

        A role for some nodes only registers none: what has no labels is not its own. Raises InvalidInput, NotFound (an id that is none), Refused (out of service, or on its way).
        """
        fault = name_fault(name)
        if fault is not None:
            raise InvalidInput(f"cannot provision the device: {fault}")
        for word in (address.ip_address, address.ssh_user):
            if word is not None and (len(word) > _MAX_WORD or holds_control(word)):
                raise InvalidInput(
                    "cannot provision the device: its address or user is no word of one line"
                )
        token = await self._tokens.create(ttl)

        def work(connection: Connection) -> Provisioned:
            locks.of_fleet(connection)
            if role is not None and role.scoped:
                _ = find_device(connection, name, "provision", role)
            device_id, enrolled = self._registered(connection, name, by)
            given = {key: value for key, value in vars(address).items() if value is not None} | (
                {} if enrolled else {"token_hash": secret_hash(token.token)}
            )
            if not enrolled:
                old = select(device.c.token_hash).where(device.c.id == device_id)
                void_token(connection, connection.execute(old).scalar())
            if given:
                connection.execute(update(device).where(device.c.id == device_id).values(**given))
            [view] = device_views(connection, {}, self._clock.wall_ns(), [device_id])
            if enrolled:
                return Provisioned(device_id, view.name, view.state)
            return Provisioned(device_id, view.name, view.state, token.token, token.expires_at)

        return await self._store.write(work)

    async def restart(
        self, name: str, ttl: float, by: str, role: Role | None = None
    ) -> CommandView:
        """Tells a device to end its workloads and to start itself and them anew, within `ttl` seconds from now or not at all.

        Asked again before it has begun, it is the same order. Raises NotFound, InvalidInput, Refused.
        """
        if not 1 <= ttl <= LONGEST_TTL:
            raise InvalidInput(
                f"cannot restart device «{name}»: it may be told for 1 second to {LONGEST_TTL / 86400:.0f} days"
            )

        def work(connection: Connection) -> tuple[str, CommandView]:
            locks.of_fleet(connection)
            device_id = find_device(connection, name, "restart", role)
            [view] = device_views(connection, {}, self._clock.wall_ns(), [device_id])
            if view.state in {"registered", "draining", "decommissioned"}:
                raise Refused(f"cannot restart device «{view.name}»: it is {view.state}")
            if view.inventory is not None and "orders" not in view.inventory.capabilities:
                raise Refused(f"cannot restart device «{view.name}»: its agent takes no orders")
            return device_id, self._commands.issue(connection, device_id, "restart", by, ttl)

        device_id, given = await self._store.write(work)
        self._notify(device_id)
        return given

    async def order(
        self, name: str, asked: EdgeOrder, ttl: float, by: str, role: Role | None = None
    ) -> CommandView:
        """Orders something about twins, drivers or workers, to be begun within `ttl` seconds from now or not at all.

        Given again with the same request it is the same order. Raises NotFound, InvalidInput, TooLarge, Refused.
        """
        check_order(name, asked, ttl)
        needed, what = needs(asked.action)

        def work(connection: Connection) -> tuple[str, CommandView]:
            locks.of_fleet(connection)
            device_id = find_device(connection, name, "order", role)
            [view] = device_views(connection, {}, self._clock.wall_ns(), [device_id])
            if view.state in {"registered", "draining", "decommissioned"}:
                raise Refused(f"cannot order device «{view.name}»: it is {view.state}")
            if view.inventory is None or needed not in view.inventory.capabilities:
                raise Refused(
                    f"cannot order device «{view.name}»: its agent takes no {what}. Update it."
                )
            return device_id, self._commands.order(connection, device_id, asked, by, ttl)

        device_id, given = await self._store.write(work)
        self._notify(device_id)
        return given

    async def order_given(self, name: str, order: str, role: Role | None = None) -> CommandView:
        """What became of an order to a device. Raises NotFound."""

        def read(connection: Connection) -> CommandView:
            device_id = find_device(connection, name, "show an order to", role)
            found = read_command(connection, device_id, order, self._clock.wall_ns())
            if found is None:
                raise NotFound(
                    f"cannot show order «{one_line(order[:64])}» to device «{name}»: there is none, or it is too long ago"
                )
            return found

        return await self._store.read(read)

    async def know_as(
        self, name: str, fingerprint: str | None, role: Role | None = None
    ) -> DeviceDetail:
        """Keeps which device of Cyberwave's twins this one is; None: as it says itself now. Raises NotFound, InvalidInput, Refused."""

        def work(connection: Connection) -> str:
            device_id = find_device(connection, name, "identify", role)
            [view] = device_views(connection, {}, self._clock.wall_ns(), [device_id])
            if not view.enrolled_at or view.state == "decommissioned":
                raise Refused(f"cannot identify device «{view.name}»: it is {view.state}")
            told = told_by(connection, device_id) if fingerprint is None else fingerprint
            if fingerprint is None and not told:
                raise Refused(
                    f"cannot identify device «{view.name}»: it tells no fingerprint. Give one, or set cyberwave.enabled on it."
                )
            assign(connection, device_id, view.name, told)
            return device_id

        return await self.get(await self._store.write(work))

    async def update(self, name: str, role: Role | None = None) -> None:
        """Raises NotFound, or Refused: releases are not distributed by the hub yet."""
        await self._store.read(lambda connection: find_device(connection, name, "update", role))
        raise Refused(
            f"cannot update device «{name}»: this hub distributes no releases yet. Install the newer Skerry on the device "
            "itself and restart it; its workloads go on meanwhile."
        )

    def _registered(self, connection: Connection, name: str, by: str) -> tuple[str, bool]:
        """The device's id, and whether it is a node already. It has a row afterwards."""
        its = device.c
        row = connection.execute(
            select(its.id, its.name, its.decision)
            .where(its.fleet_id == FLEET, (its.id == name) | (its.name == name))
            .order_by(its.id != name, its.decision == "decommissioned")
        ).first()
        held = connection.execute(
            select(node.c.id, node.c.name).where(
                node.c.fleet_id == FLEET, (node.c.id == name) | (node.c.name == name)
            )
        ).first()
        if row is not None and (row.decision == "draining" or (row.decision and row.id == name)):
            raise Refused(
                f"cannot provision device «{row.name}»: it is {row.decision}. "
                + ("A new device may have its name, and a new id." if row.id == name else "")
            )
        if held is not None and (row is None or row.id != held.id):
            self._insert(connection, held.id, held.name, by)
        if held is not None:
            return held.id, True
        if row is not None and not row.decision:
            return row.id, False
        if _ID.fullmatch(name):
            raise NotFound(
                f"cannot provision device {name}: there is none of this id. Give its name."
            )
        device_id = uuid7(self._clock)
        self._insert(connection, device_id, name, by)
        return device_id, False

    def _insert(self, connection: Connection, device_id: str, name: str, by: str) -> None:
        connection.execute(device.insert(), new_row(device_id, name, self._clock.wall_ns(), by))


class LiveLinks(Protocol):
    """The live links of nodes (`hub.link.Links`)."""

    def notify(self, node_id: str) -> None:
        """There is news for the node."""
        ...

    def end(self, node_id: str) -> None:
        """The node may speak no more."""
        ...


def build_devices(
    store: HubStore, nodes: Nodes, assignments: Assignments, links: LiveLinks, clock: Clock
) -> tuple[Tokens, Devices, Retiring]:
    """Tokens, devices, and their ends."""
    tokens, orders = Tokens(store, clock), Commands(clock)
    retiring = Retiring(
        store, nodes, assignments, orders, clock, notify=links.notify, ended=links.end
    )
    return tokens, Devices(store, nodes, tokens, orders, clock, links.notify), retiring
