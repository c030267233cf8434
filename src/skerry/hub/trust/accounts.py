"""Users: made, changed and deleted here. Whatever changes of one raises its version, which ends its sessions.

A name is used once, by a token or by a user, and stays: what was noted under it is one's for ever.
"""

from __future__ import annotations

import builtins
from typing import Any

from sqlalchemy import Connection, select, update

from skerry.core.names import name_fault
from skerry.hub.store import locks
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.people_tables import account, sign_in
from skerry.hub.store.tables import FLEET
from skerry.hub.trust.api_tokens import Holder, is_used, person_fault
from skerry.hub.trust.passwords import Passwords, check_password
from skerry.hub.trust.roles import Roles
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.wire.access import UserChange, UserRequest, UserState, UserView


class Accounts:
    """The users of one fleet."""

    def __init__(self, store: HubStore, clock: Clock, roles: Roles, passwords: Passwords) -> None:
        self._store = store
        self._clock = clock
        self._roles = roles
        self._passwords = passwords

    async def create(self, asked: UserRequest, by: str) -> UserView:
        """A new user. Raises InvalidInput (name, role, password), Refused when the name was used before, and Busy."""
        fault = person_fault(asked.name)
        if fault is not None:
            raise InvalidInput(f"cannot create a user: {fault}")
        check_password(asked.password, asked.name)
        now = self._clock.wall_ns()
        row = {
            "fleet_id": FLEET, "name": asked.name, "role": asked.role, "version": 1, "created_at": now,
            "password": await self._passwords.hashed(asked.password), "created_by": by, "changed_at": now,
        }  # fmt: skip

        def work(connection: Connection) -> UserView:
            locks.of_fleet(connection)
            _ = self._roles.wanted(connection, asked.role)
            if is_used(connection, asked.name):
                raise Refused(
                    f"cannot create user «{asked.name}»: there is or was a token or user of this name, and what it did "
                    "is noted under it. Choose another name."
                )
            connection.execute(account.insert(), row)
            return _view(_row(connection, asked.name))

        return await self._store.write(work)

    async def list(self) -> builtins.list[UserView]:
        """Every user that there is or was, by name."""
        query = select(account).where(account.c.fleet_id == FLEET).order_by(account.c.name)
        return await self._store.read(
            lambda connection: [_view(row) for row in connection.execute(query)]
        )

    async def change(self, name: str, asked: UserChange) -> UserView:
        """Changes what is asked; the user's sessions end. Raises NotFound, InvalidInput, Refused (deleted) and Busy."""
        values: dict[str, object] = {}
        now = self._clock.wall_ns()
        if asked.password is not None:
            check_password(asked.password, name)
            values["password"] = await self._passwords.hashed(asked.password)
        if asked.role is not None:
            values["role"] = asked.role
        if asked.enabled is not None:
            values["disabled_at"] = None if asked.enabled else now
        return await self._alter(name, "change", values)

    async def delete(self, name: str) -> UserView:
        """Forgets the user's password for good; the name stays. Raises NotFound."""
        return await self._alter(
            name, "delete", {"password": "", "deleted_at": self._clock.wall_ns()}
        )

    async def _alter(self, name: str, verb: str, values: dict[str, object]) -> UserView:
        now = self._clock.wall_ns()

        def work(connection: Connection) -> UserView:
            locks.of_fleet(connection)
            row = _row(connection, name)
            if row is None:
                raise NotFound(
                    f"cannot {verb} user «{name:.80}»: there is none of this name. skerry access user list shows all."
                )
            if row.deleted_at is not None:
                if verb == "delete":
                    return _view(row)
                raise Refused(f"cannot {verb} user «{name}»: it is deleted, which is for good")
            if "role" in values:
                _ = self._roles.wanted(connection, str(values["role"]))
            connection.execute(
                update(account)
                .where(account.c.fleet_id == FLEET, account.c.name == name)
                .values(version=account.c.version + 1, changed_at=now, **values)
            )
            connection.execute(
                sign_in.delete().where(sign_in.c.fleet_id == FLEET, sign_in.c.who == name)
            )
            return _view(_row(connection, name))

        return await self._store.write(work)

    async def proven(self, name: str, password: str) -> Holder | None:
        """The user, if the password is the right one. Takes as long for a user that is none. Raises Busy."""
        found = await self._store.read(lambda connection: _row(connection, name))
        usable = found is not None and found.deleted_at is None
        if not await self._passwords.fit(password, found.password if usable else None):
            return None
        holder = await self._store.read(lambda connection: self.named(connection, name))
        return None if holder is None or holder.fault else holder

    async def known(self, name: str) -> str:
        """The name if it is or was a user's, else nothing."""
        row = await self._store.read(lambda connection: _row(connection, name))
        return name if row is not None else ""

    def named(self, connection: Connection, name: str) -> Holder | None:
        """The user of this name; `fault` says why it may not do anything."""
        row = _row(connection, name)
        if row is None:
            return None
        role = self._roles.kept(connection, row.role)
        state = _state(row)
        fault = "" if state == "enabled" else f"user «{name}» is {state}"
        return Holder(row.name, role, fault, row.version)


def _row(connection: Connection, name: str) -> Any:  # noqa: ANN401 - a row of the table
    if name_fault(name) is not None:
        return None  # nor could every database look for it
    query = select(account).where(account.c.fleet_id == FLEET, account.c.name == name)
    return connection.execute(query).one_or_none()


def _state(row: Any) -> UserState:  # noqa: ANN401 - a row of the table
    if row.deleted_at is not None:
        return "deleted"
    return "disabled" if row.disabled_at is not None else "enabled"


def _view(row: Any) -> UserView:  # noqa: ANN401 - a row of the table
    return UserView(row.name, row.role, _state(row), row.created_at, row.created_by, row.changed_at)
