"""Browser sessions: a signed cookie that expires, and one-time codes that start a session.

Both are somebody's: the administrator's, or of an API token, by its name. The signing key comes from the admin token, so
a new one ends every session. Cookies do not know ports: the name carries a fingerprint of the key so that two hubs of one machine keep their sessions apart.
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


def sign(expires: int, who: str, key: bytes) -> str:
    """The cookie of a session of `who` that ends at `expires` (seconds since 1970)."""
    said = f"{expires}.{who}"
    return f"{said}.{hmac.digest(key, said.encode(), 'sha256').hex()}"


def signed(cookie: str, key: bytes) -> tuple[int, str] | None:
    """When the session of `cookie` ends (seconds since 1970), and whose it is; None when it was not signed with `key`."""
    text, _, rest = cookie.partition(".")
    who = rest.partition(".")[0]
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        return None
    expires = int(text)
    right = hmac.compare_digest(sign(expires, who, key).encode(), cookie.encode())
    return (expires, who) if right else None


class Sessions:
    """Issues and checks session cookies."""

    def __init__(self, admin_token: str, clock: Clock) -> None:
        self._key = hmac.digest(admin_token.encode(), b"skerry browser session", "sha256")
        self._clock = clock
        self.cookie_name = f"skerry_{hashlib.sha256(self._key).hexdigest()[:8]}"

    def issue(self, who: str) -> str:
        """A cookie for SESSION_SECONDS from now."""
        return sign(self._now() + SESSION_SECONDS, who, self._key)

    def holder(self, cookie: str) -> str | None:
        """Whose session it is; None when this hub has not signed the cookie, or it has ended."""
        found = signed(cookie, self._key)
        return found[1] if found is not None and found[0] > self._now() else None

    def _now(self) -> int:
        return self._clock.wall_ns() // NS


class LoginCodes:
    """One-time login codes. Their hashes are in the database, so a code is good at every hub process on it."""

    def __init__(self, store: HubStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def issue(self, who: str) -> LoginCode:
        """A code that begins a session of `who` once within CODE_SECONDS, as the address that the browser opens."""
        now, code = self._clock.wall_ns(), random_token()
        row = {"hash": secret_hash(code), "expires_at": now + CODE_SECONDS * NS, "who": who}

        def work(connection: Connection) -> None:
            connection.execute(delete(login_code).where(login_code.c.expires_at <= now))
            connection.execute(login_code.insert(), row)

        await self._store.write(work)
        return LoginCode(f"/login?code={code}", now + CODE_SECONDS * NS)

    async def use(self, code: str) -> str | None:
        """Whose session the code begins; None when it was not good. It is not good a second time."""
        used = (
            delete(login_code)
            .where(
                login_code.c.hash == secret_hash(code),
                login_code.c.expires_at > self._clock.wall_ns(),
            )
            .returning(login_code.c.who)
        )
        return await self._store.write(
            lambda connection: connection.execute(used).scalar_one_or_none()
        )
