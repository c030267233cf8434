"""Which role a user of the device has at the node's admin socket (docs/operate/access.md). Pure.

root and the user that the node runs as are administrators, because they own all that it consists of; everybody else
has the role that the settings give to the user or to one of its groups, or none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import msgspec

from skerry.core.roles import ADMIN, ROLES, Role

GROUP = "group:"
_NAME = re.compile(r"(group:)?[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}\$?")


class LocalAccess(msgspec.Struct, frozen=True):
    """`owner` is the user that the node runs as; `given` are users and «group:NAME» by the name of a role."""

    owner: int
    given: Mapping[str, Sequence[str]] = {}

    @property
    def others_may(self) -> bool:
        """Whether anybody but the owner and root has a role."""
        return any(self.given.values())

    def owns(self, uid: int) -> bool:
        """Whether the user is an administrator whatever the settings say."""
        return uid in {0, self.owner}

    def role_of(self, uid: int, user: str, groups: Collection[str]) -> Role | None:
        """The widest role that the user has; None: it may nothing."""
        if self.owns(uid):
            return ADMIN
        names = {user, *(f"{GROUP}{group}" for group in groups)}
        having = [
            role for role in ROLES.values() if names.intersection(self.given.get(role.name, ()))
        ]
        return max(having, key=lambda role: len(role.permissions), default=None)


def names_fault(names: Sequence[str]) -> str | None:
    """What is wrong with users and groups in the settings; None: nothing."""
    for name in names:
        if not _NAME.fullmatch(name):
            return f"«{name}» is no user and no «group:NAME»"
    return None
