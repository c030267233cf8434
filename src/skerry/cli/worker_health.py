"""Whether worker groups are well, and why not. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from skerry.kit.clock import iso
from skerry.wire.local import WorkerRestart, WorkerStatus

Health = Literal["ok", "degraded", "down"]

EXIT_CODES: dict[Health, int] = {"ok": 0, "degraded": 1, "down": 2}


class Reason(msgspec.Struct, frozen=True):
    """One thing that is not as it should be. `workload` is empty where it concerns the node."""

    health: Health
    workload: str
    reason: str


class History(msgspec.Struct, frozen=True):
    """A group's restarts, newest first, and its breaker, which is open until `until` (ns since 1970; None: not known)."""

    workload: str
    breaker: Literal["closed", "open"]
    until: int | None
    automatic: int
    """Automatic restarts within the last five minutes."""
    restarts: list[WorkerRestart]


class Judgement(msgspec.Struct, frozen=True):
    """The worst of all reasons, each of them, and every group's history."""

    health: Health
    reasons: list[Reason]
    groups: list[History] = []


def judge(groups: Sequence[WorkerStatus], *, node_runs: bool) -> Judgement:
    """Judges all of the groups together. No group at all is well."""
    reasons: list[Reason] = []
    if not node_runs:
        reasons.append(Reason("down", "", "the node does not run: nothing restarts a worker"))
    for group in groups:
        reasons += _reasons(group)
    worst = max(reasons, key=lambda reason: EXIT_CODES[reason.health], default=None)
    health = "ok" if worst is None else worst.health
    return Judgement(health, reasons, [_history(group) for group in groups])


def _history(group: WorkerStatus) -> History:
    is_open = group.suspended_until is not None or group.status.phase == "tripped"
    return History(
        group.status.workload,
        "open" if is_open else "closed",
        group.suspended_until,
        group.automatic,
        group.restarts,
    )


def _reasons(group: WorkerStatus) -> Iterator[Reason]:
    status, name = group.status, group.status.workload
    if status.phase in {"starting", "stopping"}:
        yield Reason("degraded", name, _told(status.phase, status.message))
    elif status.phase != "running":
        yield Reason("down", name, _told(status.phase, status.message))
    elif not status.ready:
        yield Reason("degraded", name, _told("not ready", status.message))
    if group.problem and group.problem not in status.message:
        yield Reason("degraded", name, group.problem)
    if group.suspended_until is not None:
        until = iso(group.suspended_until)
        sentence = f"reloads are suspended until {until}: {group.automatic} automatic restarts in 5 minutes"
        yield Reason("degraded", name, sentence)


def _told(word: str, message: str) -> str:
    return f"{word}: {message}" if message and message != word else word
