"""Nodes and workloads as tables: as the hub sees them or, when only the node here answered, as it sees itself.

What a node reported is the present only while the hub hears of the node. Afterwards it is shown as what it was,
with its age. What only the hub knows is left open when the hub did not answer, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from skerry.cli.output import Cell, Line, Table, ago, number, pairs, word, yes_no
from skerry.kit.errors import NotFound
from skerry.kit.nearest import did_you_mean
from skerry.kit.units import format_duration
from skerry.wire.local import NodeStatus
from skerry.wire.people import (
    LATE_AFTER,
    DeviceWorkload,
    InstanceView,
    NodeView,
    UpdateView,
    WorkloadView,
)
from skerry.wire.workload import Generation, WorkloadStatus

_UNKNOWN = Cell("", raw="")

_NODE_COLUMNS = (
    "NAME", "STATE", "SEEN", "RUNNING", "VERSION", "LABELS", "WORKLOADS", "LAST RUNNING",
)  # fmt: skip
_NODE_CSV_ONLY = frozenset({"WORKLOADS", "LAST RUNNING"})

_WORKLOAD_COLUMNS = (
    "NAME", "NODE", "PHASE", "READY", "RESTARTS", "SINCE", "MESSAGE", "LAST PHASE", "HEARD AT", "ISOLATION", "WANTED BY",
)  # fmt: skip
_WORKLOAD_CSV_ONLY = frozenset({"LAST PHASE", "HEARD AT", "ISOLATION", "WANTED BY"})


class NodeAlone(msgspec.Struct, frozen=True):
    """A NodeView of the node's own making: what only the hub knows is null."""

    id: str
    name: str
    labels: dict[str, str]
    version: str
    workloads: int
    running: int
    online: None = None
    last_seen: None = None
    age: None = None


class InstanceAlone(msgspec.Struct, frozen=True):
    """An InstanceView of the node's own making. The status is the present one: the node itself answered."""

    status: WorkloadStatus
    node_online: None = None
    heard_at: None = None
    age: None = None


class WorkloadAlone(msgspec.Struct, frozen=True):
    """A WorkloadView of the node's own making, of itself alone."""

    name: str
    generation: Generation
    nodes: dict[str, InstanceAlone]
    spec: None = None
    restarts: None = None


def nodes_table(views: Sequence[NodeView], name: str | None = None) -> Table:
    """The hub's nodes, or the one of this name (else NotFound)."""
    found = [view for view in views if name in {None, view.name}]
    if name is not None and not found:
        known = did_you_mean(name, [view.name for view in views]) if views else "there is none yet"
        raise NotFound(f"cannot find node «{name}»: {known}")
    return Table(
        _NODE_COLUMNS,
        [_node_row(view) for view in found],
        found,
        "no nodes yet: «skerry token create», then «skerry node enroll» on the device",
        csv_only=_NODE_CSV_ONLY,
    )


def lone_node_table(status: NodeStatus, name: str | None = None) -> Table:
    """The node here about itself. Raises NotFound when another name is asked for."""
    if name not in {None, status.name}:
        raise NotFound(
            f"cannot find node «{name}»: only the hub knows others than the node here, «{status.name}»"
        )
    running = sum(workload.phase == "running" for workload in status.workloads)
    total = len(status.workloads)
    row = (
        status.name,
        Cell(f"up, link {status.link.state}", word(status.link.state).style, raw="up"),
        _UNKNOWN,
        Cell(f"{running} of {total}", raw=running),
        status.version,
        pairs(status.labels),
        number(total),
        number(running),
    )
    alone = NodeAlone(status.id, status.name, status.labels, status.version, total, running)
    return Table(_NODE_COLUMNS, [row], [alone], csv_only=_NODE_CSV_ONLY)


def workloads_table(
    views: Sequence[WorkloadView], now: int, own: Sequence[DeviceWorkload] = ()
) -> Table:
    """One row for each workload on each of its nodes; `own` are those that nodes want by themselves."""
    rows: list[Sequence[Cell | str]] = []
    for view in views:
        rows += [_instance_row(view, node, each, now) for node, each in view.nodes.items()]
        if not view.nodes:
            rows.append(_row(view.name, "", message="no node fits its «on»"))
    for each in own:
        rows += [_instance_row(each, node, at, now) for node, at in each.nodes.items()]
    return Table(
        _WORKLOAD_COLUMNS,
        rows,
        [*views, *own],
        "no workloads: «skerry apply -f FILE» makes one",
        lead=[_update_line(view.name, view.update) for view in views if view.update is not None],
        csv_only=_WORKLOAD_CSV_ONLY,
        below="MESSAGE",
    )


