"""Workloads for tests: short ways to write wishes and rows."""

from typing import Any

from msgspec.structs import replace

from skerry.kit.clock import NS
from skerry.node.ports import ProcessIdentity
from skerry.node.store.instances import ActualWorkload, Instance
from skerry.node.workloads.transitions import Moment
from skerry.wire.workload import Assignment, Generation, ProcessSpec, WorkloadSpec

BOOT = "boot-1"
NOW = Moment(wall=1_760_000_000 * NS, monotonic=1000 * NS, boot_id=BOOT)


def later(seconds: float, moment: Moment = NOW) -> Moment:
    return Moment(
        moment.wall + int(seconds * NS), moment.monotonic + int(seconds * NS), moment.boot_id
    )


def wish(
    name: str = "a",
    n: int = 1,
    *,
    command: str = "prog",
    restarts: int = 0,
    epoch: int = 1,
    **spec: Any,
) -> Assignment:
    """An assignment; `spec` are fields of WorkloadSpec."""
    spec.setdefault("process", ProcessSpec(command=[command]))
    return Assignment(name, Generation(epoch, n), WorkloadSpec(name=name, **spec), restarts)


def row(
    assignment: Assignment | None = None, phase: str = "pending", **fields: Any
) -> ActualWorkload:
    """A row without an instance."""
    row = ActualWorkload(assignment or wish(), BOOT, "pending", NOW.wall)
    return replace(row, phase=phase, **fields)


def live(
    assignment: Assignment | None = None,
    phase: str = "running",
    *,
    instance: str = "i1",
    pid: int | None = 7,
    started: int = NOW.monotonic,
    kill_at: int | None = None,
    kills: int = 0,
    isolation: str = "",
    **fields: Any,
) -> ActualWorkload:
    """A row with a live instance."""
    assignment = assignment or wish()
    process = Instance(
        id=instance,
        generation=assignment.generation,
        boot_id=BOOT,
        started_at=NOW.wall,
        started=started,
        identity=None if pid is None else ProcessIdentity(BOOT, pid, 70),
        kill_at=kill_at,
        kills=kills,
        isolation=isolation,
    )
    fields.setdefault("ready", phase == "running")
    return row(assignment, phase, instance=process, starts=1, **fields)
