"""Nodes, tokens and workloads on the hub: enrolment, authentication, liveness, apply and its assignments."""

import pytest
from msgspec import structs
from sqlalchemy import func, select
from tests.hub_rig import (
    INCARNATION,
    HubRig,
    Lanes,
    PullingNode,
    batch,
    node_info,
    spec,
    status,
)

from skerry.core.credentials import random_secret, secret_hash
from skerry.hub.store import changes
from skerry.hub.store.tables import change, enrolment_token, node, state
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.wire.people import Applied, FieldChange, NodeDeleted
from skerry.wire.sync import Enrol, StateFrame
from skerry.wire.workload import Generation, Selector


async def changes_logged(hub: HubRig) -> int:
    count = select(func.count()).select_from(change)
    return await hub.store.read(lambda connection: connection.execute(count).scalar_one())


def asking(token: str, name: str, labels: dict[str, str], secret: str = "") -> Enrol:
    """A request to enrol; without a secret, of a device that never asked before."""
    return Enrol(token, name, labels, "0.1", secret_hash(secret or random_secret()))


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


class TestApply:
    async def test_workloads_reach_the_nodes_they_are_for(self, hub: HubRig) -> None:
        lab, field = await hub.enrol("n1", site="lab"), await hub.enrol("n2", site="field")
        reply = await hub.apply(spec("all"), spec("lab", on=Selector(labels={"site": "lab"})))
        command = FieldChange("process.command", None, "[sleep, 1]")
        assert reply.workloads == [
            Applied("all", "create", [command], ["n1", "n2"]),
            Applied("lab", "create", [FieldChange("on.labels.site", None, "lab"), command], ["n1"]),
        ]
        assert hub.news == sorted([lab.node_id, field.node_id])
        first, second = PullingNode(hub, lab.node_id), PullingNode(hub, field.node_id)
        await first.pull()
        await second.pull()
        assert set(first.assignments()) == {"all", "lab"}
        assert set(second.assignments()) == {"all"}
        assert first.assignments()["all"].spec == spec("all")

    async def test_an_unchanged_workload_is_not_written(self, hub: HubRig) -> None:
        await hub.enrol("n1")
        await hub.apply(spec("a"))
        logged, hub.news[:] = await changes_logged(hub), []
        [applied] = (await hub.apply(spec("a"))).workloads
        assert (applied.change, applied.nodes) == ("unchanged", ["n1"])
        assert (await changes_logged(hub), hub.news) == (logged, [])

    async def test_a_change_raises_the_generation(self, hub: HubRig) -> None:
        node = PullingNode(hub, (await hub.enrol("n1")).node_id)
        await hub.apply(spec("a"))
        await node.pull()
        first = node.assignments()["a"]
        [applied] = (await hub.apply(spec("a", env={"X": "2"}))).workloads
        assert [(f.path, f.old, f.new) for f in applied.fields] == [("env.X", None, "2")]
        await node.pull()
        second = node.assignments()["a"]
        assert second.generation > first.generation
        assert second.spec.env == {"X": "2"}
        [view] = await hub.workloads.list("a")
        assert first.generation < view.generation <= second.generation

    async def test_a_changed_selector_moves_the_workload(self, hub: HubRig) -> None:
        lab, field = await hub.enrol("n1", site="lab"), await hub.enrol("n2", site="field")
        nodes = [PullingNode(hub, each.node_id) for each in (lab, field)]
        await hub.apply(spec("a", on=Selector(node="n1")))
        for each in nodes:
            await each.pull()
        hub.news.clear()
        await hub.apply(spec("a", on=Selector(node="n2")))
        assert hub.news == sorted([lab.node_id, field.node_id])
        for each in nodes:
            await each.pull()
        assert [set(each.assignments()) for each in nodes] == [set(), {"a"}]

    async def test_a_dry_run_changes_nothing(self, hub: HubRig) -> None:
        await hub.enrol("n1")
        await hub.apply(spec("a"), spec("b"))
        logged, hub.news[:] = await changes_logged(hub), []
        reply = await hub.apply(spec("c"), spec("a", env={"X": "1"}), dry_run=True, prune=True)
        assert [(a.name, a.change) for a in reply.workloads] == [
            ("c", "create"), ("a", "change"), ("b", "delete"),
        ]  # fmt: skip
        assert (await changes_logged(hub), hub.news) == (logged, [])
        assert [view.name for view in await hub.workloads.list()] == ["a", "b"]

    async def test_without_prune_nothing_is_deleted(self, hub: HubRig) -> None:
        node = PullingNode(hub, (await hub.enrol("n1")).node_id)
        await hub.apply(spec("a"), spec("b"))
        await hub.apply(spec("b"))
        await node.pull()
        assert set(node.assignments()) == {"a", "b"}
        await hub.apply(spec("b"), prune=True)
        await node.pull()
        assert set(node.assignments()) == {"b"}

    async def test_a_refused_apply_changes_nothing(self, hub: HubRig) -> None:
        await hub.enrol("n1")
        with pytest.raises(Refused, match="does not exist"):
            await hub.apply(spec("a"), spec("b", depends_on={"nothing": "running"}))
        assert await hub.workloads.list() == []
        assert await changes_logged(hub) == 0

    async def test_deleting(self, hub: HubRig) -> None:
        node = PullingNode(hub, (await hub.enrol("n1")).node_id)
        await hub.apply(spec("db"), spec("api", depends_on={"db": "ready"}))
        await node.pull()
        with pytest.raises(Refused, match="«api» depends on it"):
            await hub.workloads.delete("db", "ann")
        with pytest.raises(NotFound, match="did you mean «api»"):
            await hub.workloads.delete("apl", "ann")
        await hub.workloads.delete("api", "ann")
        await hub.workloads.delete("db", "ann")
        await node.pull()
        assert node.assignments() == {}
        assert await hub.workloads.list() == []

    async def test_a_deleted_workload_can_come_back_with_a_higher_generation(
        self, hub: HubRig
    ) -> None:
        node = PullingNode(hub, (await hub.enrol("n1")).node_id)
        await hub.apply(spec("a"))
        await node.pull()
        before = node.assignments()["a"].generation
        await hub.workloads.delete("a", "ann")
        await hub.apply(spec("a"))
        await node.pull()
        assert node.assignments()["a"].generation > before

    async def test_restarting(self, hub: HubRig) -> None:
        node = PullingNode(hub, (await hub.enrol("n1")).node_id)
        await hub.apply(spec("a"))
        await hub.workloads.restart("a")
        await hub.workloads.restart("a")
        await node.pull()
        assert node.assignments()["a"].restarts == 2
        await hub.apply(spec("a", env={"X": "1"}))
        await node.pull()
        assert node.assignments()["a"].restarts == 2
        with pytest.raises(NotFound, match="cannot restart workload «b»"):
            await hub.workloads.restart("b")