def _update_line(name: str, update: UpdateView) -> Line:
    """What people must know above the table while a change is under way."""
    if update.state == "rolling":
        return Line(f"update of «{name}»: {update.message}", word("change").style)
    way_out = f"skerry update resume workload {name}, or abort"
    return Line(f"update of «{name}» {update.message}. Go on: {way_out}", word("failed").style)


def lone_node_workloads_table(
    status: NodeStatus, now: int, name: str | None = None, *, isolation: bool = False
) -> Table:
    """The workloads of the node here, or the one of this name (else NotFound), as the node knows them.

    `isolation`: people too are told what keeps each from the rest of the device.
    """
    found = [each for each in status.workloads if name in {None, each.workload}]
    if name is not None and not found:
        raise NotFound(f"cannot find workload «{name}»: node «{status.name}» does not have it")
    return Table(
        _WORKLOAD_COLUMNS,
        [_status_row(status.name, each, now) for each in found],
        [
            WorkloadAlone(each.workload, each.generation, {status.name: InstanceAlone(each)})
            for each in found
        ],
        "this node has no workloads",
        csv_only=_WORKLOAD_CSV_ONLY - ({"ISOLATION"} if isolation else set()),
        below="MESSAGE",
    )


def _node_row(view: NodeView) -> Sequence[Cell | str]:
    count = f"{view.running} of {view.workloads}"
    return (
        view.name,
        word("online" if view.online else "offline"),
        Cell(_age(view.age), raw=view.last_seen),
        Cell(count, raw=view.running) if view.online else Cell(f"was {count}", "dim", raw=""),
        view.version,
        pairs(view.labels),
        number(view.workloads),
        number(view.running),
    )


def _instance_row(
    view: WorkloadView | DeviceWorkload, node: str, instance: InstanceView, now: int
) -> Sequence[Cell | str]:
    status, heard_at = instance.status, number(instance.heard_at)
    own = isinstance(view, DeviceWorkload)
    wanted = None if isinstance(view, DeviceWorkload) else view.generation
    if instance.node_online and status is not None:
        return _status_row(node, status, now, wanted, instance)
    if instance.node_online:
        message = "nothing heard from the node yet"
        return _row(view.name, node, message=message, heard_at=heard_at)
    was = "nothing known" if status is None else f"was {status.phase}"
    phase = Cell(f"unknown ({was}, heard {_age(instance.age)})", word("unknown").style, "unknown")
    last_phase = "" if status is None else status.phase
    said = f"last message: {status.message}" if status is not None and status.message else ""
    return _row(
        view.name, node, phase=phase, message=said, last_phase=last_phase, heard_at=heard_at, own=own,
    )  # fmt: skip


def _status_row(
    node: str,
    status: WorkloadStatus,
    now: int,
    wanted: Generation | None = None,
    heard: InstanceView | None = None,
) -> Sequence[Cell | str]:
    notes: Iterable[str] = (
        f"heard {_age(heard.age)}" if heard is not None and heard.age > LATE_AFTER else "",
        status.message,
        _last_exit(status),
        "not yet as last applied" if wanted and status.generation < wanted else "",
    )
    own = status.generation.epoch == 0  # those of the hub begin with 1
    return (
        _name(status.workload, own=own),
        node,
        word(status.phase),
        yes_no(status.ready),
        number(status.restarts),
        ago(status.since, now),
        "; ".join(note for note in notes if note),
        status.phase,
        _UNKNOWN if heard is None else number(heard.heard_at),
        status.isolation,
        _wanted_by(own=own),
    )


def _row(  # noqa: PLR0913 - one argument for each column that has something
    name: str,
    node: str,
    *,
    phase: Cell = _UNKNOWN,
    message: str,
    last_phase: str = "",
    heard_at: Cell = _UNKNOWN,
    own: bool = False,
) -> Sequence[Cell | str]:
    """A row without a status that holds at present."""
    shown = _name(name, own=own)
    return (shown, node, phase, "", "", "", message, last_phase, heard_at, "", _wanted_by(own=own))


def _name(name: str, *, own: bool) -> Cell:
    return Cell(f"{name} (device)", raw=name) if own else Cell(name, raw=name)


def _wanted_by(*, own: bool) -> str:
    return "device" if own else "hub"


def _last_exit(status: WorkloadStatus) -> str:
    """How it ended, unless its message says so or nobody asks any more."""
    told = status.exit is None or status.phase == "running" or str(status.exit) in status.message
    return "" if told else f"last exit: {status.exit}"


def _age(seconds: float) -> str:
    return f"{format_duration(seconds)} ago"
