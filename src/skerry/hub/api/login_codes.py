"""One-time codes that begin a session of a browser (`trust.sessions`), each of somebody."""

from __future__ import annotations

from sqlalchemy import Connection, delete

from skerry.core.credentials import secret_hash
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import login_code
from skerry.hub.trust.api_tokens import Bound
from skerry.kit.clock import NS, Clock
from skerry.kit.ids import random_token
from skerry.wire.people import LoginCode

CODE_SECONDS = 10 * 60


class LoginCodes:
    """One-time login codes. Their hashes are in the database, so a code is good at every hub process on it."""

    def __init__(self, store: HubStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def issue(self, who: str, bound: Bound) -> LoginCode:
        """A code that begins a session of `who` once within CODE_SECONDS, as the address that the browser opens."""
        now, code = self._clock.wall_ns(), random_token()
        row = {"hash": secret_hash(code), "expires_at": now + CODE_SECONDS * NS, "who": who,
               "parent": bound.session, "until": bound.until}  # fmt: skip

        def work(connection: Connection) -> None:
            connection.execute(delete(login_code).where(login_code.c.expires_at <= now))
            connection.execute(login_code.insert(), row)

        await self._store.write(work)
        return LoginCode(f"/login?code={code}", now + CODE_SECONDS * NS)

    async def use(self, code: str) -> tuple[str, Bound] | None:
        """Whose session the code begins, and what it hangs on; None when it was not good. It is not good a second time."""
        used = (
            delete(login_code)
            .where(
                login_code.c.hash == secret_hash(code),
                login_code.c.expires_at > self._clock.wall_ns(),
            )
            .returning(login_code.c.who, login_code.c.parent, login_code.c.until)
        )
        row = await self._store.write(lambda connection: connection.execute(used).one_or_none())
        return None if row is None else (row.who, Bound(row.parent, row.until))
