"""What the hub's page shows, and its sessions: pure decisions, no server."""

import msgspec
import pytest

from skerry.hub.api.problems import status_of
from skerry.hub.dashboard import chart, view
from skerry.hub.dashboard.workload_lines import WorkloadLine, workload_lines
from skerry.hub.data.history import Course
from skerry.kit.clock import NS, iso
from skerry.kit.errors import (
    Corrupt,
    InvalidInput,
    NotFound,
    Refused,
    SkerryError,
    StorageFull,
    TooLarge,
    Transient,
)
from skerry.wire.people import DeviceWorkload, InstanceView, NodeView, UpdateView, WorkloadView
from skerry.wire.records import Meta, Row, Value
from skerry.wire.workload import Generation, Phase, ProcessSpec, Ready, WorkloadSpec, WorkloadStatus

NOW = 1_760_000_000 * NS


def row(name: str, value: Value, age: int = 1, node: str = "a", meta: Meta | None = None) -> Row:
    at = NOW - age * NS
    return Row(iso(at), name, value, meta or {}, node, "source", at)


def node(name: str, *, online: bool = True, age: float = 1.0) -> NodeView:
    return NodeView(name, name, {"site": "lab"}, online, NOW, age, "0.1.0", NOW, 2, 1)


def workload(
    name: str,
    nodes: dict[str, WorkloadStatus | None],
    ready: Ready | None = None,
    *,
    offline: tuple[str, ...] = (),
) -> WorkloadView:
    """With the age 1 s of its nodes, or 90 s of those that are offline."""
    spec = WorkloadSpec(name=name, process=ProcessSpec(command=["true"]), ready=ready)
    instances = {
        each: InstanceView(status, each not in offline, NOW, 90.0 if each in offline else 1.0)
        for each, status in nodes.items()
    }
    return WorkloadView(name, Generation(1, 5), spec, 0, instances)


def status(phase: Phase, **values: object) -> WorkloadStatus:
    return WorkloadStatus("w", Generation(1, 5), phase, NOW - 65 * NS, **values)  # type: ignore[arg-type]


def snapshot(
    nodes: tuple[NodeView, ...] = (),
    workloads: tuple[WorkloadView, ...] = (),
    latest: tuple[Row, ...] = (),
    events: tuple[Row, ...] = (),
    history: dict[str, list[Course]] | None = None,
) -> view.Snapshot:
    return view.Snapshot(NOW, nodes, workloads, latest, events, history or {})


def test_noise_does_not_fill_a_chart() -> None:
    assert chart.scale([10.0, 30.0]) == (10.0, 30.0)
    assert chart.scale([100.0, 100.001]) == pytest.approx((98.0, 102.0), abs=0.01)
    low, high = chart.scale([0.0])
    assert low < 0 < high
    assert chart.scale([]) == (0.0, 1.0)


def test_a_line_bridges_short_holes_and_shows_long_ones() -> None:
    assert chart.path([0.0, None, 10.0], 0.0, 10.0) == "M0 31.0h.01L2 1.0"
    long = [0.0, *[None] * 7, 10.0]
    assert chart.path(long, 0.0, 10.0) == "M0 31.0h.01M8 1.0h.01"
    assert chart.path([None, None], 0.0, 1.0) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "just now"), (1, "just now"), (7, "7s ago"), (65, "1m 5s ago"),
        (7200, "2h 0m ago"), (93_600, "1d 2h ago"),
    ],
)  # fmt: skip
def test_ages(seconds: int, text: str) -> None:
    assert view.ago(seconds * NS) == text


@pytest.mark.parametrize(
    ("name", "value", "unit", "text"),
    [
        ("host.cpu.percent", 12.345, "", "12.3 %"),
        ("host.memory.used", 3_200_000_000, "", "3.2 GB"),
        ("host.network.rx.bytes", 1500.0, "", "1.5 KB"),
        ("host.uptime", 14_115, "", "3h 55m"),
        ("host.network.rx.bytes_per_second", 1500.0, "", "1.5 KB/s"),
        ("network.received", 2_500_000, "B/s", "2.5 MB/s"),
        ("env.temperature", 21.5, "°C", "21.5 °C"),
        ("env.temperature", 1 / 3, "", "0.3333"),
        ("count", 1_234_567, "", "1\u202f234\u202f567"),
        ("count", 1_234_567.8, "", "1\u202f234\u202f568"),
        ("count", 1e30, "", "1e+30"),
        ("door.open", True, "", "yes"),
        ("door.state", "x" * 200, "", "x" * 119 + "…"),
    ],
)
def test_values_for_people(name: str, value: Value, unit: str, text: str) -> None:
    assert view.value_text(name, value, unit) == text


