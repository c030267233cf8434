"""Who may do what: four permissions, and the roles that are made of them (docs/operate/access.md). Pure.

A route asks for one permission; a person has one role. What is not named here is nobody's.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from skerry.kit.errors import InvalidInput

Permission = Literal["read", "write", "execute", "configure"]
"""Look; change what is wanted and what is kept; act on what runs; decide who takes part, and with which keys."""


class Role(msgspec.Struct, frozen=True):
    """A name, and what whoever has it may do."""

    name: str
    permissions: tuple[Permission, ...] = ()


ADMIN = Role("admin", ("read", "write", "execute", "configure"))
OPERATOR = Role("operator", ("read", "execute"))
MONITOR = Role("monitor", ("read",))

ROLES = {role.name: role for role in (ADMIN, OPERATOR, MONITOR)}


def may(role: Role, permission: Permission) -> bool:
    """Whether the role has the permission."""
    return permission in role.permissions


def role_named(name: str) -> Role:
    """The role of this name. Raises InvalidInput with the nearest name."""
    if name not in ROLES:
        from skerry.kit.nearest import did_you_mean  # noqa: PLC0415 - 0.4 MB that no agent needs

        raise InvalidInput(f"unknown role «{name:.80}»: {did_you_mean(name, ROLES)}")
    return ROLES[name]


def kept_role(name: str) -> Role:
    """The role that was kept under this name; one that nobody knows any more may do nothing."""
    return ROLES.get(name) or Role(name)


def roles_with(permission: Permission) -> list[str]:
    """The names of the roles that have the permission, the smallest role first."""
    having = [role for role in ROLES.values() if may(role, permission)]
    return [role.name for role in sorted(having, key=lambda role: len(role.permissions))]
