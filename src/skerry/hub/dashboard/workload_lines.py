"""Workloads as the page shows them, one line for each on each of its nodes: pure functions of what the hub knows."""

from __future__ import annotations

from dataclasses import dataclass

from skerry.hub.dashboard.view import MAX_LINES, Snapshot, Tone, ago, span, tone_of
from skerry.kit.clock import NS
from skerry.wire.people import (
    LATE_AFTER,
    DeviceWorkload,
    InstanceView,
    UpdateView,
    WorkloadView,
)
from skerry.wire.workload import WorkloadStatus


@dataclass(frozen=True)
class WorkloadLine:
    """A workload on one node. `first` says that the name is not that of the line above, `own` that the node wants it by itself."""

    name: str
    first: bool
    node: str
    tone: Tone
    phase: str
    duration: str
    restarts: str
    detail: str
    own: bool = False


def workload_lines(snapshot: Snapshot) -> list[WorkloadLine]:
    """One line for each workload and node; a workload that no node fits has a line too."""
    lines = []
    for workload in sorted(snapshot.workloads, key=lambda workload: workload.name):
        if not workload.nodes:
            lines.append(
                WorkloadLine(
                    name=workload.name,
                    first=True,
                    node="–",
                    tone="idle",
                    phase="no node",
                    duration="",
                    restarts="",
                    detail="no node fits its «on»",
                )
            )
        if workload.update is not None:
            lines.append(_update_line(workload.name, workload.update))
        lines += _instance_lines(workload, snapshot.now, first=workload.update is None)
    for own in snapshot.own:
        lines += _instance_lines(own, snapshot.now, first=True)
    return lines[:MAX_LINES]


def _instance_lines(
    workload: WorkloadView | DeviceWorkload, now: int, *, first: bool
) -> list[WorkloadLine]:
    return [
        _present_line(workload, node, instance, now, first=first and index == 0)
        if instance.node_online
        else _old_line(workload, node, instance, first=first and index == 0)
        for index, (node, instance) in enumerate(sorted(workload.nodes.items()))
    ]


def _present_line(
    workload: WorkloadView | DeviceWorkload,
    node: str,
    instance: InstanceView,
    now: int,
    *,
    first: bool,
) -> WorkloadLine:
    status = instance.status
    if status is None:
        return WorkloadLine(
            workload.name, first, node, "busy", "assigned", "", "", "nothing heard of it yet"
        )
    details = [f"heard {ago(int(instance.age * NS))}"] if instance.age > LATE_AFTER else []
    details += [status.message] if status.message else []
    if isinstance(workload, WorkloadView):
        details += _wanted_otherwise(workload, status)
    if status.isolation.startswith("strict"):
        details.append(status.isolation)
    if status.next_start_at is not None and status.next_start_at > now:
        details.append(f"starts again in {span(status.next_start_at - now)}")
    return WorkloadLine(
        name=workload.name,
        first=first,
        node=node,
        tone=tone_of(status, now),
        phase=status.phase,
        duration=span(now - status.since),
        restarts=str(status.restarts),
        detail="; ".join(details),
        own=isinstance(workload, DeviceWorkload),
    )


def _wanted_otherwise(workload: WorkloadView, status: WorkloadStatus) -> list[str]:
    """What it is not yet as people want it."""
    found = []
    if status.generation < workload.generation:
        found.append("a newer version is on its way")
    if status.phase == "running" and workload.spec.ready is not None and not status.ready:
        found.append("not ready yet")
    return found


def _update_line(name: str, update: UpdateView) -> WorkloadLine:
    """A change under way stands before the nodes of its workload."""
    paused = update.state == "paused"
    return WorkloadLine(
        name=name,
        first=True,
        node=f"{update.total} nodes",
        tone="bad" if paused else "busy",
        phase="update paused" if paused else "updating",
        duration="",
        restarts="",
        detail=update.message.removeprefix("paused: "),
    )


def _old_line(
    workload: WorkloadView | DeviceWorkload, node: str, instance: InstanceView, *, first: bool
) -> WorkloadLine:
    was = "nothing known" if instance.status is None else f"was {instance.status.phase}"
    detail = f"{was}, heard {ago(int(instance.age * NS))}: the node is offline"
    own = isinstance(workload, DeviceWorkload)
    return WorkloadLine(workload.name, first, node, "idle", "unknown", "", "", detail, own)
