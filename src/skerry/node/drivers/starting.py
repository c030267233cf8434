"""From how a driver's status changes to what people are told of its start. Pure.

A start has come to its end when the driver has run for `STEADY` seconds without a break: as many looks, a second apart, as
edge-core takes. It has failed when it was refused, when it was stopped because it flaps, or when it still ends by itself
`PATIENCE` seconds after its first life began. A few quick ends before a steady life are nobody's concern.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import replace

from skerry.kit.clock import NS
from skerry.wire.workload import Phase, WorkloadStatus

PULLING, CANNOT = "pulling image ", "cannot start workload "
"""What the status of a workload says while its image comes, and when it cannot be had."""

STEADY = 5.0
PATIENCE = 45.0
"""Seconds."""

Stage = Literal["new", "starting", "running", "failed", "down"]

Step = Literal[
    "pull_started", "pull_completed", "container_created", "container_running"
]  # edge-core's words for how far a start has come

_ORDER: tuple[Step, ...] = (
    "pull_started",
    "pull_completed",
    "container_created",
    "container_running",
)
_DOWN: frozenset[Phase] = frozenset({"stopping", "stopped"})
_ENDED: frozenset[Phase] = frozenset({"backoff", "tripped", "failed", "succeeded"})


class Start(msgspec.Struct, frozen=True):
    """How far one driver has come. Monotonic, in ns: `first` life began, `up` without a break since; None: not.

    `ended`: how often it had ended by itself at the last look.
    """

    stage: Stage = "new"
    step: Step | None = None
    first: int | None = None
    up: int | None = None
    ended: int = 0


class Began(msgspec.Struct, frozen=True):
    """A start on purpose is under way."""


class Came(msgspec.Struct, frozen=True):
    """It has come to this step."""

    step: Step


class Runs(msgspec.Struct, frozen=True):
    """It is steady."""


class Failed(msgspec.Struct, frozen=True):
    """It is not; it is tried on."""

    why: str


Word = Began | Came | Runs | Failed


def looked(
    start: Start, status: WorkloadStatus | None, now: int, *, held: bool = False
) -> tuple[Start, list[Word]]:
    """The start after a look at the driver's status; None: it has none yet. `held`: it was stopped because it flaps."""
    phase = None if status is None else status.phase
    if held and start.stage in {"starting", "failed"}:
        return _failed(start, _why(status))
    if start.stage == "new" and phase == "running":
        return Start("running", ended=_restarts(status)), []  # an earlier agent has started it
    if phase in _DOWN or held:
        return Start("down"), []
    if start.stage in {"new", "down"} or _is_anew(start, status):
        begun, words = _on(Start("starting"), status, now)
        return begun, [Began(), *words]
    if start.stage == "running":
        return replace(start, ended=_restarts(status)), []
    return _on(start, status, now)


def cannot_start(status: WorkloadStatus) -> bool:
    """Whether it waits for what cannot be had at present: its image."""
    return status.phase == "pending" and status.message.startswith(CANNOT)


def again_after(start: Start, now: int) -> float | None:
    """Seconds after which a look is due although nothing may have changed; None: none is."""
    if start.stage not in {"starting", "failed"} or start.up is None:
        return None
    return max(STEADY - (now - start.up) / NS, 0.0)


def _is_anew(start: Start, status: WorkloadStatus | None) -> bool:
    """Whether what ran, or could not, is started on purpose."""
    if status is None or status.phase not in {"pending", "starting"} or _restarts(status):
        return False
    return start.stage == "running" or (start.stage == "failed" and start.ended > 0)


def _on(start: Start, status: WorkloadStatus | None, now: int) -> tuple[Start, list[Word]]:
    if status is None or status.phase == "pending":
        return (start, []) if status is None else _waits(start, status.message)
    if status.phase in _ENDED and status.exit is None:
        return _failed(start, _why(status))
    words: list[Word] = []
    if start.step == "pull_started":
        start, words = _came(start, "pull_completed")
    made: Step = "container_running" if status.phase == "running" else "container_created"
    start, more = _came(start, made)
    words = [*words, *more]
    first = now if start.first is None else start.first
    restarts = _restarts(status)
    ends = restarts > start.ended or status.phase in _ENDED
    lives = status.phase == "running"
    up = (now if ends or start.up is None else start.up) if lives else None
    start = replace(start, first=first, up=up, ended=restarts)
    if up is not None and now - up >= STEADY * NS:
        return replace(start, stage="running"), [*words, Runs()]
    if ends and now - first >= PATIENCE * NS:
        start, more = _failed(start, _why(status))
        return start, [*words, *more]
    return start, words


def _waits(start: Start, message: str) -> tuple[Start, list[Word]]:
    """It waits for its image, and that is what the message is about (`runtimes.containers.images`)."""
    if PULLING in message:
        return _came(start, "pull_started")
    return _failed(start, message) if message.startswith(CANNOT) else (start, [])


def _came(start: Start, step: Step) -> tuple[Start, list[Word]]:
    """Steps are told once each, and only forwards."""
    before = -1 if start.step is None else _ORDER.index(start.step)
    if start.stage != "starting" or _ORDER.index(step) <= before:
        return start, []
    return replace(start, step=step), [Came(step)]


def _failed(start: Start, why: str) -> tuple[Start, list[Word]]:
    if start.stage == "failed":
        return start, []
    return replace(start, stage="failed", up=None), [Failed(why or "it could not be started")]


def _restarts(status: WorkloadStatus | None) -> int:
    return 0 if status is None else status.restarts


def _why(status: WorkloadStatus | None) -> str:
    if status is not None and status.exit is not None:
        return f"it ended: {status.exit}"
    return "it could not be started" if status is None else status.message
