"""The hub's controller: where workloads go, what an apply means, which dependencies are refused."""

import pytest
from tests.hub_rig import spec

from skerry.hub.fleet.controller import Node, Place, check_dependencies, difference, places, plan
from skerry.kit.errors import InvalidInput, Refused
from skerry.wire.people import FieldChange
from skerry.wire.workload import Restart, Selector, WorkloadSpec

LAB = Node("id-1", "n1", {"site": "lab", "arm": "yes"})
FIELD = Node("id-2", "n2", {"site": "field"})


def held(*specs: WorkloadSpec) -> dict[str, WorkloadSpec]:
    return {each.name: each for each in specs}


def test_a_workload_goes_to_the_nodes_that_its_selector_means() -> None:
    specs = [
        spec("everywhere"),
        spec("lab", on=Selector(labels={"site": "lab"})),
        spec("lab-arm", on=Selector(labels={"site": "lab", "arm": "no"})),
        spec("one", on=Selector(node="n2")),
    ]
    assert places(specs, [LAB, FIELD]) == {
        Place("id-1", "everywhere"), Place("id-2", "everywhere"), Place("id-1", "lab"), Place("id-2", "one"),
    }  # fmt: skip


def test_only_new_changed_and_unwanted_assignments_are_touched() -> None:
    kept, changed, new, gone = (Place("id-1", name) for name in ("kept", "changed", "new", "gone"))
    found = difference({kept, changed, new}, {kept, changed, gone}, {"changed"})
    assert (found.write, found.delete) == ({changed, new}, {gone})


def test_a_plan_names_every_requested_workload_in_order() -> None:
    before = held(spec("a"), spec("b"), spec("c"))
    steps = plan(before, [spec("new"), spec("b", env={"X": "1"}), spec("a")], prune=False)
    assert [(step.name, step.change) for step in steps] == [
        ("new", "create"), ("b", "change"), ("a", "unchanged"),
    ]  # fmt: skip
    assert steps[1].fields == [FieldChange(path="env.X", old=None, new="1")]


def test_pruning_deletes_what_the_request_does_not_name() -> None:
    before = held(spec("a"), spec("b"), spec("c"))
    assert [(s.name, s.change) for s in plan(before, [spec("b")], prune=True)] == [
        ("b", "unchanged"), ("a", "delete"), ("c", "delete"),
    ]  # fmt: skip
    assert [s.change for s in plan(before, [], prune=True)] == ["delete"] * 3


def test_the_order_of_streams_is_a_change() -> None:
    before = spec("a", streams={"x.*": "keep", "*": "sample"})
    after = spec("a", streams={"*": "sample", "x.*": "keep"})
    [step] = plan(held(before), [after], prune=False)
    assert step.change == "change"


def test_a_name_twice_or_a_wrong_spec_is_refused() -> None:
    with pytest.raises(InvalidInput, match="«a»"):
        plan({}, [spec("a"), spec("a")], prune=False)
    with pytest.raises(InvalidInput, match=r"«a»: .*restart\.attempts"):
        plan({}, [spec("a", restart=Restart(attempts=0))], prune=False)


def test_one_spec_is_limited_but_not_all_of_them_together() -> None:
    large = {f"X{n}": "x" * 100_000 for n in range(10)}
    many = [spec(f"w{n}", env=large) for n in range(20)]
    assert len(plan({}, many, prune=False)) == 20
    with pytest.raises(InvalidInput, match="«w».*at most .* Put what is large into files"):
        plan({}, [spec("w", env=large | {"Y": "x" * 100_000})], prune=False)


def test_a_dangling_dependency_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(Refused, match=r"«api»: it depends on «databse».*did you mean «database»"):
        plan(held(spec("database")), [spec("api", depends_on={"databse": "running"})], prune=False)


def test_dependencies_within_the_request_and_on_what_is_there_are_fine() -> None:
    steps = plan(
        held(spec("old")),
        [spec("a", depends_on={"b": "ready", "old": "running"}), spec("b")],
        prune=False,
    )
    assert [step.change for step in steps] == ["create", "create"]


def test_a_circle_is_named_even_when_part_of_it_is_there_already() -> None:
    before = held(spec("b", depends_on={"c": "running"}), spec("c"))
    with pytest.raises(Refused, match=r"(a → c → b → a|c → b → c|b → c → b)"):
        plan(before, [spec("c", depends_on={"b": "running"})], prune=False)


def test_what_others_depend_on_is_not_deleted_without_them() -> None:
    before = held(spec("db"), spec("api", depends_on={"db": "ready"}))
    with pytest.raises(Refused, match="cannot delete workload «db»: «api» depends on it"):
        plan(before, [before["api"]], prune=True)
    with pytest.raises(Refused, match="cannot delete workload «db»"):
        check_dependencies({"api": before["api"]}, {"db"})
    assert len(plan(before, [], prune=True)) == 2