def test_offline_nodes_come_first() -> None:
    lines = view.node_lines(snapshot((node("a"), node("b", online=False, age=90.0))))
    assert [(line.name, line.state, line.age) for line in lines] == [
        ("b", "offline", "1m 30s ago"),
        ("a", "online", "just now"),
    ]


@pytest.mark.guarantee("G5")
def test_what_an_offline_node_said_last_is_marked_as_old() -> None:
    [line, other] = workload_lines(
        snapshot(
            workloads=(workload("w", {"a": status("running"), "b": None}, offline=("a", "b")),)
        )
    )
    assert (line.phase, line.tone, line.duration, line.restarts) == ("unknown", "idle", "", "")
    assert line.detail == "was running, heard 1m 30s ago: the node is offline"
    assert other.detail == "nothing known, heard 1m 30s ago: the node is offline"
    assert [each.workloads for each in view.node_lines(snapshot((node("a"), node("b", online=False))))] == [
        "was 1 of 2",
        "1 of 2",
    ]  # fmt: skip


@pytest.mark.guarantee("G5")
def test_a_node_that_is_late_is_said_to_be() -> None:
    instance = InstanceView(status("running"), True, NOW, 30.0)
    late = WorkloadView("w", Generation(1, 5), workload("w", {}).spec, 0, {"a": instance})
    [line] = workload_lines(snapshot(workloads=(late,)))
    assert (line.phase, line.detail) == ("running", "heard 30s ago")


@pytest.mark.guarantee("G5")
def test_figures_of_an_offline_node_are_stale_at_once() -> None:
    shown = snapshot(
        nodes=(node("a", online=False), node("b")),
        latest=(row("x", 1, age=50), row("x", 2, age=50, node="b")),
        history={"x": []},
    )
    assert [(curve.node, curve.stale) for curve in view.cards(shown)[0].curves] == [("a", True), ("b", False)]  # fmt: skip


def test_a_workload_line_says_what_is_going_on() -> None:
    def line(state: WorkloadStatus | None, ready: Ready | None = None) -> WorkloadLine:
        [found] = workload_lines(snapshot(workloads=(workload("w", {"a": state}, ready),)))
        return found

    assert line(status("running")).duration == "1m 5s"
    assert line(status("running")).detail == ""
    assert line(status("running"), Ready(tcp=80)).detail == "not ready yet"
    tripped = line(status("tripped", message="code 1", next_start_at=NOW + 65 * NS))
    assert (tripped.tone, tripped.detail) == ("bad", "code 1; starts again in 1m 5s")
    waits = status("pending", message="no image")
    assert line(waits).tone == "bad"
    assert line(msgspec.structs.replace(waits, since=NOW - 59 * NS)).tone == "busy"
    older = WorkloadStatus("w", Generation(1, 4), "running", NOW)
    assert line(older).detail == "a newer version is on its way"
    assert line(None).detail == "nothing heard of it yet"


def test_every_workload_has_a_line_and_its_name_stands_once() -> None:
    lines = workload_lines(
        snapshot(workloads=(workload("z", {"b": None, "a": None}), workload("y", {})))
    )
    assert [(line.name, line.node, line.first) for line in lines] == [
        ("y", "–", True), ("z", "a", True), ("z", "b", False),
    ]  # fmt: skip


