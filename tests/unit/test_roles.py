"""Roles and permissions, by hand: whoever adds one has to say so here."""

from typing import get_args

import pytest

from skerry.core.roles import ROLES, Permission, Role, kept_role, may, role_named, roles_with
from skerry.kit.errors import InvalidInput

pytestmark = pytest.mark.guarantee("G9")

EXPECTED = {
    "admin": {"read", "write", "execute", "configure"},
    "operator": {"read", "execute"},
    "monitor": {"read"},
}


def test_the_built_in_roles_may_this_and_nothing_else() -> None:
    assert {
        name: {each for each in get_args(Permission) if may(role, each)}
        for name, role in ROLES.items()
    } == EXPECTED


def test_a_role_is_named_exactly() -> None:
    assert role_named("operator") is ROLES["operator"]
    for wrong in ("Operator", "operater", "", " admin"):
        with pytest.raises(InvalidInput, match=r"unknown role «.*»: (did you mean|known are)"):
            role_named(wrong)


def test_a_kept_role_that_nobody_knows_may_do_nothing() -> None:
    gone = kept_role("night-watch")
    assert gone == Role("night-watch")
    assert not any(may(gone, each) for each in get_args(Permission))
    assert kept_role("monitor") is ROLES["monitor"]


def test_who_has_a_permission_is_told_smallest_first() -> None:
    assert roles_with("read") == ["monitor", "operator", "admin"]
    assert roles_with("execute") == ["operator", "admin"]
    assert roles_with("write") == roles_with("configure") == ["admin"]
