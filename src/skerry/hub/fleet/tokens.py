"""Enrolment tokens: issued here, redeemed by `fleet.nodes`. The database holds hashes only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy import Connection, func, select, update

from skerry.core.credentials import secret_hash
from skerry.hub.fleet.labels import check_labels
from skerry.hub.store.bodies import TOKEN_LABELS, Bodies
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import FLEET, enrolment_token
from skerry.hub.store.trust_tables import token_use
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import InvalidInput, Refused
from skerry.kit.ids import random_token
from skerry.wire.codec import decode, encode
from skerry.wire.people import TokenReply, TokenRequest

MAX_TTL = 30 * 86400.0
MAX_USES = 100_000
_TOKEN_BYTES = 32
_MAX_WORD = 128


@dataclass(frozen=True)
class Device:
    """Who wants to use a token."""

    node_id: str
    name: str
    hardware: str
    was_named: bool = False
    """It is a node already and keeps the name it has."""


class Tokens:
    """Issues enrolment tokens."""

    def __init__(self, store: HubStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(
        self,
        ttl: float,
        *,
        uses: int = 1,
        labels: Mapping[str, str] = MappingProxyType({}),
        hardware: str = "",
        name_prefix: str = "",
    ) -> TokenReply:
        """A token that can be used within `ttl` seconds; the rest as in `TokenRequest`. Raises InvalidInput."""
        asked = TokenRequest(ttl, uses, dict(labels), hardware, name_prefix)
        _check(asked)
        token = random_token(_TOKEN_BYTES)
        now = self._clock.wall_ns()
        expires_at = now + int(asked.ttl * NS)
        row: dict[str, str | int] = {
            "hash": secret_hash(token), "fleet_id": FLEET, "created_at": now, "expires_at": expires_at,
            "uses": asked.uses, "hardware": asked.hardware, "name_prefix": asked.name_prefix,
        }  # fmt: skip

        def work(connection: Connection) -> None:
            labels = encode(dict(sorted(asked.labels.items()))).decode()
            sealed = Bodies.of(connection).seal_text(TOKEN_LABELS, labels, row["hash"])
            connection.execute(enrolment_token.insert(), row | {"labels": sealed})

        await self._store.write(work)
        return TokenReply(token, expires_at)


def redeem(connection: Connection, token: str, device: Device, now: int) -> dict[str, str]:
    """Uses a token for the device, once, however often it asks; returns the labels that the token gives.

    The caller holds the fleet's lock. Raises Refused when it cannot be used (any more), or not by this device.
    """
    hashed = secret_hash(token)
    held = connection.execute(
        select(enrolment_token).where(
            enrolment_token.c.hash == hashed, enrolment_token.c.expires_at > now
        )
    ).one_or_none()
    if held is None:
        raise _unusable()
    its = (token_use.c.hash == hashed, token_use.c.node_id == device.node_id)
    if connection.execute(select(token_use.c.at).where(*its)).scalar() is None:
        if held.used >= held.uses:
            raise _unusable()
        _check_device(device, held.hardware, held.name_prefix)
        connection.execute(
            token_use.insert(), {"hash": hashed, "node_id": device.node_id, "at": now}
        )
        connection.execute(
            update(enrolment_token)
            .where(enrolment_token.c.hash == hashed)
            .values(
                used=held.used + 1,
                used_at=func.coalesce(enrolment_token.c.used_at, now),
                used_by=func.coalesce(enrolment_token.c.used_by, device.node_id),
            )
        )
    labels = Bodies.of(connection).open_text(TOKEN_LABELS, held.labels, hashed)
    return decode(labels.encode(), dict[str, str], "the token's labels")


class WrongToken(Refused):
    """A token that is none, or none any more."""


def _unusable() -> WrongToken:
    return WrongToken(
        "cannot enrol: the token is unknown, used or expired. Create a new one on the hub: skerry token create"
    )


def _check_device(device: Device, hardware: str, name_prefix: str) -> None:
    if hardware and device.hardware != hardware:
        given = f"«{device.hardware}»" if device.hardware else "none"
        raise Refused(
            f"cannot enrol node «{device.name}»: the token is for the device with hardware id «{hardware}», and this "
            f"one has {given}. Use it there, or create another token. It can still be used."
        )
    if not device.was_named and not device.name.startswith(name_prefix):
        raise Refused(
            f"cannot enrol node «{device.name}»: the token is for names that begin with «{name_prefix}». "
            f"Choose such a name: --name {name_prefix}…. The token can still be used."
        )


def _check(asked: TokenRequest) -> None:
    if not 1 <= asked.ttl <= MAX_TTL:
        raise InvalidInput(
            f"cannot create a token for {asked.ttl} s: write 1 second to {MAX_TTL / 86400:.0f} days"
        )
    if not 1 <= asked.uses <= MAX_USES:
        raise InvalidInput(f"cannot create a token for {asked.uses} nodes: write 1 to {MAX_USES}")
    if asked.hardware and asked.uses != 1:
        raise InvalidInput("cannot create a token for one hardware id and several nodes")
    if len(asked.hardware) > _MAX_WORD or len(asked.name_prefix) > _MAX_WORD:
        raise InvalidInput(
            f"cannot create a token: a hardware id and a name's beginning have at most {_MAX_WORD} characters"
        )
    check_labels(asked.labels)
