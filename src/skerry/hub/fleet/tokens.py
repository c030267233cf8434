"""One-time enrolment tokens: issued here, redeemed by `fleet.nodes`. The database holds hashes only."""

from __future__ import annotations

from sqlalchemy import Connection, func, or_, update

from skerry.core.credentials import secret_hash
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import FLEET, enrolment_token
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import InvalidInput, Refused
from skerry.kit.ids import random_token
from skerry.wire.people import TokenReply

MAX_TTL = 30 * 86400.0
_TOKEN_BYTES = 32


class Tokens:
    """Issues enrolment tokens."""

    def __init__(self, store: HubStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, ttl: float) -> TokenReply:
        """A token that can be used once within `ttl` seconds. Raises InvalidInput when ttl is out of range."""
        if not 1 <= ttl <= MAX_TTL:
            raise InvalidInput(
                f"cannot create a token for {ttl} s: write 1 second to {MAX_TTL / 86400:.0f} days"
            )
        token = random_token(_TOKEN_BYTES)
        now = self._clock.wall_ns()
        expires_at = now + int(ttl * NS)
        row = {
            "hash": secret_hash(token),
            "fleet_id": FLEET,
            "created_at": now,
            "expires_at": expires_at,
        }
        await self._store.write(
            lambda connection: connection.execute(enrolment_token.insert(), row)
        )
        return TokenReply(token, expires_at)


def redeem(connection: Connection, token: str, node_id: str, now: int) -> None:
    """Uses up a token for `node_id`; repeating it changes nothing. Raises Refused when it cannot be used (any more)."""
    used = connection.execute(
        update(enrolment_token)
        .where(
            enrolment_token.c.hash == secret_hash(token),
            or_(enrolment_token.c.used_by.is_(None), enrolment_token.c.used_by == node_id),
            enrolment_token.c.expires_at > now,
        )
        .values(used_at=func.coalesce(enrolment_token.c.used_at, now), used_by=node_id)
    )
    if used.rowcount != 1:
        raise Refused(
            "cannot enrol: the token is unknown, used or expired. Create a new one on the hub: skerry token create"
        )
