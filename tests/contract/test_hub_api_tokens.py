"""API tokens of people on each database: whom one stands for, until when, and that the secret is kept nowhere."""

import pytest
from sqlalchemy import select
from tests.hub_rig import DAY, HubRig
from tests.people_rig import people_of

from skerry.core.roles import MONITOR, OPERATOR, Role
from skerry.hub.store.tables import api_token
from skerry.hub.trust.api_tokens import ApiTokens
from skerry.kit.clock import NS
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.wire.access import AccessTokenRequest, AccessTokenView

pytestmark = pytest.mark.guarantee("G9")


def asking(name: str = "ci", role: str = "operator", ttl: float = 60.0) -> AccessTokenRequest:
    return AccessTokenRequest(name, role, ttl)


@pytest.fixture
def tokens(hub: HubRig) -> ApiTokens:
    return people_of(hub).api_tokens


async def test_a_token_stands_for_its_name_and_role(hub: HubRig, tokens: ApiTokens) -> None:
    made = await tokens.create(asking(), "admin")
    now = hub.clock.wall_ns()
    assert (made.name, made.role, made.expires_at) == ("ci", "operator", now + 60 * NS)
    assert made.token.startswith("skt_")
    found = await tokens.holder(made.token)
    assert (found.name, found.role, found.fault) == ("ci", OPERATOR, "")
    assert await tokens.list() == [
        AccessTokenView("ci", "operator", "valid", now, made.expires_at, "admin")
    ]
    for wrong in (
        made.token[:-1],
        f"{made.token}0",
        made.token.upper(),
        made.token[4:],
        "skt_",
        "",
        "skt_\0",
    ):
        assert await tokens.holder(wrong) is None
    assert await tokens.holder(f"skt_{'0' * 64}") is None


async def test_it_is_good_for_thirty_days_unless_said_otherwise(
    hub: HubRig, tokens: ApiTokens
) -> None:
    made = await tokens.create(AccessTokenRequest("ci", "monitor"), "admin")
    assert made.expires_at - hub.clock.wall_ns() == 30 * DAY * NS


async def test_it_expires(hub: HubRig, tokens: ApiTokens) -> None:
    made = await tokens.create(asking(), "admin")
    hub.clock.advance(59.0)
    assert (await tokens.holder(made.token)).fault == ""
    hub.clock.advance(1.0)
    assert "token «ci» was good until 2" in (await tokens.holder(made.token)).fault
    assert (await tokens.list())[0].state == "expired"


async def test_it_is_revoked_once_and_for_all_processes(hub: HubRig, tokens: ApiTokens) -> None:
    made = await tokens.create(asking(), "admin")
    elsewhere = people_of(hub).api_tokens
    assert (await elsewhere.holder(made.token)).fault == ""
    first = await tokens.revoke("ci")
    assert (first.state, first.revoked_at) == ("revoked", hub.clock.wall_ns())
    for each in (tokens, elsewhere):
        assert "token «ci» was revoked at 2" in (await each.holder(made.token)).fault
    hub.clock.advance(5.0)
    assert await tokens.revoke("ci") == first
    hub.clock.advance(60.0)
    assert (await tokens.list())[0].state == "revoked"
    with pytest.raises(NotFound, match=r"cannot revoke token «cd».*access token list"):
        await tokens.revoke("cd")


async def test_a_name_is_used_once(tokens: ApiTokens) -> None:
    made = await tokens.create(asking(), "admin")
    for _ in range(2):
        with pytest.raises(
            Refused, match=r"«ci»: there is or was a token or user of this name.*another name"
        ):
            await tokens.create(asking(role="admin"), "admin")
        await tokens.revoke("ci")
    assert (await tokens.holder(made.token)).role == OPERATOR
    assert (await tokens.create(asking("ci-2"), "admin")).name == "ci-2"


async def test_what_cannot_be_a_token_is_refused(tokens: ApiTokens) -> None:
    for name in ("", "-x", "a b", "x" * 64, "a\0b", "../x", "Ci", "admin", "hub", "skerry"):
        with pytest.raises(InvalidInput, match=r"cannot create a token: «"):
            await tokens.create(asking(name), "admin")
    with pytest.raises(InvalidInput, match=r"unknown role «root»: known are: admin, mon"):
        await tokens.create(asking(role="root"), "admin")
    for ttl in (0.0, -1.0, 0.9, 366 * DAY + 1, float("nan"), float("inf")):
        with pytest.raises(InvalidInput, match="write 1 second to 366 days"):
            await tokens.create(asking(ttl=ttl), "admin")
    assert await tokens.list() == []
    assert (await tokens.create(asking(ttl=366 * DAY), "admin")).name == "ci"


async def test_a_role_that_this_hub_does_not_know_may_nothing(
    hub: HubRig, tokens: ApiTokens
) -> None:
    made = await tokens.create(asking(), "admin")
    await hub.store.write(
        lambda connection: connection.execute(api_token.update().values(role="night-watch"))
    )
    assert (await tokens.holder(made.token)).role == Role("night-watch")


async def test_the_database_has_the_hash_alone(hub: HubRig, tokens: ApiTokens) -> None:
    made = await tokens.create(asking(role="monitor"), "ann")
    [row] = await hub.store.read(lambda connection: connection.execute(select(api_token)).all())
    assert made.token.removeprefix("skt_") not in repr(row)
    assert (row.role, row.created_by, len(row.hash)) == (MONITOR.name, "ann", 64)
