"""API tokens of people over HTTP: `skerry access token create|list|revoke`."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["valid", "expired", "revoked"]


class AccessTokenRequest(msgspec.Struct, frozen=True):
    """A token that may do what `role` may, for `ttl` seconds. `name` is what the hub notes of whatever it does."""

    name: str
    role: str
    ttl: float = 30 * 86_400.0


class AccessTokenReply(msgspec.Struct, frozen=True):
    """The token, shown once. `expires_at` is in nanoseconds since 1970."""

    name: str
    role: str
    token: str
    expires_at: int


class AccessTokenView(msgspec.Struct, frozen=True):
    """What the hub knows of a token: all but the token. Times are ns since 1970; `revoked_at` is None while nobody has."""

    name: str
    role: str
    state: State
    created_at: int
    expires_at: int
    created_by: str
    revoked_at: int | None = None
