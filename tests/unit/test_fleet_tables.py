"""What `skerry get` shows: nothing old as the present, nothing that nobody knows as known."""

import csv
import io
import json

import msgspec
import pytest

from skerry.cli.fleet_tables import (
    lone_node_table,
    lone_node_workloads_table,
    nodes_table,
    workloads_table,
)
from skerry.cli.output import Form, Screen, Table
from skerry.kit.clock import NS
from skerry.kit.errors import NotFound
from skerry.wire.local import LinkStatus, NodeStatus
from skerry.wire.people import DeviceWorkload, InstanceView, NodeView, UpdateView, WorkloadView
from skerry.wire.workload import Exit, Generation, ProcessSpec, WorkloadSpec, WorkloadStatus

NOW = 1_790_000_000 * NS
HEARD_AT = NOW - 240 * NS
SPEC = WorkloadSpec(name="w", process=ProcessSpec(command=["true"]))
RUNNING = WorkloadStatus("w", Generation(1, 5), "running", NOW - 65 * NS, ready=True, restarts=2)
ALONE = NodeStatus("id", "n1", {"site": "lab"}, "0.1", 7, NOW, "/d", None, LinkStatus("offline", NOW), [RUNNING], [])  # fmt: skip


def view(**nodes: InstanceView) -> WorkloadView:
    return WorkloadView("w", Generation(1, 5), SPEC, 0, nodes)


def online(status: WorkloadStatus | None) -> InstanceView:
    return InstanceView(status, True, NOW - NS, 1.0)


def offline(status: WorkloadStatus | None) -> InstanceView:
    return InstanceView(status, False, HEARD_AT, 240.0)


def node(name: str, *, online: bool) -> NodeView:
    return NodeView(name, name, {}, online, HEARD_AT, 240.0, "0.1", NOW, 3, 2)


def shown(table: Table, form: Form) -> str:
    out = io.StringIO()
    Screen(form, out, io.StringIO()).show(table)
    return out.getvalue()


def rows(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(shown(table, Form.CSV))))


def test_what_a_device_wants_by_itself_is_marked() -> None:
    told = WorkloadStatus("cyberwave-driver-1a", Generation(0, 9), "running", NOW - 65 * NS)
    own = DeviceWorkload(told.workload, {"n1": online(told), "n2": offline(told)})
    table = workloads_table([view(n1=online(RUNNING))], NOW, [own])
    lines = [line.strip() for line in shown(table, Form.TABLE).splitlines()]
    assert lines[2].startswith("cyberwave-driver-1a (device)  n1")
    assert "unknown (was running" in lines[3]
    assert [(row["name"], row["wanted_by"]) for row in rows(table)] == [
        ("w", "hub"), ("cyberwave-driver-1a", "device"), ("cyberwave-driver-1a", "device"),
    ]  # fmt: skip
    told_json = json.loads(shown(table, Form.JSON))
    assert [each.get("device") for each in told_json] == [None, True]
    assert told_json[1]["spec"] is None


@pytest.mark.guarantee("G5")
def test_a_status_of_an_offline_node_is_what_was() -> None:
    table = workloads_table([view(n1=offline(RUNNING), n2=online(RUNNING), n3=offline(None))], NOW)
    _, was, present, nothing = (line.strip() for line in shown(table, Form.TABLE).splitlines())
    assert was.split(maxsplit=2) == ["w", "n1", "unknown (was running, heard 4m ago)"]
    assert present.split() == ["w", "n2", "running", "yes", "2", "1m", "5s", "ago"]
    assert nothing.split(maxsplit=2) == ["w", "n3", "unknown (nothing known, heard 4m ago)"]
    assert [(row["phase"], row["last_phase"], row["heard_at"], row["restarts"]) for row in rows(table)] == [
        ("unknown", "running", str(HEARD_AT), ""),
        ("running", "running", str(NOW - NS), "2"),
        ("unknown", "", str(HEARD_AT), ""),
    ]  # fmt: skip
    [found] = json.loads(shown(table, Form.JSON))
    old = found["nodes"]["n1"]
    assert (old["status"]["phase"], old["node_online"], old["heard_at"]) == ("running", False, HEARD_AT)  # fmt: skip


