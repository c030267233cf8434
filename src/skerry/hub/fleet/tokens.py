"""Enrolment tokens: issued here, redeemed by `fleet.nodes`. The database holds hashes only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update

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
    held: bool = False
    """It is a node already, by the hash of its secret."""
    proved: bool = False
    """It has shown the secret itself."""


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


def find_token(connection: Connection, token: str, now: int) -> Row[Any]:
    """The row of a token that is one still. Raises WrongToken."""
    its = enrolment_token.c
    query = select(enrolment_token).where(its.hash == secret_hash(token), its.expires_at > now)
    held = connection.execute(query).one_or_none()
    if held is None:
        raise _unusable()
    return held


def forget_uses(connection: Connection, node_id: str) -> None:
    """What the node has come with once lets it in no more: it was revoked, or deleted."""
    connection.execute(delete(token_use).where(token_use.c.node_id == node_id))


def redeem(connection: Connection, token: str, device: Device, now: int) -> dict[str, str]:
    """Uses a token for the device, once, however often it asks; returns the labels that the token gives.

    The caller holds the fleet's lock. Raises Refused when it cannot be used (any more), or not by this device.
    """
    held = find_token(connection, token, now)
    hashed = held.hash
    _check_device(device, held.hardware, held.name_prefix)
    its = (token_use.c.hash == hashed, token_use.c.node_id == device.node_id)
    asks_again = (
        device.held and connection.execute(select(token_use.c.at).where(*its)).scalar() is not None
    )
    # A node of an older version shows no secret; a token that was for it alone says as much.
    if device.held and not device.proved and not (asks_again and held.uses == 1):
        raise Refused(
            f"cannot enrol node «{device.name}»: the hub has it already, and the request does not show its secret. "
            "Install the hub's version on the device, or delete the node first: "
            f"skerry delete node {device.name}. The token can still be used."
        )
    if not asks_again:
        if held.used >= held.uses:
            raise _unusable()
        use = {"hash": hashed, "node_id": device.node_id, "at": now}
        connection.execute(delete(token_use).where(*its))
        connection.execute(token_use.insert(), use)
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
    if not device.name.startswith(name_prefix):
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
