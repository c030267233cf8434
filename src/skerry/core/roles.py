"""Who may do what: four permissions, and the roles that are made of them (docs/operate/access.md). Pure.

A route asks for one permission; a person has one role. What is not named here is nobody's. A role may be for some
nodes only, by their labels: then `covers` says which, and routes that do not say what that means for them refuse it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from skerry.kit.errors import InvalidInput

Permission = Literal["read", "write", "execute", "configure"]
"""Look; change what is wanted and what is kept; act on what runs; decide who takes part, and with which keys."""

PERMISSIONS: tuple[Permission, ...] = get_args(Permission)


class Role(msgspec.Struct, frozen=True):
    """A name, and what whoever has it may do: on nodes with all of the labels `on`, or everywhere when there are none."""

    name: str
    permissions: tuple[Permission, ...] = ()
    on: tuple[tuple[str, str], ...] = ()

    @property
    def scoped(self) -> bool:
        """Whether it is for some nodes only."""
        return bool(self.on)


ADMIN = Role("admin", PERMISSIONS)
OPERATOR = Role("operator", ("read", "execute"))
MONITOR = Role("monitor", ("read",))

ROLES = {role.name: role for role in (ADMIN, OPERATOR, MONITOR)}


def may(role: Role, permission: Permission) -> bool:
    """Whether the role has the permission."""
    return permission in role.permissions


def covers(role: Role, labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels is one of the role's."""
    return all(labels.get(key) == value for key, value in role.on)


def role_named(name: str, roles: Mapping[str, Role] = ROLES) -> Role:
    """The role of this name. Raises InvalidInput with the nearest name."""
    if name not in roles:
        from skerry.kit.nearest import did_you_mean  # noqa: PLC0415 - 0.4 MB that no agent needs

        raise InvalidInput(f"unknown role «{name:.80}»: {did_you_mean(name, roles)}")
    return roles[name]


def roles_with(permission: Permission, roles: Mapping[str, Role] = ROLES) -> list[str]:
    """The names of the roles that have the permission, the smallest role first."""
    having = [role for role in roles.values() if may(role, permission)]
    return [role.name for role in sorted(having, key=lambda role: len(role.permissions))]