@pytest.mark.guarantee("G5")
def test_an_old_message_is_said_to_be_old() -> None:
    failing = WorkloadStatus("w", Generation(1, 5), "backoff", NOW, message="ended with code 1")
    [row] = rows(workloads_table([view(n1=offline(failing))], NOW))
    assert row["message"] == "last message: ended with code 1"


@pytest.mark.guarantee("G5")
def test_a_count_of_an_offline_node_is_what_was() -> None:
    table = nodes_table([node("n1", online=True), node("n2", online=False)])
    assert [line.split()[1:] for line in shown(table, Form.TABLE).splitlines()[1:]] == [
        ["online", "4m", "ago", "2", "of", "3", "0.1"],
        ["offline", "4m", "ago", "was", "2", "of", "3", "0.1"],
    ]
    assert [(row["seen"], row["running"], row["last_running"], row["workloads"]) for row in rows(table)] == [
        (str(HEARD_AT), "2", "2", "3"),
        (str(HEARD_AT), "", "2", "3"),
    ]  # fmt: skip


@pytest.mark.guarantee("G5")
def test_the_node_here_does_not_guess_what_only_the_hub_knows() -> None:
    table = lone_node_table(ALONE)
    [row] = rows(table)
    assert (row["name"], row["state"], row["seen"], row["running"]) == ("n1", "up", "", "1")
    assert "now" not in shown(table, Form.TABLE)
    [found] = json.loads(shown(table, Form.JSON))
    assert (found["name"], found["online"], found["last_seen"], found["age"]) == ("n1", None, None, None)  # fmt: skip
    [workload] = json.loads(shown(lone_node_workloads_table(ALONE, NOW), Form.JSON))
    instance = workload["nodes"]["n1"]
    assert (instance["status"]["phase"], instance["node_online"], instance["heard_at"]) == ("running", None, None)  # fmt: skip
    with pytest.raises(NotFound, match="cannot find node «n2»: only the hub knows others"):
        lone_node_table(ALONE, "n2")
    with pytest.raises(NotFound, match="cannot find workload «x»: node «n1» does not have it"):
        lone_node_workloads_table(ALONE, NOW, "x")


def test_one_node_by_its_name() -> None:
    views = [node("n1", online=True), node("n2", online=False)]
    assert [row["name"] for row in rows(nodes_table(views, "n2"))] == ["n2"]
    with pytest.raises(NotFound, match="cannot find node «n3»: known are: n1, n2"):
        nodes_table(views, "n3")
    with pytest.raises(NotFound, match="there is none yet"):
        nodes_table([], "n3")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (RUNNING, ""),
        (None, "nothing heard from the node yet"),
        (WorkloadStatus("w", Generation(1, 4), "running", NOW), "not yet as last applied"),
        (WorkloadStatus("w", Generation(1, 5), "failed", NOW, exit=Exit(code=3)), "last exit: code 3"),
        (WorkloadStatus("w", Generation(1, 5), "failed", NOW, exit=Exit(code=3), message="it ended with code 3"), "it ended with code 3"),
    ],
)  # fmt: skip
def test_messages(status: WorkloadStatus | None, message: str) -> None:
    [row] = rows(workloads_table([view(n1=online(status))], NOW))
    assert row["message"] == message


@pytest.mark.guarantee("G5")
def test_a_node_that_is_late_is_said_to_be() -> None:
    late = InstanceView(RUNNING, True, NOW - 30 * NS, 30.0)
    [row] = rows(workloads_table([view(n1=late)], NOW))
    assert (row["phase"], row["message"]) == ("running", "heard 30s ago")


def test_a_workload_without_nodes_has_a_line() -> None:
    [row] = rows(workloads_table([view()], NOW))
    assert (row["name"], row["node"], row["message"]) == ("w", "", "no node fits its «on»")


def test_a_change_under_way_stands_above_the_table() -> None:
    going = UpdateView("rolling", 3, 1, 1, 0, 0, "1 of 3 nodes have the change")
    paused = UpdateView("paused", 3, 1, 0, 1, 0, "paused: 1 of 3 nodes failed: n1 tripped")
    for update, line in (
        (going, "update of «w»: 1 of 3 nodes have the change"),
        (
            paused,
            "update of «w» paused: 1 of 3 nodes failed: n1 tripped. Go on: skerry update resume workload w, or abort",
        ),
    ):
        found = msgspec.structs.replace(view(n1=online(RUNNING)), update=update)
        assert shown(workloads_table([found], NOW), Form.TABLE).splitlines()[0] == line
