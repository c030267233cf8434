"""What the page shows, as plain values for its templates: pure functions of what the hub knows.

Nothing old is shown as the present: what an offline node reported last is what it was, with its age.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from skerry.hub.dashboard import chart
from skerry.hub.data.history import Course
from skerry.hub.fleet.twins import TwinView
from skerry.kit.clock import NS
from skerry.kit.units import format_size
from skerry.wire.people import (
    DeviceWorkload,
    NodeView,
    WorkloadView,
)
from skerry.wire.records import Row, Value
from skerry.wire.workload import Phase, WorkloadStatus

Tone = Literal["good", "busy", "bad", "idle"]

MAX_LINES = 200
MAX_CARDS = 12
MAX_CURVES = 6
HISTORY_SECONDS = 600
WAITS_LONG = 60 * NS
"""After this, what keeps a workload from its start counts as trouble."""

_SIZE = re.compile(r"(^|\.)(bytes|(memory|disk)\.(used|free|total))$")
_RATE = ".bytes_per_second"
_THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"
_DIGITS = re.compile(r"(\d+)")

_TONES: Mapping[Phase, Tone] = {
    "running": "good",
    "succeeded": "good",
    "pending": "busy",
    "starting": "busy",
    "stopping": "busy",
    "backoff": "bad",
    "tripped": "bad",
    "failed": "bad",
    "stopped": "idle",
}


@dataclass(frozen=True)
class Snapshot:
    """What the hub knew at `now` (ns since 1970). `history` holds the courses of charted names, by name.

    `problems` is what the hub itself does not do as it should.
    """

    now: int
    nodes: Sequence[NodeView]
    workloads: Sequence[WorkloadView]
    latest: Sequence[Row]
    events: Sequence[Row]
    history: Mapping[str, Sequence[Course]]
    problems: Sequence[str] = ()
    free: int = 0
    own: Sequence[DeviceWorkload] = ()
    """What nodes want by themselves."""
    twins: Sequence[TwinView] = ()


@dataclass(frozen=True)
class Summary:
    """The numbers at the top of the page. Instances of offline nodes are `unknown`, whatever they were."""

    nodes: int
    online: int
    instances: int
    running: int
    unknown: int
    troubled: int
    series: int
    problems: Sequence[str] = ()
    free: str = ""


@dataclass(frozen=True)
class NodeLine:
    """One row of the table of nodes."""

    name: str
    tone: Tone
    state: str
    age: str
    labels: Sequence[str]
    workloads: str
    version: str


@dataclass(frozen=True)
class Curve:
    """One series in a card: its latest value and its line."""

    node: str
    value: str
    age: str
    stale: bool
    path: str


@dataclass(frozen=True)
class Card:
    """One name with its curves, and the range that they are drawn in."""

    name: str
    low: str
    high: str
    curves: Sequence[Curve]


@dataclass(frozen=True)
class ValueLine:
    """A latest value that has no card, or an event."""

    name: str
    node: str
    source: str
    value: str
    age: str
    timestamp: str
    meta: str


def span(nanoseconds: int) -> str:
    """A length of time for people, in two neighbouring units: «7s», «1m 5s», «2h 0m», «3d 4h»."""
    seconds = max(nanoseconds, 0) // NS
    for unit, size, smaller, part in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "m", 60),
        ("m", 60, "s", 1),
    ):
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // part}{smaller}"
    return f"{seconds}s"


def ago(nanoseconds: int) -> str:
    """How long ago something was: «just now», «12s ago»."""
    return "just now" if nanoseconds < 2 * NS else f"{span(nanoseconds)} ago"


def value_text(name: str, value: Value, unit: str) -> str:
    """A value for people. A name may say what it counts by its end: «.percent», «.bytes», «.bytes_per_second»."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value if len(value) <= 120 else f"{value[:119]}…"
    return _number_text(name, value, unit)


def _number_text(name: str, value: float, unit: str) -> str:
    if unit == "B/s" or (not unit and name.endswith(_RATE)):
        return f"{format_size(value)}/s"
    if unit in {"B", "bytes"} or (not unit and _SIZE.search(name)):
        return format_size(value)
    if unit == "%" or (not unit and name.endswith(".percent")):
        return f"{value:.1f} %"
    if not unit and name.endswith(".uptime"):
        return span(int(value) * NS)
    digits = f"{value:,}" if isinstance(value, int) else _decimal(value)
    return f"{digits.replace(',', _THIN_SPACE)} {unit}".rstrip()


