"""API tokens, users, sign-ins and roles of people over HTTP: `skerry access`, `skerry login`. See docs/operate/access.md."""

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


class UserRequest(msgspec.Struct, frozen=True):
    """A new user, who may do what `role` may."""

    name: str
    role: str
    password: str


class UserChange(msgspec.Struct, frozen=True):
    """What to change of a user; None leaves it. Whatever it is, the user's sessions end."""

    password: str | None = None
    role: str | None = None
    enabled: bool | None = None


UserState = Literal["enabled", "disabled", "deleted"]


class UserView(msgspec.Struct, frozen=True):
    """What the hub knows of a user: all but the password. Times are ns since 1970; `changed_at`: when it last changed."""

    name: str
    role: str
    state: UserState
    created_at: int
    created_by: str
    changed_at: int


class SignIn(msgspec.Struct, frozen=True):
    """A user's name and password, for a token that is good for `ttl` seconds; None: as long as the hub allows."""

    user: str
    password: str
    ttl: float | None = None


class SignedIn(msgspec.Struct, frozen=True):
    """The token, shown once. `expires_at` is in nanoseconds since 1970."""

    user: str
    role: str
    token: str
    expires_at: int


class RoleRequest(msgspec.Struct, frozen=True):
    """A role of one's own; `on` are labels of the nodes that it is for, none: all."""

    name: str
    permissions: list[str]
    on: dict[str, str] = {}


class RoleView(msgspec.Struct, frozen=True):
    """A role that can be given. `origin`: built in, settings, made."""

    name: str
    permissions: list[str]
    on: dict[str, str]
    origin: str
    created_at: int | None = None
    created_by: str = ""