class TestNodesAndAssignments:
    async def test_a_new_node_gets_what_is_meant_for_it(self, hub: HubRig) -> None:
        await hub.apply(spec("all"), spec("lab", on=Selector(labels={"site": "lab"})))
        node = PullingNode(hub, (await hub.enrol("n1", site="field")).node_id)
        await node.pull()
        assert set(node.assignments()) == {"all"}

    async def test_changed_labels_move_workloads_and_tell_the_node(self, hub: HubRig) -> None:
        node_id = (await hub.enrol("n1", site="lab")).node_id
        node = PullingNode(hub, node_id)
        await hub.apply(
            spec("lab", on=Selector(labels={"site": "lab"})),
            spec("field", on=Selector(labels={"site": "field"})),
        )
        await node.pull()
        assert set(node.assignments()) == {"lab"}
        hub.news.clear()
        lanes = Lanes()
        report = StateFrame([node_info(node_id, site="field")])
        assert (await hub.push(node_id, lanes.unit("state", [report]))).outcome == "ok"
        assert hub.news == [node_id]
        await node.pull()
        assert set(node.assignments()) == {"field"}
        [view] = await hub.nodes.list()
        assert (view.labels, view.version, view.name) == ({"site": "field"}, "0.2", "n1")

        hub.news.clear()
        await hub.push(
            node_id, lanes.unit("state", [StateFrame([node_info(node_id, hlc=2, site="field")])])
        )
        assert hub.news == []

    async def test_statuses_appear_beside_the_workload(self, hub: HubRig) -> None:
        first = await hub.enrol("n1")
        await hub.enrol("n2")
        await hub.apply(spec("a"), spec("b", on=Selector(node="n1")))
        frame = StateFrame([status("a"), status("b", "backoff"), status("forgotten")])
        await hub.push(first.node_id, Lanes(INCARNATION).unit("state", [frame]))
        views = {view.name: view for view in await hub.workloads.list()}
        assert set(views) == {"a", "b"}
        running = views["a"].nodes["n1"].status
        assert running is not None
        assert (running.phase, running.generation) == ("running", Generation(1, 1))
        assert views["a"].nodes["n2"].status is None
        assert set(views["b"].nodes) == {"n1"}
        counts = {view.name: (view.workloads, view.running) for view in await hub.nodes.list()}
        assert counts == {"n1": (2, 1), "n2": (1, 0)}

    @pytest.mark.guarantee("G5")
    async def test_a_status_says_when_its_node_was_heard(self, hub: HubRig) -> None:
        node_id = (await hub.enrol("n1")).node_id
        await hub.apply(spec("a"))
        await hub.push(
            node_id, Lanes(INCARNATION).unit("state", [StateFrame([status("a", "running")])])
        )
        hub.clock.advance(100.0)
        heard_at = hub.clock.wall_ns()
        hub.nodes.seen(node_id, heard_at)
        hub.clock.advance(44.0)
        [view] = await hub.workloads.list()
        instance = view.nodes["n1"]
        assert (instance.node_online, instance.heard_at, instance.age) == (True, heard_at, 44.0)
        hub.clock.advance(1.0)
        [view] = await hub.workloads.list("a")
        instance = view.nodes["n1"]
        assert (instance.node_online, instance.heard_at, instance.age) == (False, heard_at, 45.0)
        assert instance.status is not None
        assert instance.status.phase == "running"  # what it was, for whoever reads node_online too
        [node_view] = await hub.nodes.list()
        assert (node_view.online, node_view.last_seen) == (False, heard_at)

    async def test_deleting_a_node_takes_its_state_along(self, hub: HubRig) -> None:
        enrolled = await hub.enrol("n1")
        await hub.apply(spec("a"))
        await hub.nodes.delete("n1")
        left = select(func.count()).select_from(state)
        assert await hub.store.read(lambda c: c.execute(left).scalar_one()) == 0
        [view] = await hub.workloads.list()
        assert view.nodes == {}
        assert enrolled.node_id not in {each.id for each in await hub.nodes.list()}
