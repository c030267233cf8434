"""What the hub's settings say of people: their TLS, how long they are signed in, and their roles."""

from __future__ import annotations

from pathlib import Path

import msgspec

from skerry.core.own_roles import known_roles, own_role
from skerry.core.roles import Role


class TlsSection(msgspec.Struct, frozen=True):
    """The certificate (PEM, its chain after it) and key of the listener for people."""

    certificate: Path | None = None
    key: Path | None = None

    @property
    def is_on(self) -> bool:
        """Whether people are served by TLS."""
        return self.certificate is not None and self.key is not None


class AuthenticationSection(msgspec.Struct, frozen=True):
    """For how long (seconds) a password signs somebody in."""

    token_expiry: float = 86_400.0


class GivenRole(msgspec.Struct, frozen=True):
    """A role that the settings name."""

    name: str
    permissions: list[str]


class AuthorizationSection(msgspec.Struct, frozen=True):
    """Roles besides those of every installation, or instead of them."""

    roles: list[GivenRole] = []


class AccessControlSection(msgspec.Struct, frozen=True):
    """Who may do what."""

    authentication: AuthenticationSection = AuthenticationSection()
    authorization: AuthorizationSection = AuthorizationSection()

    def roles(self) -> dict[str, Role]:
        """The roles of this hub by name. Raises InvalidInput."""
        return known_roles(
            own_role(role.name, role.permissions) for role in self.authorization.roles
        )
