"""Differences between specs, and their written form."""

import pytest

from skerry.core.spec_text import difference, flow_list, to_document
from skerry.wire.people import FieldChange
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


def spec(**fields: object) -> WorkloadSpec:
    return WorkloadSpec(**{"name": "a", "process": ProcessSpec(command=["x", "1"])} | fields)  # type: ignore[arg-type]


def test_differences_between_overrides_are_told_field_by_field() -> None:
    def on_n1(**fields: object) -> Override:
        return Override(on=Selector(node="n1"), fields=fields)

    before = spec(overrides=[on_n1(env={"A": "1"}, stop={"grace": 5.0})])
    after = spec(
        overrides=[on_n1(env={"A": "2"}, stop={"grace": 5.0}), on_n1(logs={"max_size": 8192})]
    )
    assert [(each.path, each.old, each.new) for each in difference(before, after)] == [
        ("overrides[0].env.A", "1", "2"),
        ("overrides[1].on.node", None, "n1"),
        ("overrides[1].logs.max_size", None, "8KiB"),
    ]


def test_a_document_leaves_out_what_is_default() -> None:
    assert to_document(spec()) == {
        "kind": "workload",
        "name": "a",
        "process": {"command": ["x", "1"]},
    }
    written = to_document(
        spec(
            on=Selector(labels={"site": "lab"}),
            resources=Resources(memory=64_000_000, cpu=0.5),
            restart=Restart(delay=0.25, window=3600.0),
            ready=Ready(tcp=80, interval=90.0),
            on_disconnect=OnDisconnect(stop_after=600.0),
        )
    )
    assert list(written) == [
        "kind",
        "name",
        "on",
        "process",
        "resources",
        "restart",
        "ready",
        "on_disconnect",
    ]
    assert written["resources"] == {"cpu": 0.5, "memory": "64MB"}
    assert written["restart"] == {"delay": "250ms", "window": "1h"}
    assert written["ready"] == {"tcp": 80, "interval": "90s"}
    assert written["on_disconnect"] == "stop after 10m"


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        (spec(), spec(), []),
        (
            spec(process=ProcessSpec(command=["x", "a b", ""])),
            spec(process=ProcessSpec(command=["x"], directory="/srv")),
            [("process.command", '[x, "a b", ""]', "[x]"), ("process.directory", None, "/srv")],
        ),
        (
            spec(env={"A": "1", "B": "2"}),
            spec(env={"B": "3", "C": ""}),
            [("env.A", "1", None), ("env.B", "2", "3"), ("env.C", None, "")],
        ),
        (spec(), spec(restart=Restart(policy="never")), [("restart.policy", "always", "never")]),
        (spec(), spec(ready=Ready(tcp=80)), [("ready.tcp", None, "80"), ("ready.interval", None, "1s"), ("ready.timeout", None, "5s")]),
        (spec(), spec(on_disconnect=OnDisconnect(stop_after=60.0)), [("on_disconnect", "run", "stop after 1m")]),
        (spec(resources=Resources(cpu=1.0)), spec(resources=Resources(cpu=0.5)), [("resources.cpu", "1", "0.5")]),
        (spec(streams={"a.*": "keep"}), spec(streams={"a.*": "sample"}), [('streams."a.*"', "keep", "sample")]),
        (spec(streams={"a": "keep", "b": "keep"}), spec(streams={"b": "keep", "a": "keep"}), [("streams (order)", "a, b", "b, a")]),
        (None, spec(env={"A": "1"}), [("process.command", None, "[x, 1]"), ("env.A", None, "1")]),
        (spec(), None, [("process.command", "[x, 1]", None)]),
    ],
)  # fmt: skip
def test_differences(
    old: WorkloadSpec | None, new: WorkloadSpec | None, changes: list[tuple[str, str, str]]
) -> None:
    assert difference(old, new) == [FieldChange(*change) for change in changes]


def test_lists_in_one_line_are_yaml() -> None:
    assert flow_list(["python", "-m", "a b", "", "x,y", "it's", "#"]) == '[python, -m, "a b", "", "x,y", "it\'s", "#"]'  # fmt: skip
