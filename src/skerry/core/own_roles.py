"""Roles that people make themselves, in settings or at the hub: what can be one. Pure; agents do without."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from skerry.core.names import label_fault, name_fault
from skerry.core.roles import ADMIN, PERMISSIONS, ROLES, Role
from skerry.kit.errors import InvalidInput
from skerry.kit.nearest import did_you_mean


def own_role(name: str, permissions: Iterable[str], on: Mapping[str, str] | None = None) -> Role:
    """A role as somebody wants it. Raises InvalidInput that says what is wrong with it."""
    fault = name_fault(name)
    if fault is not None:
        raise InvalidInput(f"cannot use role: {fault}")
    wanted = list(permissions)
    for word in wanted:
        if word not in PERMISSIONS:
            hint = did_you_mean(word, PERMISSIONS)
            raise InvalidInput(f"cannot use role «{name}»: unknown permission «{word:.80}»: {hint}")
    if not wanted:
        raise InvalidInput(f"cannot use role «{name}»: it has no permission")
    for key, value in (on or {}).items():
        wrong = label_fault(key, value)
        if wrong is not None:
            raise InvalidInput(f"cannot use role «{name}»: {wrong}")
    return Role(
        name,
        tuple(each for each in PERMISSIONS if each in wanted),
        tuple(sorted((on or {}).items())),
    )


def known_roles(own: Iterable[Role]) -> dict[str, Role]:
    """The roles of every installation, and those that its settings name, which may change all of them but «admin».

    Raises InvalidInput.
    """
    found = dict(ROLES)
    for role in own:
        if role.name == ADMIN.name and role != ADMIN:
            raise InvalidInput(
                "cannot use role «admin» with less than all permissions: nobody could take that back"
            )
        found[role.name] = role
    return found