def test_what_devices_want_by_themselves_comes_last_and_is_marked() -> None:
    def told(phase: Phase) -> WorkloadStatus:
        return WorkloadStatus("cyberwave-driver-1a", Generation(0, 9), phase, NOW - 65 * NS)

    of_devices = DeviceWorkload(
        "cyberwave-driver-1a",
        {
            "a": InstanceView(told("tripped"), node_online=True, heard_at=NOW, age=1.0),
            "b": InstanceView(told("running"), node_online=False, heard_at=NOW, age=90.0),
        },
    )
    known = view.Snapshot(NOW, (), (workload("z", {"a": None}),), (), (), {}, own=(of_devices,))
    lines = workload_lines(known)
    assert [(line.name, line.node, line.first, line.own) for line in lines] == [
        ("z", "a", True, False),
        ("cyberwave-driver-1a", "a", True, True),
        ("cyberwave-driver-1a", "b", False, True),
    ]
    assert (lines[1].tone, lines[1].detail, lines[2].phase) == ("bad", "", "unknown")
    counted = view.summary(known)
    assert (counted.instances, counted.unknown, counted.troubled) == (3, 1, 1)


def test_the_summary_counts_instances() -> None:
    states = {"a": status("running"), "b": status("tripped"), "c": None}
    old = {"d": status("running"), "e": status("tripped")}
    workloads = (workload("w", states | old, offline=("d", "e")),)
    counted = view.summary(
        snapshot((node("a"), node("d", online=False)), workloads, (row("x", 1),))
    )
    assert counted == view.Summary(
        nodes=2, online=1, instances=5, running=1, unknown=2, troubled=1, series=1, free="0 B"
    )


def test_numbers_of_the_last_ten_minutes_have_cards() -> None:
    latest = (
        row("load.15m", 1.0), row("load.5m", 1.0), row("old", 1.0, age=700),
        row("text", "x"), row("flag", True),
    )  # fmt: skip
    assert view.charted_names(latest, NOW) == ["load.5m", "load.15m"]
    shown = snapshot(latest=latest, history={"load.5m": [], "load.15m": []})
    assert [card.name for card in view.cards(shown)] == ["load.5m", "load.15m"]
    assert [line.name for line in view.other_values(shown)] == ["old", "text", "flag"]


def test_a_card_has_a_curve_for_each_series() -> None:
    history = [
        Course("x", "a", "source", 4.5, 7.0, [*[None] * 60, 5.0, 7.0]),
        Course("x", "b", "source", 6.0, 6.0, [6.0]),
    ]
    latest = (row("x", 7.0, age=200), row("x", 6.0, age=10, node="b"), row("x", 1, node="c"))
    [card] = view.cards(snapshot(latest=latest, history={"x": history}))
    assert (card.low, card.high) == ("4.5", "7")
    first, second, third = card.curves
    assert (first.node, first.value, first.age, first.stale) == ("a", "7", "3m 20s ago", True)
    assert (second.node, second.stale) == ("b", False)
    assert (first.path, second.path) == ("M60 31.0h.01L61 1.0", "M0 16.0h.01")
    assert third.path == ""


def test_events_are_newest_first_with_their_details() -> None:
    events = (row("first", 1, age=9), row("second", 2, meta={"unit": "B", "path": "/var"}))
    lines = view.event_lines(snapshot(events=events))
    assert [(line.name, line.meta) for line in lines] == [("second", "path: /var"), ("first", "")]


def test_every_kind_of_error_has_its_status() -> None:
    statuses = {
        InvalidInput: 400, TooLarge: 413, NotFound: 404, Refused: 409, StorageFull: 507,
        Transient: 503, Corrupt: 500, SkerryError: 500,
    }  # fmt: skip
    assert {kind: status_of(kind("x")) for kind in statuses} == statuses


def test_a_change_under_way_stands_before_its_nodes() -> None:
    going = UpdateView("paused", 2, 1, 0, 1, 0, "paused: 1 of 2 nodes failed: a tripped; and so on")
    plain = workload("w", {"a": status("tripped"), "b": status("running", ready=True)})
    shown = workload_lines(snapshot(workloads=(msgspec.structs.replace(plain, update=going),)))
    assert [(line.node, line.phase, line.tone, line.first) for line in shown] == [
        ("2 nodes", "update paused", "bad", True),
        ("a", "tripped", "bad", False),
        ("b", "running", "good", False),
    ]
    assert shown[0].detail == "1 of 2 nodes failed: a tripped; and so on"
