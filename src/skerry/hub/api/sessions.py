"""Browser sessions: a signed cookie that expires, and one-time codes that start a session.

The signing key comes from the admin token, so a new token ends every session. Cookies do not know
ports: the name carries a fingerprint of the key so that two hubs of one machine keep their sessions apart.
"""

from __future__ import annotations

import hashlib
import hmac

from sqlalchemy import Connection, delete

from skerry.core.credentials import secret_hash
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import login_code
from skerry.kit.clock import NS, Clock
from skerry.kit.ids import random_token
from skerry.wire.people import LoginCode

SESSION_SECONDS = 7 * 86_400
CODE_SECONDS = 10 * 60


def sign(expires: int, key: bytes) -> str:
    """The cookie of a session that ends at `expires` (seconds since 1970)."""
    return f"{expires}.{hmac.digest(key, str(expires).encode(), 'sha256').hex()}"


def expiry(cookie: str, key: bytes) -> int | None:
    """When the session of `cookie` ends (seconds since 1970), or None when it was not signed with `key`."""
    text, _, _ = cookie.partition(".")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        return None
    expires = int(text)
    return expires if hmac.compare_digest(sign(expires, key).encode(), cookie.encode()) else None


class Sessions:
    """Issues and checks session cookies."""

    def __init__(self, admin_token: str, clock: Clock) -> None:
        self._key = hmac.digest(admin_token.encode(), b"skerry browser session", "sha256")
        self._clock = clock
        self.cookie_name = f"skerry_{hashlib.sha256(self._key).hexdigest()[:8]}"

    def issue(self) -> str:
        """A cookie for SESSION_SECONDS from now."""
        return sign(self._now() + SESSION_SECONDS, self._key)

    def valid(self, cookie: str) -> bool:
        """Whether this hub signed the cookie and it has not ended."""
        expires = expiry(cookie, self._key)
        return expires is not None and expires > self._now()

    def _now(self) -> int:
        return self._clock.wall_ns() // NS


class LoginCodes:
    """One-time login codes. Their hashes are in the database, so a code is good at every hub process on it."""

    def __init__(self, store: HubStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def issue(self) -> LoginCode:
        """A code that can be used once within CODE_SECONDS, as the address that the browser opens."""
        now, code = self._clock.wall_ns(), random_token()
        row = {"hash": secret_hash(code), "expires_at": now + CODE_SECONDS * NS}

        def work(connection: Connection) -> None:
            connection.execute(delete(login_code).where(login_code.c.expires_at <= now))
            connection.execute(login_code.insert(), row)

        await self._store.write(work)
        return LoginCode(f"/login?code={code}", now + CODE_SECONDS * NS)

    async def use(self, code: str) -> bool:
        """Whether the code was good; it is not good a second time."""
        used = delete(login_code).where(
            login_code.c.hash == secret_hash(code), login_code.c.expires_at > self._clock.wall_ns()
        )
        return await self._store.write(lambda connection: connection.execute(used).rowcount == 1)
