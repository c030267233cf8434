"""Enrolment tokens with terms, enrolment with a key, revocation: on each database."""

from __future__ import annotations

import msgspec
import pytest
from tests.hub_rig import HubRig, node_info

from skerry.core.credentials import random_secret, secret_hash
from skerry.hub.enrolling import believed
from skerry.hub.fleet.node_keys import Issued
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.trust import roots as roots_of_fleet
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.wire.sync import Enrol, Enrolled, Hello, StateRow
from skerry.wire.trust import TrustBundle
from skerry.wire.workload import NodeInfo


def asking(token: str, name: str, hardware: str = "", secret: str = "", **labels: str) -> Enrol:
    secret = secret or random_secret()
    return Enrol(token, name, labels, "0.1", secret_hash(secret), hardware=hardware, secret=secret)


def info(row: StateRow) -> NodeInfo:
    return msgspec.json.decode(row.body, type=NodeInfo)


def issued(key: str) -> Issued:
    return Issued("PEM", key, "1", 10**18, 1)


async def admit(hub: HubRig, name: str, key: str, secret: str = "") -> Enrolled:
    token = (await hub.tokens.create(60.0)).token
    return await hub.nodes.enrol(asking(token, name, secret=secret), lambda _: issued(key))


class TestTokens:
    async def test_a_token_for_many_nodes_enrols_so_many(self, hub: HubRig) -> None:
        token = (await hub.tokens.create(60.0, uses=3)).token
        first = asking(token, "n0")
        await hub.nodes.enrol(first)
        await hub.nodes.enrol(asking(token, "n1"))
        again = await hub.nodes.enrol(first)
        await hub.nodes.enrol(asking(token, "n2"))
        with pytest.raises(Refused, match="unknown, used or expired"):
            await hub.nodes.enrol(asking(token, "n3"))
        assert await hub.nodes.enrol(first) == again
        assert [view.name for view in await hub.nodes.list()] == ["n0", "n1", "n2"]

    async def test_a_token_for_one_device_is_no_others(self, hub: HubRig) -> None:
        token = (await hub.tokens.create(60.0, hardware="serial-7")).token
        for other in ("", "serial-8"):
            with pytest.raises(Refused, match="is for the device with hardware id «serial-7»"):
                await hub.nodes.enrol(asking(token, "n1", other))
        assert (await hub.nodes.enrol(asking(token, "n1", "serial-7"))).name == "n1"

    async def test_a_token_for_names_that_begin_so(self, hub: HubRig) -> None:
        token = (await hub.tokens.create(60.0, name_prefix="cam-")).token
        with pytest.raises(Refused, match="names that begin with «cam-»"):
            await hub.nodes.enrol(asking(token, "door-1"))
        assert (await hub.nodes.enrol(asking(token, "cam-1"))).name == "cam-1"

    async def test_the_tokens_labels_count_before_the_nodes_own(self, hub: HubRig) -> None:
        token = (await hub.tokens.create(60.0, labels={"site": "lab"})).token
        node = await hub.nodes.enrol(asking(token, "n1", site="home", floor="2"))
        [view] = await hub.nodes.list()
        assert view.labels == {"site": "lab", "floor": "2"}
        said = node_info(node.node_id, site="elsewhere", floor="3")
        await hub.store.write(
            lambda connection: hub.nodes.learn(connection, node.node_id, info(said), None)
        )
        [view] = await hub.nodes.list()
        assert view.labels == {"site": "lab", "floor": "3"}

    async def test_terms_that_cannot_be(self, hub: HubRig) -> None:
        with pytest.raises(InvalidInput, match="for 0 nodes"):
            await hub.tokens.create(60.0, uses=0)
        with pytest.raises(InvalidInput, match="one hardware id and several"):
            await hub.tokens.create(60.0, uses=2, hardware="x")
        with pytest.raises(InvalidInput, match="labels"):
            await hub.tokens.create(60.0, labels={"-": "x"})


