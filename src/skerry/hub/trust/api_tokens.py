"""API tokens of people: made and revoked here, known by their hashes alone. `api.auth` asks whom one stands for.

Each question reads the database, so a token that has expired or was revoked is refused at the next request, at every
hub process on it. A name is used once and stays: what was noted under it is one token's for ever.
"""

from __future__ import annotations

import builtins
import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from skerry.core.credentials import secret_hash
from skerry.core.names import SOURCES_OF_OUR_OWN, name_fault
from skerry.core.roles import Role
from skerry.hub.store import locks
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.people_tables import account
from skerry.hub.store.tables import FLEET, api_token
from skerry.hub.trust.roles import Roles
from skerry.kit.clock import NS, Clock, iso
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.kit.ids import random_token
from skerry.wire.access import AccessTokenReply, AccessTokenRequest, AccessTokenView, State

ADMINISTRATOR = "admin"
"""Who shows the administrator's token; no other may be called so."""

MAX_TTL = 366 * 86_400.0

_PREFIX = "skt_"
"""By which people and scanners for secrets know one."""

_BYTES = 32
_FORM = re.compile(rf"{_PREFIX}[0-9a-f]{{{2 * _BYTES}}}")
_NAMES_OF_OUR_OWN = SOURCES_OF_OUR_OWN | {ADMINISTRATOR}


@dataclass(frozen=True)
class Bound:
    """What somebody shows is a session: its hash, and when it ends. What comes of it ends with it."""

    session: str = ""
    until: int = 0


UNBOUND = Bound()


@dataclass(frozen=True)
class Holder:
    """Whom a token stands for. `fault` says why it is not taken any more; empty while it is.

    Sessions of an earlier `version` of a user have ended.
    """

    name: str
    role: Role
    fault: str = ""
    version: int = 0
    bound: Bound = UNBOUND


class ApiTokens:
    """The tokens of one fleet."""

    def __init__(self, store: HubStore, clock: Clock, roles: Roles) -> None:
        self._store = store
        self._clock = clock
        self._roles = roles

    async def create(self, asked: AccessTokenRequest, by: str) -> AccessTokenReply:
        """A new token, as `by` wishes. Raises InvalidInput (name, role, ttl), and Refused when the name was used before."""
        _check(asked)
        token = new_token()
        now = self._clock.wall_ns()
        expires_at = now + int(asked.ttl * NS)
        row = {
            "fleet_id": FLEET, "name": asked.name, "hash": secret_hash(token), "role": asked.role, "created_at": now,
            "expires_at": expires_at, "created_by": by,
        }  # fmt: skip

        def work(connection: Connection) -> None:
            locks.of_fleet(connection)
            _ = self._roles.wanted(connection, asked.role)
            if is_used(connection, asked.name):
                raise Refused(
                    f"cannot create token «{asked.name}»: there is or was a token or user of this name, and what it did "
                    "is noted under it. Choose another name."
                )
            connection.execute(api_token.insert(), row)

        await self._store.write(work)
        return AccessTokenReply(asked.name, asked.role, token, expires_at)

    async def list(self) -> builtins.list[AccessTokenView]:
        """Every token that there is or was, by name."""
        query = select(api_token).where(api_token.c.fleet_id == FLEET).order_by(api_token.c.name)
        now = self._clock.wall_ns()
        return await self._store.read(
            lambda connection: [_view(row, now) for row in connection.execute(query)]
        )

    async def revoke(self, name: str) -> AccessTokenView:
        """The token is refused from now on; repeating it changes nothing. Raises NotFound."""
        now = self._clock.wall_ns()
        its = api_token.c
        revoked = (
            update(api_token)
            .where(its.fleet_id == FLEET, its.name == name)
            .values(revoked_at=func.coalesce(its.revoked_at, now))
            .returning(*its)
        )
        row = await self._store.write(lambda connection: connection.execute(revoked).one_or_none())
        if row is None:
            raise NotFound(
                f"cannot revoke token «{name:.80}»: there is none of this name. skerry access token list shows all."
            )
        return _view(row, now)

    async def holder(self, token: str) -> Holder | None:
        """Whom a token stands for; None: it is none of this fleet's."""
        if not has_form(token):
            return None
        return await self._found(api_token.c.hash == secret_hash(token))

    async def _found(self, which: ColumnElement[bool]) -> Holder | None:
        return await self._store.read(lambda connection: self._holder(connection, which))

    def named(self, connection: Connection, name: str) -> Holder | None:
        """As `holder`, for whoever has proved by other means to hold the token of this name."""
        return self._holder(connection, api_token.c.name == name)

    def _holder(self, connection: Connection, which: ColumnElement[bool]) -> Holder | None:
        query = select(api_token).where(api_token.c.fleet_id == FLEET, which)
        row = connection.execute(query).one_or_none()
        if row is None:
            return None
        role = self._roles.kept(connection, row.role)
        return Holder(row.name, role, _fault(_view(row, self._clock.wall_ns())))


def new_token() -> str:
    """A secret that scanners for secrets know."""
    return f"{_PREFIX}{random_token(_BYTES)}"


def has_form(token: str) -> bool:
    """Whether it may be one of ours."""
    return _FORM.fullmatch(token) is not None


def is_used(connection: Connection, name: str) -> bool:
    """Whether a token or a user has or had this name. Ask under the fleet's lock."""
    for table in (api_token, account):
        query = select(table.c.name).where(table.c.fleet_id == FLEET, table.c.name == name)
        if connection.execute(query).first() is not None:
            return True
    return False


def person_fault(name: str) -> str | None:
    """What is wrong with the name of a token or a user, as a sentence."""
    if name in _NAMES_OF_OUR_OWN:
        return f"«{name}» is Skerry's own name"
    return name_fault(name)


def _check(asked: AccessTokenRequest) -> None:
    fault = person_fault(asked.name)
    if fault is not None:
        raise InvalidInput(f"cannot create a token: {fault}")
    if not 1 <= asked.ttl <= MAX_TTL:
        raise InvalidInput(
            f"cannot create a token for {asked.ttl} s: write 1 second to {MAX_TTL / 86_400:.0f} days"
        )


def _view(row: Any, now: int) -> AccessTokenView:  # noqa: ANN401 - a row of the table
    state: State = "valid" if now < row.expires_at else "expired"
    if row.revoked_at is not None:
        state = "revoked"
    return AccessTokenView(
        row.name, row.role, state, row.created_at, row.expires_at, row.created_by, row.revoked_at
    )


def _fault(view: AccessTokenView) -> str:
    match view.state:
        case "valid":
            return ""
        case "expired":
            return f"token «{view.name}» was good until {iso(view.expires_at)}"
        case "revoked":
            return f"token «{view.name}» was revoked at {iso(view.revoked_at or 0)}"
