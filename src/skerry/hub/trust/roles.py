"""Roles: those of every installation, those of the hub's settings, and those that were made with `skerry access role`.

A role of the settings is stronger than one of the same name that was made. A name is used once, so what a token or a
user was given means one thing for ever; who has a role that is gone may do nothing.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select, update
from sqlalchemy.exc import IntegrityError

from skerry.core.own_roles import own_role
from skerry.core.roles import PERMISSIONS, ROLES, Role, role_named
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.people_tables import access_role
from skerry.hub.store.tables import FLEET
from skerry.kit.clock import Clock
from skerry.kit.errors import NotFound, Refused
from skerry.wire.access import RoleRequest, RoleView


class Roles:
    """The roles of one fleet, as this hub process knows them: `fixed` ones, built in or from its settings, and made ones."""

    def __init__(self, store: HubStore, clock: Clock, fixed: Mapping[str, Role]) -> None:
        self._store = store
        self._clock = clock
        self._fixed = fixed

    def kept(self, connection: Connection, name: str) -> Role:
        """The role that was kept under this name; one that nobody knows any more may do nothing."""
        return self._fixed.get(name) or _made(connection, name) or Role(name)

    def wanted(self, connection: Connection, name: str) -> Role:
        """The role that somebody wants to give. Raises InvalidInput with the nearest name."""
        query = select(access_role).where(
            access_role.c.fleet_id == FLEET, access_role.c.deleted_at.is_(None)
        )
        made = {row.name: _role(row) for row in connection.execute(query)}
        return role_named(name, {**made, **self._fixed})

    async def create(self, asked: RoleRequest, by: str) -> RoleView:
        """A role of one's own. Raises InvalidInput, and Refused when the name was used before."""
        role = own_role(asked.name, asked.permissions, asked.on)
        now = self._clock.wall_ns()
        row = {
            "fleet_id": FLEET, "name": role.name, "permissions": " ".join(role.permissions),
            "labels": msgspec.json.encode(dict(role.on)).decode(), "created_at": now, "created_by": by,
        }  # fmt: skip
        taken = Refused(
            f"cannot create role «{role.name}»: there is or was one of this name. Choose another name."
        )
        if role.name in self._fixed:
            raise taken

        def work(connection: Connection) -> None:
            try:
                connection.execute(access_role.insert(), row)
            except IntegrityError as error:
                raise taken from error

        await self._store.write(work)
        return RoleView(role.name, list(role.permissions), dict(role.on), "made", now, by)

    async def list(self) -> builtins.list[RoleView]:
        """Every role that can be given, by name."""
        query = select(access_role).where(
            access_role.c.fleet_id == FLEET, access_role.c.deleted_at.is_(None)
        )
        rows = await self._store.read(lambda connection: connection.execute(query).all())
        found = {
            row.name: _view(_role(row), "made", row.created_at, row.created_by) for row in rows
        }
        for role in self._fixed.values():
            origin = "built in" if ROLES.get(role.name) == role else "settings"
            found[role.name] = _view(role, origin)
        return [found[name] for name in sorted(found)]

    async def delete(self, name: str) -> None:
        """Takes a role away from whoever has it, at the next request. Raises NotFound, and Refused (not a made one)."""
        if name in self._fixed:
            raise Refused(
                f"cannot delete role «{name}»: it is built in, or from the hub's settings"
            )
        gone = (
            update(access_role)
            .where(access_role.c.fleet_id == FLEET, access_role.c.name == name)
            .values(deleted_at=func.coalesce(access_role.c.deleted_at, self._clock.wall_ns()))
        )
        count = await self._store.write(lambda connection: connection.execute(gone).rowcount)
        if not count:
            raise NotFound(
                f"cannot delete role «{name:.80}»: there is none of this name. skerry access role list shows all."
            )


def _made(connection: Connection, name: str) -> Role | None:
    query = select(access_role).where(
        access_role.c.fleet_id == FLEET,
        access_role.c.name == name,
        access_role.c.deleted_at.is_(None),
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _role(row)


def _role(row: Any) -> Role:  # noqa: ANN401 - a row of the table
    words, labels = row.permissions.split(), msgspec.json.decode(row.labels, type=dict[str, str])
    known = tuple(each for each in PERMISSIONS if each in words)
    return Role(row.name, known, tuple(sorted(labels.items())))


def _view(role: Role, origin: str, created_at: int | None = None, by: str = "") -> RoleView:
    return RoleView(role.name, list(role.permissions), dict(role.on), origin, created_at, by)
