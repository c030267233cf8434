"""Two hubs with certificates on one PostgreSQL and one directory: one fleet, one root, one word on every node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.test_trust_of_a_fleet import ask, closing, greet_with, renew
from tests.postgres import Postgres

from skerry.kit.errors import Refused
from skerry.testing.running_hub import RunningHub, running_hub
from skerry.testing.waiting import eventually
from skerry.wire.codec import decode, encode
from skerry.wire.link import DELETED
from skerry.wire.people import NodeRevoked
from skerry.wire.sync import Hello, HelloReply
from skerry.wire.trust import TrustView

pytestmark = pytest.mark.postgres


@pytest.fixture
async def url(postgres: Postgres) -> AsyncIterator[str]:
    with postgres.database() as address:
        yield address


@pytest.fixture
async def hubs(tmp_path: Path, url: str) -> AsyncIterator[tuple[RunningHub, RunningHub]]:
    async with (
        running_hub(tmp_path, database=url, method="certificate") as first,
        running_hub(tmp_path, database=url, method="certificate") as second,
    ):
        yield first, second


async def test_a_node_of_one_hub_is_a_node_of_the_other(
    hubs: tuple[RunningHub, RunningHub],
) -> None:
    first, second = hubs
    node = await first.certify("a")
    hello = encode(Hello((1, 1), "11" * 16, "0.1.0", "boot-1", trust=1))
    async with (
        node.session(second) as session,
        session.post("/sync/v1/hello", data=hello) as response,
    ):
        assert response.status == 200
        reply = decode(await response.read(), HelloReply, "reply")
    assert reply.hubs == sorted((first.nodes_address, second.nodes_address))


@pytest.mark.guarantee("G10")
async def test_who_is_revoked_at_one_hub_is_out_at_the_other(
    hubs: tuple[RunningHub, RunningHub],
) -> None:
    first, second = hubs
    node = await first.certify("a")
    async with node.session(second) as session:
        link = await session.ws_connect("/sync/v1/link")
        await ask(first, "POST", "/api/v1/nodes/a/revoke", NodeRevoked)
        assert await closing(link) == DELETED
        async with session.post("/sync/v1/pull", data=b"{}") as response:
            assert response.status == 401
    again = await first.certify("a", secret=node.secret)
    assert await greet_with(second, again, again.trust.roots, again.certificate) == 200
    assert await greet_with(second, node, again.trust.roots, node.certificate) == 401


async def test_the_root_changes_at_both(hubs: tuple[RunningHub, RunningHub]) -> None:
    first, second = hubs
    node = await first.certify("a")
    begun = await ask(first, "POST", "/api/v1/trust/rotate", TrustView)
    await eventually(lambda: believes(second, 2), "the other hub believes the new root")
    roots = await second.roots()
    assert await greet_with(second, node, roots, node.certificate, trust=begun.number) == 200
    await ask(first, "POST", "/api/v1/trust/finish", TrustView)
    await eventually(lambda: issues_under(second, 2), "the other hub issues under the new root")
    renewed = await renew(second, node, roots)
    assert await greet_with(first, node, roots[1:], renewed.certificate) == 200


async def believes(hub: RunningHub, count: int) -> bool:
    return len(await hub.roots()) == count


async def issues_under(hub: RunningHub, number: int) -> bool:
    roots = (await ask(hub, "GET", "/api/v1/trust", TrustView)).roots
    return roots[number - 1].state == "issuing"


async def test_a_hub_with_a_root_of_its_own_does_not_join(tmp_path: Path, url: str) -> None:
    async with running_hub(tmp_path / "one", database=url, method="certificate") as first:
        other = tmp_path / "other"
        other.mkdir()
        (other / "admin.token").write_text(first.admin_token)
        with pytest.raises(Refused, match="the fleet has a root of trust"):
            async with running_hub(other, database=url, method="certificate"):
                pass
        await asyncio.to_thread(copy, tmp_path / "one/trust", other / "trust")
        async with running_hub(other, database=url, method="certificate") as second:
            node = await second.certify("a")
            assert await greet_with(first, node, node.trust.roots, node.certificate) == 200


def copy(source: Path, target: Path) -> None:
    target.mkdir(mode=0o700, exist_ok=True)
    for each in source.iterdir():
        path = target / each.name
        path.write_bytes(each.read_bytes())
        path.chmod(0o600)
