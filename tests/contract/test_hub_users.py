"""Users on each database: who a password proves, what ends sessions, and that too many tries are refused everywhere."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sqlalchemy import select
from tests.hub_rig import DAY, HubRig
from tests.people_rig import PASSWORD, people_of

from skerry.core.roles import MONITOR, OPERATOR, Role
from skerry.hub.access_settings import AccessControlSection, AuthorizationSection, GivenRole
from skerry.hub.store.people_tables import account, login_failure, sign_in
from skerry.hub.trust import passwords, sign_ins
from skerry.hub.trust.people import People
from skerry.hub.trust.sessions import MOST
from skerry.kit.clock import NS
from skerry.kit.errors import Busy, InvalidInput, NotFound, Refused
from skerry.wire.access import AccessTokenRequest, RoleRequest, UserChange, UserRequest

pytestmark = pytest.mark.guarantee("G9")

HERE, THERE = "192.0.2.1", "198.51.100.7"


@pytest.fixture
def people(hub: HubRig) -> People:
    return people_of(hub)


async def user(people: People, name: str = "ann", role: str = "operator") -> None:
    await people.accounts.create(UserRequest(name, role, PASSWORD), "admin")


async def proven(people: People, password: str = PASSWORD, address: str = HERE) -> str:
    """Who it is, «no», or «wait»."""
    attempt = await people.sign_ins.attempt("ann", password, address)
    if attempt.holder is not None:
        return attempt.holder.name
    return "wait" if attempt.wait and not attempt.locked else "no"


async def test_a_password_proves_its_user(hub: HubRig, people: People) -> None:
    await user(people)
    attempt = await people.sign_ins.attempt("ann", PASSWORD, HERE)
    assert attempt.holder is not None
    assert (attempt.holder.name, attempt.holder.role) == ("ann", OPERATOR)
    for wrong in ("", PASSWORD[:-1], f"{PASSWORD} ", "\0", "x" * 100_000, "\ud800"):
        assert await proven(people, wrong, address=f"192.0.2.{len(wrong) % 200}") == "no"
    [row] = await hub.store.read(lambda connection: connection.execute(select(account)).all())
    assert row.password.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PASSWORD not in repr(row)


async def test_one_password_that_keyboards_write_in_two_ways_is_one(people: People) -> None:
    await people.accounts.create(UserRequest("ann", "monitor", "müller-in-the-rain"), "admin")
    assert await proven(people, "mu\u0308ller-in-the-rain") == "ann"


async def test_a_user_that_is_none_is_verified_as_often_and_in_the_same_way(people: People) -> None:
    await user(people)
    await user(people, "off")
    await people.accounts.change("off", UserChange(enabled=False))
    await user(people, "gone")
    await people.accounts.delete("gone")
    hasher = people.accounts._passwords
    for name in ("ann", "nobody", "off", "gone", "No Name", "\0", "x" * 500):
        before = hasher.verifications
        found = await people.sign_ins.attempt(name, "wrong", HERE)
        assert (found.holder, found.locked, hasher.verifications - before) == (None, False, 1), name
        await people.sign_ins.attempt("ann", PASSWORD, HERE)
        await people.sign_ins._correct(
            sign_ins._subjects("x", HERE),
            lambda counts: {kind: type(c)() for kind, c in counts.items()},
        )
    assert (await people.sign_ins.attempt("off", PASSWORD, THERE)).holder is None
    assert (await people.sign_ins.attempt("gone", PASSWORD, THERE)).holder is None


async def test_too_many_tries_are_refused_at_every_hub_and_after_a_restart(
    hub: HubRig, people: People
) -> None:
    await user(people)
    elsewhere = people_of(hub)
    for each in (people, elsewhere, people, elsewhere):
        assert await proven(each, "wrong") == "no"
    last = await elsewhere.sign_ins.attempt("ann", "wrong", HERE)
    assert (last.locked, last.wait, last.user) == (True, 2.0, "ann")
    before = people.accounts._passwords.verifications
    for each in (people, elsewhere, people_of(hub)):
        assert await proven(each) == "wait"
    assert people.accounts._passwords.verifications == before
    hub.clock.advance(2.0)
    assert await proven(people) == "ann"
    for _ in range(4):
        assert await proven(people, "wrong") == "no"
    assert await proven(people) == "ann"


async def test_who_tries_a_name_elsewhere_does_not_lock_its_user_out(people: People) -> None:
    await user(people)
    assert await proven(people) == "ann"
    for number in range(25):
        await proven(people, "wrong", address=f"198.51.100.{number}")
    assert await proven(people, address=THERE) == "wait"
    assert await proven(people) == "ann"


async def test_names_that_nobody_has_leave_no_name_behind(hub: HubRig, people: People) -> None:
    tried = await people.sign_ins.attempt("my secret password", "x", HERE)
    assert tried.user == ""
    rows = await hub.store.read(lambda connection: connection.execute(select(login_failure)).all())
    assert len(rows) == 3
    assert "secret" not in repr(rows)
    hub.clock.advance(31 * DAY)
    await people.sign_ins.attempt("ann", "x", THERE)
    rows = await hub.store.read(lambda connection: connection.execute(select(login_failure)).all())
    assert len(rows) == 3


async def test_who_is_locked_out_adds_no_rows_and_who_was_here_is_not_forgotten(
    hub: HubRig, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rows() -> int:
        query = select(login_failure)
        return len(await hub.store.read(lambda connection: connection.execute(query).all()))

    await user(people)
    assert await proven(people) == "ann"
    number = 0
    while not (await people.sign_ins.attempt(f"nobody{number}", "x", THERE)).wait:
        number += 1
    before = await rows()
    for each in range(10):
        assert (await people.sign_ins.attempt(f"other{each}", "x", THERE)).wait
    assert await rows() == before
    monkeypatch.setattr(sign_ins, "MOST", 100)
    hub.clock.advance(3600)
    for each in range(30):
        await people.sign_ins.attempt(f"more{each}", "x", f"198.51.100.{each}")
        hub.clock.advance(1)
    assert await rows() <= 103
    for each in range(25):
        await people.sign_ins.attempt("ann", "wrong", f"203.0.113.{each}")
    assert await proven(people) == "ann"


async def test_many_tries_at_once_are_as_many(people: People) -> None:
    await user(people)
    found = await asyncio.gather(*(proven(people, "wrong") for _ in range(12)))
    assert found.count("no") == 5
    assert found.count("wait") == 7


async def test_few_passwords_are_computed_at_a_time(people: People) -> None:
    checking, go_on = people.accounts._passwords, threading.Event()
    places = passwords.AT_ONCE + passwords.WAITING
    async with asyncio.TaskGroup() as group:
        for _ in range(places):
            group.create_task(checking._run(go_on.wait))
        await asyncio.sleep(0)  # each has its place
        for _ in range(5):
            with pytest.raises(Busy):
                await checking.fit("x", None)
        go_on.set()
    assert await checking.fit("x", None) is False


async def test_whatever_changes_of_a_user_ends_its_sessions(hub: HubRig, people: People) -> None:
    await user(people)
    another = "staple correct horse"
    for change in (
        UserChange(password=another),
        UserChange(role="monitor"),
        UserChange(enabled=False),
    ):
        holder = (await people.sign_ins.attempt("ann", PASSWORD, HERE)).holder or "ann"
        cookie, _ = await people.sessions.begin(holder, "browser", 60.0)
        token, _ = await people.sessions.begin("ann", "command", 60.0)
        assert (await people.sessions.holder(cookie, "browser")).name == "ann"
        assert await people.sessions.holder(cookie, "command") is None
        assert (await people.sessions.holder(token, "command")).name == "ann"
        await people_of(hub).accounts.change("ann", change)
        for secret, kind in ((cookie, "browser"), (token, "command")):
            assert await people.sessions.holder(secret, kind) is None
    with pytest.raises(Refused, match="user «ann» is disabled"):
        await people.sessions.begin("ann", "browser", 60.0)
    await people.accounts.change("ann", UserChange(enabled=True))
    found = (await people.sign_ins.attempt("ann", another, THERE)).holder
    assert (found.role, found.version) == (MONITOR, 5)
    await people.accounts.change("ann", UserChange(role="admin"))
    with pytest.raises(Refused, match="user «ann» was changed meanwhile"):
        await people.sessions.begin(found, "browser", 60.0)


async def test_a_session_that_begins_while_its_user_changes_is_none(
    hub: HubRig, people: People
) -> None:
    """Its row may come after the change has removed those of before: its version tells."""
    await user(people)
    cookie, _ = await people.sessions.begin("ann", "browser", 60.0)
    await hub.store.write(lambda connection: connection.execute(account.update().values(version=2)))
    assert await people.sessions.holder(cookie, "browser") is None


async def test_a_session_ends_by_itself_by_hand_and_with_the_administrators_token(
    hub: HubRig, people: People
) -> None:
    first, _ = await people.sessions.begin("admin", "browser", 60.0)
    second, ends = await people.sessions.begin("admin", "browser", 60.0)
    assert ends == hub.clock.wall_ns() + 60 * NS
    assert await people.sessions.end(first)
    assert not await people.sessions.end(first)
    assert await people.sessions.holder(first, "browser") is None
    other = People.of(hub.store, hub.clock, "cd" * 32, _settings())
    assert await other.sessions.holder(second, "browser") is None
    assert other.sessions.cookie_name != people.sessions.cookie_name
    assert (await people.sessions.holder(second, "browser")).name == "admin"
    for wrong in ("", second[:-1], second.upper(), f"{second}0", "\0"):
        assert await people.sessions.holder(wrong, "browser") is None
    rows = await hub.store.read(lambda connection: connection.execute(select(sign_in)).all())
    assert second.removeprefix("skt_") not in repr(rows)
    hub.clock.advance(60.0)
    assert await people.sessions.holder(second, "browser") is None


async def test_somebody_has_so_many_sessions_at_most(hub: HubRig, people: People) -> None:
    begun = []
    for _ in range(MOST + 2):
        begun.append((await people.sessions.begin("admin", "command", 60.0))[0])
        hub.clock.advance(0.001)
    alive = [await people.sessions.holder(each, "command") is not None for each in begun]
    assert alive == [False, False, *[True] * MOST]


async def test_a_name_is_used_once_by_tokens_and_users_together(people: People) -> None:
    await user(people)
    await people.api_tokens.create(AccessTokenRequest("ci", "monitor"), "admin")
    await people.accounts.delete("ann")
    for name in ("ann", "ci"):
        with pytest.raises(Refused, match=f"user «{name}»: there is or was a token or user"):
            await user(people, name)
    with pytest.raises(Refused, match="token «ann»: there is or was a token or user"):
        await people.api_tokens.create(AccessTokenRequest("ann", "monitor"), "admin")


async def test_deleting_is_for_good(hub: HubRig, people: People) -> None:
    await user(people)
    assert (await people.accounts.delete("ann")).state == "deleted"
    assert (await people.accounts.delete("ann")).state == "deleted"
    with pytest.raises(Refused, match="it is deleted, which is for good"):
        await people.accounts.change("ann", UserChange(enabled=True))
    with pytest.raises(NotFound, match=r"cannot delete user «bob».*access user list"):
        await people.accounts.delete("bob")
    [row] = await hub.store.read(lambda connection: connection.execute(select(account)).all())
    assert row.password == ""
    assert [each.state for each in await people.accounts.list()] == ["deleted"]


async def test_what_cannot_be_a_user_is_refused(people: People) -> None:
    for name in ("", "-x", "a b", "x" * 64, "a\0b", "../x", "Ci", "admin", "hub", "skerry"):
        with pytest.raises(InvalidInput, match=r"cannot create a user: «"):
            await user(people, name)
    with pytest.raises(InvalidInput, match="unknown role «root»"):
        await user(people, role="root")
    for password, words in (
        ("short", "less than 12 characters"),
        ("aaaabbbbaaaabbbb", "easy to guess"),
        ("ann-was-here-2026", "easy to guess"),
        ("x1y2z3" * 100, "more than 256"),
    ):
        with pytest.raises(InvalidInput, match=words) as refused:
            await people.accounts.create(UserRequest("ann", "monitor", password), "admin")
        assert password not in str(refused.value)
    await user(people)
    with pytest.raises(InvalidInput, match="less than 12 characters"):
        await people.accounts.change("ann", UserChange(password="short"))
    with pytest.raises(InvalidInput, match="unknown role «root»"):
        await people.accounts.change("ann", UserChange(role="root"))


async def test_roles_of_ones_own_are_given_and_taken(hub: HubRig, people: People) -> None:
    await people.roles.create(RoleRequest("lab", ["execute", "read"], {"site": "lab"}), "admin")
    lab = Role("lab", ("read", "execute"), (("site", "lab"),))
    made = await people.api_tokens.create(AccessTokenRequest("ci", "lab"), "admin")
    await user(people, role="lab")
    elsewhere = people_of(hub)
    assert (await elsewhere.api_tokens.holder(made.token)).role == lab
    assert (await elsewhere.sign_ins.attempt("ann", PASSWORD, HERE)).holder.role == lab
    shown = {each.name: each.origin for each in await elsewhere.roles.list()}
    assert shown == {
        "admin": "built in", "lab": "made", "monitor": "built in", "operator": "built in",
    }  # fmt: skip
    await people.roles.delete("lab")
    assert (await elsewhere.api_tokens.holder(made.token)).role == Role("lab")
    with pytest.raises(InvalidInput, match="unknown role «lab»"):
        await people.api_tokens.create(AccessTokenRequest("cd", "lab"), "admin")
    for name in ("lab", "admin"):
        with pytest.raises(Refused, match="there is or was one of this name"):
            await people.roles.create(RoleRequest(name, ["read"]), "admin")
    with pytest.raises(Refused, match="it is built in"):
        await people.roles.delete("monitor")
    with pytest.raises(NotFound, match="there is none of this name"):
        await people.roles.delete("lob")


async def test_roles_of_the_settings_hold_at_this_hub(hub: HubRig) -> None:
    people = people_of(hub, _settings(("operator", ["read"]), ("night", ["execute"])))
    made = await people.api_tokens.create(AccessTokenRequest("ci", "night"), "admin")
    assert (await people.api_tokens.holder(made.token)).role == Role("night", ("execute",))
    assert (await people_of(hub).api_tokens.holder(made.token)).role == Role("night")
    shown = {each.name: each.origin for each in await people.roles.list()}
    assert (shown["operator"], shown["night"]) == ("settings", "settings")
    with pytest.raises(InvalidInput, match="nobody could take that back"):
        people_of(hub, _settings(("admin", ["read"])))


def _settings(*roles: tuple[str, list[str]]) -> AccessControlSection:
    given = [GivenRole(name, permissions) for name, permissions in roles]
    return AccessControlSection(authorization=AuthorizationSection(given))
