"""Overrides: which apply, how they are merged, what is refused when it comes by the API."""

import pytest
from tests.hub_rig import spec

from skerry.core.overrides import resolve
from skerry.core.specs import check_spec
from skerry.hub.fleet.controller import Node, Step, check_on_nodes
from skerry.kit.errors import InvalidInput
from skerry.wire.codec import decode, encode
from skerry.wire.workload import (
    OnDisconnect,
    Override,
    ProcessSpec,
    Ready,
    Resources,
    Restart,
    Selector,
    WorkloadSpec,
)


def on(
    node: str | None = None, *, labels: dict[str, str] | None = None, **fields: object
) -> Override:
    return Override(on=Selector(node=node, labels=labels or {}), fields=fields)


def test_without_overrides_a_spec_is_what_it_is() -> None:
    plain = spec("a")
    assert resolve(plain, "n1", {}) is plain
    assert resolve(spec("a", overrides=[on("n2", env={"X": "1"})]), "n1", {}) == plain


def test_sections_and_maps_are_merged_and_the_rest_is_replaced() -> None:
    base = spec(
        "a",
        env={"X": "1", "Y": "1"},
        resources=Resources(cpu=0.5, memory=1 << 20),
        ready=Ready(tcp=80, interval=9.0),
        on_disconnect=OnDisconnect(stop_after=60.0),
        overrides=[
            on(
                "n1",
                env={"Y": "2", "Z": "2"},
                resources={"memory": 1 << 21},
                process={"command": ["other"]},
                ready={"http": "http://127.0.0.1/"},
                on_disconnect={},
            )
        ],
    )
    assert resolve(base, "n1", {}) == WorkloadSpec(
        name="a",
        process=ProcessSpec(command=["other"]),
        env={"X": "1", "Y": "2", "Z": "2"},
        resources=Resources(cpu=0.5, memory=1 << 21),
        ready=Ready(http="http://127.0.0.1/"),
    )


def test_later_ones_win_and_a_sections_default_is_no_obstacle() -> None:
    base = spec(
        "a",
        overrides=[
            on(labels={"site": "lab"}, env={"X": "lab"}, restart={"attempts": 3}),
            on("n1", env={"X": "n1"}),
            on(labels={"site": "field"}, env={"X": "field"}),
        ],
    )
    assert resolve(base, "n1", {"site": "lab"}) == spec(
        "a", env={"X": "n1"}, restart=Restart(attempts=3)
    )
    assert resolve(base, "n2", {"site": "lab"}).env == {"X": "lab"}


def test_a_spec_with_overrides_survives_the_wire() -> None:
    base = spec("a", overrides=[on("n1", stop={"grace": 5.0}, container={"user": "x"})])
    assert decode(encode(base), WorkloadSpec, "spec") == base


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"nmae": "b"}, "overrides[0]: «nmae» cannot differ from node to node"),
        ({"depends_on": {"b": "running"}}, "overrides[0]: «depends_on» cannot differ"),
        ({"resources": {"memroy": 5}}, "overrides[0]: «memroy» in resources cannot differ from node to node: did you mean «memory»?"),
        ({"resources": {"memory": "much"}}, "overrides[0]: Expected `int | null`, got `str`"),
        ({"resources": 5}, "overrides[0]: Expected `object`, got `int`"),
        ({"env": {"X": None}}, "overrides[0]: env.X has no value: leave it out"),
        ({"ready": None}, "overrides[0]: ready has no value: leave it out"),
        ({"container": {"image": "x"}}, "overrides[0]: «container» does not belong to runtime «process»"),
    ],
)  # fmt: skip
def test_what_comes_by_the_api_is_judged_too(fields: dict[str, object], fault: str) -> None:
    [found] = check_spec(spec("a", overrides=[on("n1", **fields)]))
    assert found.startswith(fault)


def test_faults_of_the_spec_itself_are_told_once() -> None:
    wrong = spec("a", restart=Restart(attempts=0), overrides=[on("n1", env={"X": "1"})] * 3)
    assert len(check_spec(wrong)) == 1


def test_what_only_several_make_wrong_is_refused_where_it_happens() -> None:
    both = spec(
        "a",
        overrides=[
            on("n1", restart={"delay": 60.0}),
            on(labels={"site": "lab"}, restart={"max_delay": 30.0}),
        ],
    )
    assert check_spec(both) == []
    step = Step("a", "create", [], both)
    check_on_nodes([step], [Node("1", "n1", {}), Node("2", "n2", {"site": "lab"})])
    with pytest.raises(InvalidInput, match=r"for node «n1»: restart.max_delay: 30s is less than"):
        check_on_nodes([step], [Node("1", "n1", {"site": "lab"})])
