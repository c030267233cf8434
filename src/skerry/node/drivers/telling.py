"""What people are told of drivers, as alerts: in the order in which it happened, each until it is stored."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.tasks import Guard
from skerry.kit.units import format_duration
from skerry.node.drivers.flapping import PAUSE, Rule
from skerry.node.store.driver_marks import DriverMark
from skerry.node.twin_ports import Alerts, NodeAlert

STARTING, FAILURE, LOOP = "driver_starting", "driver_start_failure", "driver_restart_loop"


class Subject(msgspec.Struct, frozen=True):
    """What is told of: a twin's driver. `container` and `image` are empty where they are not known."""

    twin: str
    name: str = ""
    container: str = ""
    image: str = ""

    @property
    def words(self) -> str:
        """For people: «arm» (its UUID)."""
        return f"«{self.name or self.twin}» ({self.twin})"

    @property
    def facts(self) -> Mapping[str, Any]:
        """For programs."""
        known = {
            "twin_uuid": self.twin,
            "container_name": self.container,
            "docker_image": self.image,
        }
        return {name: value for name, value in known.items() if value}


class Notice(msgspec.Struct, frozen=True):
    """One change of the alerts. `key` stands for the alert that «tell» makes, for what is amended of it.

    `resolve_kind` is about all active ones of the kind.
    """

    deed: Literal["tell", "amend", "resolve_kind"]
    twin: str
    kind: str
    key: str = ""
    description: str = ""
    metadata: Mapping[str, Any] = {}
    force: bool = False


def starts(subject: Subject) -> list[Notice]:
    """A start is under way; one before it that came to no end, also of an earlier agent, is over."""
    return [
        over(subject.twin, STARTING),
        Notice(
            "tell", subject.twin, STARTING, subject.container,
            f"The driver of twin {subject.words} is being started from {subject.image} as {subject.container}.",
            {**subject.facts, "phase": "requested"}, force=True,
        ),
    ]  # fmt: skip


def over(twin: str, kind: str) -> Notice:
    """Nothing of this kind is to be said of the twin any more."""
    return Notice("resolve_kind", twin, kind)


def has_come(subject: Subject, step: str) -> Notice:
    """The start has come so far."""
    return Notice("amend", subject.twin, STARTING, subject.container, metadata={"phase": step})


def is_started(subject: Subject) -> list[Notice]:
    """It runs: what was told of this start, and of failures before it, is over."""
    return [over(subject.twin, STARTING), over(subject.twin, FAILURE)]


def has_failed(subject: Subject, why: str, url: str) -> list[Notice]:
    """It could not be started."""
    what = f"({subject.image}) " if subject.image else ""
    return [
        Notice("amend", subject.twin, STARTING, subject.container, metadata={"phase": "failed"}),
        over(subject.twin, STARTING),
        Notice(
            "tell", subject.twin, FAILURE, "",
            f"The driver {what}of twin {subject.words} could not be started: {why.rstrip('.')}. See {url}",
            {**subject.facts, "reason": why, "troubleshooting_url": url},
        ),
    ]  # fmt: skip


def flaps(subject: Subject, mark: DriverMark, count: int, rule: Rule, url: str) -> Notice:
    """It was stopped because it ended by itself too often."""
    return Notice(
        "tell", subject.twin, LOOP, "",
        f"Container {subject.container}, the driver of twin {subject.words}, restarted {count} times within "
        f"{rule.window:g} seconds ({mark.total} restarts in total). It was stopped automatically and is tried once every "
        f"{format_duration(PAUSE)}; another image, other metadata of the twin, or skerry node start-driver {subject.twin} there starts it at once. See {url}",
        {
            **subject.facts, "restart_count": count, "window_seconds": rule.window, "total_restarts": mark.total,
            "flapping": True, "troubleshooting_url": url,
        },
    )  # fmt: skip


class Teller:
    """Tells `alerts` what it is given, in that order; `run` goes on for ever."""

    def __init__(self, alerts: Alerts, clock: Clock, chance: random.Random) -> None:
        self._alerts = alerts
        self._guard = Guard("telling of drivers", clock, chance)
        self._queue: deque[Notice] = deque()
        self._given = Bell()
        self._known: dict[str, str] = {}

    def give(self, *notices: Notice) -> None:
        """These are told after all that was given before."""
        self._queue.extend(notices)
        if notices:
            self._given.ring()

    @property
    def is_idle(self) -> bool:
        """Whether all that was given is stored."""
        return not self._queue

    async def run(self) -> None:
        """Tells; what could not be stored is tried again."""
        seen = 0
        while True:
            while self._queue:
                await self._guard.run(self._first)
            seen = await self._given.after(seen)

    async def _first(self) -> None:
        await self._do(self._queue[0])
        self._queue.popleft()

    async def _do(self, notice: Notice) -> None:
        alerts = self._alerts
        if notice.deed == "tell":
            alert = NodeAlert(notice.kind, notice.description, notice.metadata, notice.force)
            uuid = await alerts.tell(notice.twin, alert)
            if notice.key:
                self._known[notice.key] = uuid
        elif notice.deed == "resolve_kind":
            await alerts.resolve_kind(notice.twin, notice.kind)
        elif uuid := self._known.get(notice.key, ""):
            await alerts.amend(uuid, notice.metadata)
