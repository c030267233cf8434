"""Nodes, tokens and workloads on the hub: enrolment, authentication, liveness, apply and its assignments."""

import pytest
from msgspec import structs
from sqlalchemy import select
from tests.hub_rig import (
    HubRig,
    Lanes,
    PullingNode,
    batch,
    spec,
)

from skerry.core.credentials import random_secret, secret_hash
from skerry.hub.store import changes
from skerry.hub.store.tables import enrolment_token, node
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.wire.people import NodeDeleted
from skerry.wire.sync import Enrol
from skerry.wire.workload import Selector


def asking(token: str, name: str, labels: dict[str, str], secret: str = "") -> Enrol:
    """A request to enrol; without a secret, of a device that never asked before."""
    secret = secret or random_secret()
    return Enrol(token, name, labels, "0.1", secret_hash(secret), secret=secret)


class TestEnrolment:
    async def test_a_token_enrols_one_node(self, hub: HubRig) -> None:
        token = (await hub.tokens.create(60.0)).token
        enrolled = await hub.nodes.enrol(asking(token, "n1", {"site": "lab"}))
        assert enrolled.hub_id == hub.store.facts.hub_id
        with pytest.raises(Refused, match="unknown, used or expired"):
            await hub.nodes.enrol(asking(token, "n2", {}))
        [view] = await hub.nodes.list()
        assert (view.id, view.name, view.labels) == (enrolled.node_id, "n1", {"site": "lab"})

    async def test_a_node_that_asks_again_gets_the_same_answer(self, hub: HubRig) -> None:
        token = (await hub.tokens.create(60.0)).token
        asked = asking(token, "n1", {})
        first = await hub.nodes.enrol(asked)
        hub.clock.advance(59.0)
        assert await hub.nodes.enrol(asked) == first
        assert len(await hub.nodes.list()) == 1
        with pytest.raises(Refused, match="unknown, used or expired"):
            await hub.nodes.enrol(asking(token, "n1", {}))
        hub.clock.advance(1.0)
        with pytest.raises(Refused, match="unknown, used or expired"):
            await hub.nodes.enrol(asked)

    async def test_with_a_new_token_it_is_still_the_same_node(self, hub: HubRig) -> None:
        first, second = [(await hub.tokens.create(60.0)).token for _ in range(2)]
        enrolled = await hub.nodes.enrol(asking(first, "n1", {}, "the secret"))
        assert await hub.nodes.enrol(asking(second, "n1", {}, "the secret")) == enrolled
        with pytest.raises(Refused, match="unknown, used or expired"):
            await hub.nodes.enrol(asking(second, "n2", {}))

    async def test_a_hash_that_is_none_is_refused(self, hub: HubRig) -> None:
        token = (await hub.tokens.create(60.0)).token
        for wrong in ("", "x" * 64, "0" * 63):
            with pytest.raises(InvalidInput, match="hash"):
                await hub.nodes.enrol(Enrol(token, "n1", {}, "0.1", wrong))

    async def test_a_token_expires_and_an_unknown_one_is_refused(self, hub: HubRig) -> None:
        token = (await hub.tokens.create(60.0)).token
        hub.clock.advance(60.0)
        for each in (token, "f" * 64, ""):
            with pytest.raises(Refused, match="unknown, used or expired"):
                await hub.nodes.enrol(asking(each, "n1", {}))

    async def test_a_taken_name_leaves_the_token_usable(self, hub: HubRig) -> None:
        await hub.enrol("n1")
        token = (await hub.tokens.create(60.0)).token
        with pytest.raises(Refused, match=r"«n1».*Choose another name"):
            await hub.nodes.enrol(asking(token, "n1", {}))
        assert (await hub.nodes.enrol(asking(token, "n2", {}))).name == "n2"

    async def test_impossible_names_labels_and_lifetimes_are_refused(self, hub: HubRig) -> None:
        token = (await hub.tokens.create(60.0)).token
        for name in ("", "-x", "a b", "x" * 200, "a\0b", "../x"):
            with pytest.raises(InvalidInput):
                await hub.nodes.enrol(asking(token, name, {}))
        for labels in ({"": "x"}, {"k": "x" * 300}, {f"k{i}": "" for i in range(65)}):
            with pytest.raises(InvalidInput):
                await hub.nodes.enrol(asking(token, "n1", labels))
        for ttl in (0.0, -1.0, float("nan"), float("inf")):
            with pytest.raises(InvalidInput):
                await hub.tokens.create(ttl)

    @pytest.mark.guarantee("G10")
    async def test_secrets_are_not_in_the_database(self, hub: HubRig) -> None:
        token = (await hub.tokens.create(60.0)).token
        secret = random_secret()
        await hub.nodes.enrol(asking(token, "n1", {}, secret))
        for table in (node, enrolment_token):
            query = select(table)
            held = await hub.store.read(lambda c, q=query: str(c.execute(q).all()))
            assert token not in held
            assert secret not in held


