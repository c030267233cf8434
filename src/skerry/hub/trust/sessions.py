"""What people are signed in with: cookies of browsers, and tokens of `skerry login`. Each is a row, so it ends at once.

The row has a keyed hash of it. The key comes from the administrator's token, so a new one of those ends every session.
A session is somebody's: a user's, an API token's or the administrator's, and ends with them at the next request.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy import Connection, delete, select

from skerry.core.roles import ADMIN
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.people_tables import sign_in
from skerry.hub.store.tables import FLEET
from skerry.hub.trust.accounts import Accounts
from skerry.hub.trust.api_tokens import (
    ADMINISTRATOR,
    UNBOUND,
    ApiTokens,
    Bound,
    Holder,
    has_form,
    new_token,
)
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import Refused

SESSION_SECONDS = 7 * 86_400
"""Of a browser that an API token, the administrator's or a code has signed in."""

TOKEN_SECONDS = 86_400.0
"""Of what `skerry login` gets, and of a browser that a password has signed in, unless the settings say otherwise."""

MOST = 100
"""Sessions of one kind that somebody has at a time; the oldest ends for one more."""

Kind = Literal["browser", "command"]


@dataclass(frozen=True)
class Lifetimes:
    """Seconds that a password signs somebody in for, at most."""

    command: float = TOKEN_SECONDS
    browser: float = TOKEN_SECONDS


class Sessions:
    """The sessions of one fleet."""

    def __init__(
        self,
        store: HubStore,
        clock: Clock,
        admin_token: str,
        accounts: Accounts,
        api_tokens: ApiTokens,
    ) -> None:
        self._store = store
        self._clock = clock
        self._accounts = accounts
        self._api_tokens = api_tokens
        self._key = hmac.digest(admin_token.encode(), b"skerry session", "sha256")
        # Cookies do not know ports: two hubs of one machine keep theirs apart.
        self.cookie_name = f"skerry_{hashlib.sha256(self._key).hexdigest()[:8]}"

    async def begin(
        self, of: Holder | str, kind: Kind, seconds: float, bound: Bound = UNBOUND
    ) -> tuple[str, int]:
        """A new session of somebody: its secret, and when it ends, which is with what it is `bound` to at the latest.

        Raises Refused when that one has ended or changed.
        """
        who = of if isinstance(of, str) else of.name
        secret, now = new_token(), self._clock.wall_ns()
        ends = now + int(seconds * NS)
        if bound.until:
            ends = min(ends, bound.until)

        def work(connection: Connection) -> None:
            holder = self._named(connection, who)
            if holder is None or holder.fault:
                raise Refused(
                    f"cannot sign in: {holder.fault if holder else 'nobody is called so'}"
                )
            if isinstance(of, Holder) and of.version != holder.version:
                raise Refused(f"cannot sign in: user «{who}» was changed meanwhile. Try again.")
            its = sign_in.c
            above = select(its.hash).where(its.hash == bound.session, its.expires_at > now)
            if bound.session and connection.execute(above).one_or_none() is None:
                raise Refused("cannot sign in: the session that this comes from has ended")
            same = (its.fleet_id == FLEET, its.who == who, its.kind == kind)
            newest = select(its.hash).where(*same).order_by(its.created_at.desc()).limit(MOST - 1)
            connection.execute(delete(sign_in).where(its.expires_at <= now))
            connection.execute(delete(sign_in).where(*same, its.hash.not_in(newest)))
            row = {
                "hash": self._hash(secret), "fleet_id": FLEET, "kind": kind, "who": who, "version": holder.version,
                "created_at": now, "expires_at": ends, "parent": bound.session,
            }  # fmt: skip
            connection.execute(sign_in.insert(), row)

        await self._store.write(work)
        return secret, ends

    async def holder(self, secret: str, kind: Kind) -> Holder | None:
        """Whose session it is; None when it is none, or not any more."""
        if not has_form(secret):
            return None
        query = select(sign_in).where(
            sign_in.c.hash == self._hash(secret),
            sign_in.c.kind == kind,
            sign_in.c.expires_at > self._clock.wall_ns(),
        )

        def work(connection: Connection) -> Holder | None:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            holder = self._named(connection, row.who)
            if holder is None or holder.version != row.version:
                return None
            return replace(holder, bound=Bound(row.hash, row.expires_at))

        return await self._store.read(work)

    async def end(self, secret: str) -> bool:
        """Ends a session, and those that hang on it; whether there was one."""
        its, hashed = sign_in.c, self._hash(secret)
        gone = delete(sign_in).where((its.hash == hashed) | (its.parent == hashed))
        return bool(await self._store.write(lambda connection: connection.execute(gone).rowcount))

    def _named(self, connection: Connection, who: str) -> Holder | None:
        if who == ADMINISTRATOR:
            return Holder(ADMINISTRATOR, ADMIN)
        return self._api_tokens.named(connection, who) or self._accounts.named(connection, who)

    def _hash(self, secret: str) -> str:
        return hmac.digest(self._key, secret.encode(), "sha256").hex()
