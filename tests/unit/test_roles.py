"""Roles and permissions, by hand: whoever adds one has to say so here."""

from typing import get_args

import pytest

from skerry.core.own_roles import known_roles, own_role
from skerry.core.roles import (
    ADMIN,
    ROLES,
    Permission,
    Role,
    covers,
    may,
    role_named,
    roles_with,
)
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


def test_a_role_without_permissions_may_do_nothing() -> None:
    assert not any(may(Role("night-watch"), each) for each in get_args(Permission))


def test_a_role_of_ones_own_is_checked() -> None:
    lab = own_role("lab", ["execute", "read", "read"], {"site": "lab"})
    assert lab == Role("lab", ("read", "execute"), (("site", "lab"),))
    assert lab.scoped
    assert not own_role("all", ["read"]).scoped
    for name, permissions, on, words in (
        ("Lab", ["read"], {}, "«Lab» is not a name"),
        ("lab", [], {}, "it has no permission"),
        ("lab", ["reed"], {}, "unknown permission «reed»: did you mean «read»?"),
        ("lab", ["read"], {"a b": "c"}, "is not a label's key"),
    ):
        with pytest.raises(InvalidInput, match=words.replace("?", r"\?")):
            own_role(name, permissions, on)


def test_a_scoped_role_covers_nodes_with_all_of_its_labels() -> None:
    lab = own_role("lab", ["read"], {"site": "lab", "floor": "2"})
    assert covers(lab, {"site": "lab", "floor": "2", "x": "y"})
    for labels in ({}, {"site": "lab"}, {"site": "roof", "floor": "2"}, {"site": "", "floor": "2"}):
        assert not covers(lab, labels)
    assert covers(own_role("all", ["read"]), {})


def test_settings_may_change_every_role_but_the_administrators() -> None:
    narrow = own_role("operator", ["read"])
    found = known_roles([narrow, own_role("night", ["execute"])])
    assert (found["operator"], found["admin"], set(found)) == (narrow, ADMIN, {*ROLES, "night"})
    assert known_roles([own_role("admin", ["configure", "read", "write", "execute"])]) == ROLES
    with pytest.raises(InvalidInput, match="nobody could take that back"):
        known_roles([own_role("admin", ["read"])])


def test_who_has_a_permission_is_told_smallest_first() -> None:
    assert roles_with("read") == ["monitor", "operator", "admin"]
    assert roles_with("execute") == ["operator", "admin"]
    assert roles_with("write") == roles_with("configure") == ["admin"]