class TestAuthentication:
    @pytest.mark.guarantee("G9")
    async def test_only_the_nodes_own_secret_is_good(self, hub: HubRig) -> None:
        first, second = await hub.enrol("n1"), await hub.enrol("n2")
        assert hub.nodes.authenticate(f"{first.node_id}.{first.secret}") == first.node_id
        bad = ("", ".", first.node_id, first.secret, f"{first.node_id}.", f".{first.secret}",
               f"{first.node_id}.{second.secret}", f"nobody.{first.secret}", f"{first.node_id}.{first.secret}x",
               f"{first.node_id}.é")  # fmt: skip
        assert [each for each in bad if hub.nodes.authenticate(each) is not None] == []

    async def test_a_restarted_hub_knows_its_nodes(self, hub: HubRig) -> None:
        enrolled = await hub.enrol("n1")
        again = HubRig(hub.url, hub.clock, hub.encryption)
        await again.start()
        assert again.nodes.authenticate(f"{enrolled.node_id}.{enrolled.secret}") == enrolled.node_id
        again.stop()

    async def test_a_deleted_node_is_nobody_and_its_name_is_free(self, hub: HubRig) -> None:
        with pytest.raises(NotFound, match="there are none yet"):
            await hub.nodes.delete("n1")
        enrolled = await hub.enrol("n1")
        with pytest.raises(NotFound, match="did you mean «n1»"):
            await hub.nodes.delete("n11")
        assert (await hub.nodes.delete("n1")).id == enrolled.node_id
        assert hub.nodes.authenticate(f"{enrolled.node_id}.{enrolled.secret}") is None
        assert await hub.nodes.list() == []
        await hub.enrol("n1")

    async def test_a_deleted_nodes_records_stay_and_its_assignments_go(self, hub: HubRig) -> None:
        enrolled = await hub.enrol("n1")
        await hub.apply(
            spec("all"), spec("only", on=Selector(node="n1")), spec("other", on=Selector(node="n2"))
        )
        await hub.push(enrolled.node_id, Lanes().unit("keep", [batch(1, 2, 3)]))
        deleted = await hub.nodes.delete("n1")
        assert deleted == NodeDeleted(enrolled.node_id, "n1", ["only"])
        assert {view.name: view.nodes for view in await hub.workloads.list()} == {
            "all": {},
            "only": {},
            "other": {},
        }
        rows = (await hub.query.records(node=enrolled.node_id)).rows
        assert [row.value for row in rows] == [1, 2, 3]

    async def test_it_may_become_the_same_node_again(self, hub: HubRig) -> None:
        """With its store: what it sends again is there already, and the hub's history is not thought lost."""
        enrolled = await hub.enrol("n1")
        node = PullingNode(hub, enrolled.node_id)
        await hub.apply(spec("a"), spec("b"))
        await node.pull()
        unit = Lanes().unit("keep", [batch(1, 2, 3)])
        await hub.push(enrolled.node_id, unit)
        token = (await hub.tokens.create(60.0)).token
        asked = structs.replace(asking(token, "n1", {}), former_id=enrolled.node_id)
        with pytest.raises(Refused, match="the hub still has it, as «n1».*skerry delete node n1"):
            await hub.nodes.enrol(asked)
        await hub.nodes.delete("n1")
        await hub.workloads.delete("b", "ann")
        assert (await hub.nodes.enrol(asked)).node_id == enrolled.node_id
        assert await hub.nodes.enrol(asked) == await hub.nodes.enrol(asked)
        assert (await hub.push(enrolled.node_id, unit)).outcome == "ok"
        assert len((await hub.query.records(node="n1")).rows) == 3
        assert [reply.full for reply in await node.pull()] == [True]
        assert set(node.assignments()) == {"a"}
        assert (await hub.store.read(changes.read_log)).epoch == 1
        with pytest.raises(InvalidInput, match="former id"):
            await hub.nodes.enrol(structs.replace(asked, former_id="../x"))


class TestLiveness:
    async def test_a_node_is_online_for_45_seconds_after_it_was_heard_of(self, hub: HubRig) -> None:
        enrolled = await hub.enrol("n1")
        hub.clock.advance(100.0)
        [view] = await hub.nodes.list()
        assert (view.online, view.age) == (False, 100.0)
        hub.nodes.seen(enrolled.node_id, hub.clock.wall_ns())
        hub.clock.advance(44.0)
        [view] = await hub.nodes.list()
        assert (view.online, view.age) == (True, 44.0)
        hub.clock.advance(1.0)
        [view] = await hub.nodes.list()
        assert not view.online

    async def test_a_flush_survives_a_restart(self, hub: HubRig) -> None:
        enrolled = await hub.enrol("n1")
        hub.clock.advance(1000.0)
        hub.nodes.seen(enrolled.node_id, hub.clock.wall_ns())
        read = select(node.c.last_seen)
        before = await hub.store.read(lambda c: c.execute(read).scalar_one())
        await hub.nodes.flush()
        after = await hub.store.read(lambda c: c.execute(read).scalar_one())
        assert after - before == 1000 * 10**9
        await hub.nodes.flush()

    async def test_what_was_heard_during_a_flush_is_not_lost(self, hub: HubRig) -> None:
        enrolled = await hub.enrol("n1")
        hub.nodes.seen(enrolled.node_id, hub.clock.wall_ns())
        await hub.nodes.flush()
        hub.clock.advance(5.0)
        hub.nodes.seen(enrolled.node_id, hub.clock.wall_ns())
        await hub.nodes.flush()
        again = HubRig(hub.url, hub.clock, hub.encryption)
        await again.start()
        [view] = await again.nodes.list()
        assert view.age == 0.0
        again.stop()
