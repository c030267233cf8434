"""Worker groups as people see them: put together from the store's rows, in the agent or in any other process. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from skerry.kit.units import write_duration
from skerry.node.store.instances import ActualWorkload
from skerry.node.store.workers import PastRestart, WorkerRow
from skerry.node.workloads.transitions import Moment, status_of
from skerry.node.workloads.workers.reload import (
    LIMIT,
    WINDOW,
    Change,
    Later,
    TakenUp,
    automatic_ages,
    changed_files,
    clears_in,
    decide,
    within_window,
)
from skerry.node.workloads.workers.scripts import Look
from skerry.wire.local import WorkerChange, WorkerRestart, WorkerStatus
from skerry.wire.workload import WorkerSpec

_SHOWN = 5


class Rows(Protocol):
    """`store.workers.WorkerStore` and `WorkerReader`."""

    def row(self, workload: str) -> WorkerRow | None: ...

    def past(self, workload: str) -> list[PastRestart]: ...


class Seen(msgspec.Struct, frozen=True):
    """A look at a group's directory, and the monotonic time at which this content was first seen."""

    look: Look
    at: int


def worker_statuses(
    workloads: Mapping[str, ActualWorkload],
    rows: Rows,
    seen: Mapping[str, Seen],
    moment: Moment,
    *,
    watched: str,
) -> list[WorkerStatus]:
    """Every worker group among the workloads, by name."""
    return [
        _status(actual, spec, rows, seen.get(name), moment, watched)
        for name, actual in sorted(workloads.items())
        if (spec := actual.assignment.spec.worker) is not None
    ]


def listed(files: Iterable[str]) -> str:
    """Some names in a line: «a.py, b.py and 3 more»."""
    names = list(files)
    more = len(names) - _SHOWN
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def waits(files: Iterable[str], why: str, spec: WorkerSpec) -> str:
    """A change that is not taken up yet, for the workload's status."""
    return f"changed: {listed(files)}; {_reason(why, spec)}"


def _reason(why: str, spec: WorkerSpec) -> str:
    if why == "breaker":
        return f"waits: more than {LIMIT} automatic restarts within {write_duration(WINDOW)}"
    return f"waits: at least {write_duration(spec.reload_delay)} between automatic restarts"


def _status(
    actual: ActualWorkload,
    spec: WorkerSpec,
    rows: Rows,
    seen: Seen | None,
    moment: Moment,
    watched: str,
) -> WorkerStatus:
    row = rows.row(actual.name) or WorkerRow(actual.name)
    past = rows.past(actual.name)
    ages = automatic_ages(past, moment)
    clear = clears_in(ages)
    container = actual.assignment.spec.container
    return WorkerStatus(
        status=status_of(actual, moment),
        directory=spec.scripts,
        scripts=list(seen.look.scripts) if seen else [],
        problem=seen.look.problem if seen else "",
        watched=watched,
        started_at=actual.instance.started_at if actual.instance else None,
        change=_change(actual, spec, row, past, seen, moment) if seen else None,
        automatic=len(within_window(ages)),
        suspended_until=moment.wall + clear if clear else None,
        stopped_at=row.stopped_at,
        stopped_by=row.stopped_by,
        restarts=[WorkerRestart(one.at, one.cause, one.detail) for one in past],
        models=row.scripts.models,
        doubts=row.scripts.doubts,
        refused=row.scripts.refused,
        image="" if container is None else container.image,
        gpus=container is not None and container.gpus is not None,
    )


def _change(
    actual: ActualWorkload,
    spec: WorkerSpec,
    row: WorkerRow,
    past: list[PastRestart],
    seen: Seen,
    moment: Moment,
) -> WorkerChange | None:
    files = changed_files(row.scripts.files, seen.look.files)
    if not files:
        return None
    if seen.look.problem:
        return WorkerChange(list(files), seen.look.problem)
    change = Change(files, seen.at)
    decision = decide(change, actual, row.reloads, past, spec.reload_delay, moment)
    match decision:
        case TakenUp():
            return None
        case Later(until=until, why=why):
            wall = moment.wall + until - moment.monotonic
            return WorkerChange(list(files), _reason(why, spec), wall)
        case _:
            return WorkerChange(list(files))
