"""Steps: what `plan` proposes and `executor` carries out, one at a time for each workload."""

from __future__ import annotations

from typing import Literal

import msgspec

from skerry.node.ports import Excess
from skerry.wire.workload import Phase

StopReason = Literal[
    "changed",
    "removed",
    "restart",
    "disconnected",
    "node-stop",
    "reload",
    "by-hand",
    "held",
    "not-ready",
]


class StartWorkload(msgspec.Struct, frozen=True):
    """Make an instance, or ask once more for the one that the runtime has not confirmed."""

    name: str


class StopWorkload(msgspec.Struct, frozen=True):
    """Send the stop signal and let the grace period begin."""

    name: str
    reason: StopReason


class EndExcess(msgspec.Struct, frozen=True):
    """The instance is over a limit: end it, and let its restart policy judge that as a failure."""

    name: str
    excess: Excess


class KillWorkload(msgspec.Struct, frozen=True):
    """The grace period is over, or an earlier SIGKILL had no effect."""

    name: str


class AbandonInstance(msgspec.Struct, frozen=True):
    """The runtime never confirmed this instance and tells no exit for it: it was not made."""

    name: str


class Remove(msgspec.Struct, frozen=True):
    """Nothing wants the workload and nothing of it lives: forget it."""

    name: str


class Wait(msgspec.Struct, frozen=True):
    """Nothing can be done before `until` (monotonic ns; None: before something happens). Shows why."""

    name: str
    phase: Phase
    reason: str = ""
    until: int | None = None


BesideStep = StartWorkload | StopWorkload | EndExcess | KillWorkload | AbandonInstance


class Beside(msgspec.Struct, frozen=True):
    """A step for the instance beside the one that serves. A start begins an attempt, if none is under way."""

    step: BesideStep


class Promote(msgspec.Struct, frozen=True):
    """The successor serves from now on; what it replaces is asked to end, or given up if it cannot be started."""

    name: str


Step = (
    Beside
    | Promote
    | StartWorkload
    | StopWorkload
    | EndExcess
    | KillWorkload
    | AbandonInstance
    | Remove
    | Wait
)