class TestBundles:
    @pytest.mark.guarantee("G9")
    async def test_a_node_with_other_roots_of_the_same_number_is_behind(self, hub: HubRig) -> None:
        """The hub was put back from a backup of before a change of root, and has begun another change."""
        here = TrustBundle(2, ["A", "C"])
        node = await admit(hub, "n1", "aa")

        async def behind(number: int, *roots: str) -> tuple[int, list[str]]:
            digest = TrustBundle(number, [*roots]).digest
            hello = Hello((1, 1), "i", "0", "b", trust=number, trust_digest=digest)
            has = believed(hello, here)
            await hub.nodes.keys.told(node.node_id, has)
            now = hub.clock.wall_ns()
            return has, await hub.store.read(lambda db: roots_of_fleet.behind(db, 2, now))

        assert await behind(2, "A", "C") == (2, [])
        assert await behind(2, "A", "B") == (0, ["n1"])
        assert await behind(3, "A", "B", "D") == (0, ["n1"])
        assert await behind(1, "A") == (1, ["n1"])
        assert await behind(2, "C\n", "A\n") == (2, [])
        assert await behind(1) == (1, ["n1"])
        assert await behind(2) == (2, [])  # a node of before says its number only


class TestKeys:
    async def test_a_nodes_key_is_known_at_every_hub(self, hub: HubRig) -> None:
        node = await admit(hub, "n1", "aa")
        other = Nodes(hub.store, hub.assignments, hub.clock, lambda _: None)
        await other.start()
        for nodes in (hub.nodes, other):
            assert await nodes.keys.has(node.node_id, "aa")
            assert not await nodes.keys.has(node.node_id, "bb")
            assert not await nodes.keys.has("another", "aa")

    async def test_who_enrols_again_gets_a_new_key_in_its_place(self, hub: HubRig) -> None:
        node = await admit(hub, "n1", "aa", "the secret")
        assert (await admit(hub, "x", "bb", "the secret")).node_id == node.node_id
        assert not await hub.nodes.keys.has(node.node_id, "aa")
        assert await hub.nodes.keys.has(node.node_id, "bb")

    @pytest.mark.guarantee("G10")
    async def test_a_revoked_node_is_nobody_until_it_enrols_again(self, hub: HubRig) -> None:
        node = await admit(hub, "n1", "aa", "the secret")
        bearer = f"{node.node_id}.the secret"
        assert hub.nodes.authenticate(bearer) == node.node_id
        assert (await hub.nodes.revoke("n1")).id == node.node_id
        other = Nodes(hub.store, hub.assignments, hub.clock, lambda _: None)
        await other.start()
        for nodes in (hub.nodes, other):
            assert not await nodes.keys.has(node.node_id, "aa")
            assert nodes.authenticate(bearer) is None
            assert await nodes.recall(bearer) is None
        assert [view.name for view in await hub.nodes.list()] == ["n1"]
        assert (await admit(hub, "n1", "cc", "the secret")).node_id == node.node_id
        assert await hub.nodes.keys.has(node.node_id, "cc")
        assert hub.nodes.authenticate(bearer) == node.node_id

    async def test_a_revoked_node_that_is_out_of_service_is_told_by_its_former_key(
        self, hub: HubRig
    ) -> None:
        node = await admit(hub, "n1", "key-1")
        await hub.nodes.revoke("n1")
        await hub.nodes.revoke("n1")
        assert not await hub.nodes.keys.has(node.node_id, "key-1")
        assert await hub.retiring.order_for_key(node.node_id, "key-1") is None
        await hub.retiring.decommission("n1", "stolen", "ann", now=False)
        order = await hub.retiring.order_for_key(node.node_id, "key-1")
        assert order is not None
        assert (order.node_id, order.reason) == (node.node_id, "stolen")
        assert await hub.retiring.order_for_key(node.node_id, "") is None
        assert not await hub.nodes.keys.has(node.node_id, "key-1")

    async def test_a_node_that_is_revoked_while_it_drains_is_out_of_service(
        self, hub: HubRig
    ) -> None:
        node = await admit(hub, "n1", "key-1")
        await hub.retiring.decommission("n1", "sold", "ann", now=False)
        await hub.retiring.settle()
        assert (await hub.devices.get("n1")).state == "draining"
        await hub.nodes.revoke("n1")
        await hub.retiring.settle()
        assert (await hub.devices.get("n1")).state == "decommissioned"
        assert await hub.retiring.order_for_key(node.node_id, "key-1") is not None
        assert hub.ended == [node.node_id]

    async def test_a_node_that_is_not_there_cannot_be_revoked(self, hub: HubRig) -> None:
        with pytest.raises(NotFound, match="cannot revoke node «n2»"):
            await hub.nodes.revoke("n2")