def summary(snapshot: Snapshot) -> Summary:
    """The numbers at the top."""
    nodes = [*(each.nodes for each in snapshot.workloads), *(each.nodes for each in snapshot.own)]
    instances = [each for one in nodes for each in one.values()]
    present = [each.status for each in instances if each.node_online and each.status is not None]
    return Summary(
        nodes=len(snapshot.nodes),
        online=sum(node.online for node in snapshot.nodes),
        instances=len(instances),
        running=sum(each.phase == "running" for each in present),
        unknown=sum(not each.node_online for each in instances),
        troubled=sum(tone_of(each, snapshot.now) == "bad" for each in present),
        series=len(snapshot.latest),
        problems=snapshot.problems,
        free=format_size(snapshot.free),
    )


def node_lines(snapshot: Snapshot) -> list[NodeLine]:
    """Nodes that are offline come first, then by name."""
    ordered = sorted(snapshot.nodes, key=lambda node: (node.online, node.name))
    return [
        NodeLine(
            name=node.name,
            tone="good" if node.online else "bad",
            state="online" if node.online else "offline",
            age=ago(int(node.age * NS)),
            labels=[f"{key}={value}" for key, value in sorted(node.labels.items())],
            workloads=f"{'' if node.online else 'was '}{node.running} of {node.workloads}",
            version=node.version,
        )
        for node in ordered[:MAX_LINES]
    ]


def charted_names(latest: Sequence[Row], now: int) -> list[str]:
    """Names of numbers that were seen within the charted time; «load.5m» comes before «load.15m»."""
    names = {
        row.name for row in latest if _is_number(row.value) and now - row.at < HISTORY_SECONDS * NS
    }
    return sorted(names, key=_natural)[:MAX_CARDS]


def cards(snapshot: Snapshot) -> list[Card]:
    """A card for each charted name."""
    latest: dict[str, list[Row]] = defaultdict(list)
    for row in snapshot.latest:
        if row.name in snapshot.history and _is_number(row.value):
            latest[row.name].append(row)
    offline = {node.name for node in snapshot.nodes if not node.online}
    return [
        _card(name, rows[:MAX_CURVES], snapshot.history[name], snapshot.now, offline)
        for name, rows in sorted(latest.items(), key=lambda item: _natural(item[0]))
    ]


def other_values(snapshot: Snapshot) -> list[ValueLine]:
    """Latest values without a card."""
    return [
        _value_line(row, snapshot.now)
        for row in snapshot.latest
        if row.name not in snapshot.history or not _is_number(row.value)
    ][:MAX_LINES]


def event_lines(snapshot: Snapshot) -> list[ValueLine]:
    """Events, newest first."""
    return [_value_line(row, snapshot.now) for row in reversed(snapshot.events)]


def tone_of(status: WorkloadStatus, now: int) -> Tone:
    """How a workload is, in one look."""
    if status.phase == "pending" and status.message and now - status.since > WAITS_LONG:
        return "bad"
    return _TONES[status.phase]


def _card(
    name: str, latest: Sequence[Row], history: Sequence[Course], now: int, offline: Set[str]
) -> Card:
    courses = {(course.node, course.source): course for course in history}
    lines = [
        course.means if (course := courses.get((row.node, row.source))) is not None else ()
        for row in latest
    ]
    low, high = chart.scale([value for line in lines for value in line if value is not None])
    unit = _unit(latest[0])
    return Card(
        name=name,
        low=value_text(name, min((course.low for course in history), default=low), unit),
        high=value_text(name, max((course.high for course in history), default=high), unit),
        curves=[
            Curve(
                node=row.node,
                value=value_text(name, row.value, _unit(row)),
                age=ago(now - row.at),
                stale=now - row.at > 60 * NS or row.node in offline,
                path=chart.path(line, low, high),
            )
            for row, line in zip(latest, lines, strict=True)
        ],
    )


def _value_line(row: Row, now: int) -> ValueLine:
    meta = ", ".join(f"{key}: {value}" for key, value in row.meta.items() if key != "unit")
    return ValueLine(
        name=row.name,
        node=row.node,
        source=row.source,
        value=value_text(row.name, row.value, _unit(row)),
        age=ago(now - row.at),
        timestamp=row.timestamp,
        meta=meta,
    )


def _unit(row: Row) -> str:
    unit = row.meta.get("unit", "")
    return unit if isinstance(unit, str) else ""


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (0, part) for part in _DIGITS.split(name)]


def _decimal(value: float) -> str:
    """Four significant digits, never in exponents that people have to decode unless they must."""
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e15 else f"{value:.4g}"
