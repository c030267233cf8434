"""What `worker status` and `worker health` show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from skerry.cli.output import Cell, Line, Table, ago, number, word, words
from skerry.cli.worker_health import History, Judgement
from skerry.kit.clock import NS, iso
from skerry.kit.units import format_duration, format_size
from skerry.wire.local import WorkerStatus
from skerry.wire.models import CachedModel

_SHOWN_RESTARTS = 5


def worker_table(
    groups: Sequence[WorkerStatus],
    now_ns: int,
    judged: Judgement | None = None,
    models: Mapping[str, CachedModel] = {},
) -> Table:
    """One row for each group, below what is special about it, its models by name among that, and whether all of it is well."""
    return Table(
        ("GROUP", "PHASE", "PROCESS", "UP", "SCRIPTS", "CHANGED", "RESTARTS", "MESSAGE"),
        [
            (
                group.status.workload,
                word(group.status.phase),
                "" if group.status.pid is None else number(group.status.pid),
                _up(group, now_ns),
                words(group.scripts),
                words(group.change.files if group.change else []),
                Cell(f"{group.automatic} in 5m", raw=group.automatic),
                group.status.message,
            )
            for group in groups
        ],
        list(groups),
        empty="no worker group on this node",
        lead=[
            *(line for group in groups for line in _lines(group, now_ns, models)),
            *([] if judged is None else _health(judged)),
        ],
        below="MESSAGE",
    )


def health_table(judged: Judgement) -> Table:
    """One row for each reason, or one that says that there is none; above them the breakers, and all restarts on record."""
    rows = [(word(each.health), each.workload, each.reason) for each in judged.reasons]
    well = [(word("ok"), "", "every worker group runs")]
    lead = [line for group in judged.groups for line in _history(group)]
    return Table(("HEALTH", "GROUP", "REASON"), rows or well, judged, lead=lead)


def _history(group: History) -> Iterator[Line]:
    until = "" if group.until is None else f" until {iso(group.until)}"
    style = "red" if group.breaker == "open" else ""
    yield Line(
        f"{group.workload}: breaker {group.breaker}{until}, {group.automatic} automatic restarts in 5 minutes",
        style,
    )
    for one in group.restarts:
        yield Line(f"  {iso(one.at)}  {one.cause}: {one.detail}")


def _breaker(group: WorkerStatus) -> Line:
    if group.status.phase == "tripped":
        return Line(f"  breaker   open: {group.status.message}", "red")
    if group.suspended_until is not None:
        return Line(
            f"  breaker   open: automatic restarts are suspended until {iso(group.suspended_until)}",
            "red",
        )
    return Line("  breaker   closed")


def _up(group: WorkerStatus, now_ns: int) -> Cell:
    if group.started_at is None or group.status.pid is None:
        return Cell("")
    return Cell(format_duration((now_ns - group.started_at) / NS), raw=group.started_at)


def _health(judged: Judgement) -> Iterator[Line]:
    shown = word(judged.health)
    yield Line(f"health: {judged.health}", shown.style)
    for each in judged.reasons:
        about = f"{each.workload}: " if each.workload else ""
        yield Line(f"  {each.health:<9} {about}{each.reason}", word(each.health).style)


def _lines(group: WorkerStatus, now_ns: int, models: Mapping[str, CachedModel]) -> Iterator[Line]:
    yield Line(f"{group.status.workload}: {group.directory}, changes are seen {group.watched}")
    if group.image:
        yield Line(f"  image     {group.image}{', with GPUs' if group.gpus else ''}")
    if group.problem:
        yield Line(f"  problem   {group.problem}", "yellow")
    if group.models:
        yield Line(f"  models    {', '.join(_model(name, models) for name in group.models)}")
    for doubt in group.doubts:
        yield Line(f"  unclear   {doubt}", "yellow")
    if group.stopped_at is not None:
        yield Line(
            f"  stopped   by hand, by {group.stopped_by}, {ago(group.stopped_at, now_ns).text}"
        )
    if group.change is not None:
        yield Line(f"  changed   {_change(group)}", "cyan")
    yield _breaker(group)
    for one in group.restarts[:_SHOWN_RESTARTS]:
        yield Line(f"  restart   {ago(one.at, now_ns).text}, {one.cause}: {one.detail}")


def _model(name: str, models: Mapping[str, CachedModel]) -> str:
    found = models.get(name)
    if found is None:
        return name
    return f"{name} ({'not here yet' if found.missing else format_size(found.size)})"


def _change(group: WorkerStatus) -> str:
    change = group.change
    assert change is not None  # noqa: S101 - the caller has looked
    files = ", ".join(change.files)
    if not change.reason:
        return f"{files}: is being taken up"
    until = f" (until {iso(change.until)})" if change.until is not None else ""
    return f"{files}: {change.reason}{until}"
