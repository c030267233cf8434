"""What a role for some nodes sees: never more than there is, nothing of other nodes, and everything of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.core.roles import Role
from skerry.hub.fleet.controller import Node
from skerry.hub.fleet.sight import EVERYTHING, Sight, seen_by
from skerry.kit.errors import NotFound, Refused
from skerry.wire.people import (
    AssignmentView,
    InstanceView,
    NodeView,
    UpdateView,
    WorkloadView,
)
from skerry.wire.workload import Generation, ProcessSpec, WorkloadSpec

pytestmark = pytest.mark.guarantee("G9")

KEYS, VALUES = ("site", "floor", ""), ("lab", "roof", "")
LABELS = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
SPEC = WorkloadSpec(name="w", process=ProcessSpec(command=["true"]))


def nodes_of(labels: list[dict[str, str]]) -> list[Node]:
    return [Node(f"id-{at}", f"n{at}", each) for at, each in enumerate(labels)]


def node_view(node: Node) -> NodeView:
    return NodeView(node.id, node.name, node.labels, True, 0, 0.0, "", 0, 0, 0)


def workload(name: str, on: list[Node]) -> WorkloadView:
    instance = InstanceView(None, True, 0, 0.0)
    update = UpdateView("rolling", len(on), 0, 0, 0, 0, "")
    return WorkloadView(
        name, Generation(1, 1), SPEC, 0, {node.name: instance for node in on}, update
    )


@given(st.lists(LABELS, max_size=6), LABELS, st.lists(st.sets(st.integers(0, 5)), max_size=4))
def test_what_is_seen_is_a_part_of_what_there_is(
    labels: list[dict[str, str]], on: dict[str, str], places: list[set[int]]
) -> None:
    nodes = nodes_of(labels)
    role = Role("r", ("read",), tuple(sorted(on.items())))
    fitting = [node for node in nodes if on.items() <= node.labels.items()]
    sight = seen_by(role, nodes)
    views = [node_view(node) for node in nodes]
    assert sight.nodes(views) == [node_view(node) for node in fitting]
    names = {node.name for node in fitting}
    workloads = [
        workload(f"w{at}", [node for number, node in enumerate(nodes) if number in each])
        for at, each in enumerate(places)
    ]
    if not on:
        assert sight is EVERYTHING
        assert sight.workloads(workloads, None) == workloads
        return
    seen = {view.name: view for view in sight.workloads(workloads, None)}
    for whole in workloads:
        assert set(seen[whole.name].nodes if whole.name in seen else ()) == names & set(whole.nodes)
        if whole.name in seen:
            assert seen[whole.name].update is None
    told = [AssignmentView(node.name, "w", Generation(1, 1), SPEC, 0, []) for node in nodes]
    assert [each.node for each in sight.assignments(told, None, None)] == [n.name for n in fitting]


def test_acting_on_a_workload_takes_all_of_its_nodes() -> None:
    lab, roof = nodes_of([{"site": "lab"}, {"site": "roof"}])
    sight = seen_by(Role("lab", ("execute",), (("site", "lab"),)), [lab, roof])
    views = [workload("mine", [lab]), workload("both", [lab, roof]), workload("theirs", [roof])]
    sight.check_whole("restart", "mine", views)
    EVERYTHING.check_whole("restart", "theirs", views)
    with pytest.raises(Refused, match="«both»: it runs on nodes, too, that your role is not for"):
        sight.check_whole("restart", "both", views)
    words = set()
    for name in ("theirs", "nowhere"):
        with pytest.raises(NotFound) as hidden:
            sight.check_whole("restart", name, views)
        words.add(str(hidden.value).replace(name, "…"))
    assert len(words) == 1


def test_a_node_that_is_called_as_another_ones_id_shows_nothing_of_that_one() -> None:
    sight = Sight(frozenset({"id-0"}), frozenset({"id-1"}))
    assert (sight.node("id-0"), sight.node("id-1")) == (True, False)
    assert (sight.named("id-1"), sight.named("id-0")) == (True, False)
