"""Workloads on the hub: apply, what it changes, and the assignments that nodes pull."""

import pytest
from sqlalchemy import func, select
from tests.hub_rig import (
    INCARNATION,
    HubRig,
    Lanes,
    PullingNode,
    node_info,
    spec,
    status,
)

from skerry.hub.store.tables import change, state
from skerry.kit.errors import NotFound, Refused
from skerry.wire.people import Applied, FieldChange
from skerry.wire.sync import StateFrame
from skerry.wire.workload import Generation, Selector


async def changes_logged(hub: HubRig) -> int:
    count = select(func.count()).select_from(change)
    return await hub.store.read(lambda connection: connection.execute(count).scalar_one())


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
