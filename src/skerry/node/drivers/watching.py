"""Watches over the drivers: how each start goes, which of them flap, and what people have to hear of it.

It looks whenever a status has changed, so every end of a driver counts as it happens; what it decides is in the store
before anybody acts on it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256
from typing import Protocol

import msgspec

from skerry.core.cyberwave.knobs import knobs_of
from skerry.kit.bell import Bell, Rings
from skerry.kit.clock import Clock
from skerry.kit.errors import NotFound
from skerry.kit.one_line import one_line
from skerry.kit.tasks import Guard
from skerry.kit.units import format_duration
from skerry.node.drivers import flapping, starting, telling
from skerry.node.drivers.device import Body, Device, Served
from skerry.node.drivers.flapping import PAUSE, Rule
from skerry.node.drivers.launches import recipe_of
from skerry.node.drivers.plans import Trouble
from skerry.node.drivers.starting import Began, Came, Failed, Runs, Start, Word
from skerry.node.drivers.telling import Subject, Teller
from skerry.node.drivers.wanted import DriverWorkloads
from skerry.node.store.driver_marks import DriverMark, DriverStore
from skerry.wire.codec import encode
from skerry.wire.workload import Assignment, WorkloadStatus

_DRIVERS_WRITE = frozenset({"mqtt", "zenoh"})
"""Parts of a twin's metadata that a driver itself writes when it starts."""


class Statuses(Protocol):
    """How the workloads are (`workloads.supervise.Supervisor`)."""

    @property
    def news(self) -> Bell:
        """Rings when one may have changed."""
        ...

    def statuses(self) -> list[WorkloadStatus]:
        """All of them."""
        ...


class Around(msgspec.Struct, frozen=True):
    """What is watched, and the device and the twins that it belongs to."""

    statuses: Statuses
    served: Callable[[], Sequence[Served]]
    device: Callable[[], Device]


class DriverWatch:
    """`restore` comes before anything is wanted, `run` goes on for as long as the agent.

    `held` says why a driver is to be down; `changed` rings when an answer may be another.
    """

    def __init__(
        self,
        around: Around,
        store: DriverStore,
        teller: Teller,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self.changed = Bell()
        self.running = Bell()
        """Rings when other drivers may run, or for other twins."""
        self._around = around
        self._store = store
        self._teller = teller
        self._clock = clock
        self._guard = Guard("watching drivers", clock, chance)
        self._marks: dict[str, DriverMark] = {}
        self._starts: dict[str, Start] = {}
        self._twins: Mapping[str, str] = {}
        """By workload, those of the last look."""
        self._failed: set[str] = set()
        """Twins whose driver had failed to start when it was no longer wanted."""
        self._troubles: dict[tuple[str, str], str] | None = None
        self._seen: int | None = None
        self._served: Collection[str] = ()

    def restore(self) -> None:
        """Takes up what the agent before this one has found."""
        self._marks = self._store.marks()

    def held(self, assignment: Assignment) -> str:
        """Why a driver is to be down; empty: it is not."""
        mark = self._marks.get(recipe_of(assignment).twin)
        if mark is None or not mark.is_held or mark.made_of != _made_of(assignment):
            return ""
        return (
            f"flapping: it ended by itself {len(mark.ends)} times in a short while ({mark.total} in all); "
            f"one start is tried each {format_duration(PAUSE)}, and at once by skerry node start-driver {mark.twin}"
        )

    def marks(self) -> Mapping[str, DriverMark]:
        """By twin."""
        return self._marks

    def up(self) -> Collection[str]:
        """The drivers that run, by workload."""
        return {
            name
            for name, one in self._starts.items()
            if one.up is not None or one.stage == "running"
        }

    async def clear(self, twin: str) -> None:
        """A person wants it to be started: it counts as if it had never ended. Raises NotFound, Transient."""
        if twin not in self._marks:
            raise NotFound(
                f"cannot start twin «{one_line(twin[:80])}»: it has no driver on this device"
            )
        await self._keep(DriverMark(twin, restarts=self._marks[twin].restarts))
        self._teller.give(telling.over(twin, telling.LOOP))
        self.changed.ring()

    async def clear_all(self) -> None:
        """As `clear`, for every driver."""
        for twin, mark in [*self._marks.items()]:
            if mark.since is not None:
                await self.clear(twin)

    async def run(self, workloads: DriverWorkloads) -> None:
        """Looks whenever a status or a wish has changed, and when a time has come."""
        rings = Rings([self._around.statuses.news, workloads.looked])
        pause: float | None = None

        async def once() -> None:
            nonlocal pause
            pause = await self.look(workloads)

        while True:
            rings.note()
            if await self._guard.run(once):
                await rings.next(self._clock, pause)

    async def look(self, workloads: DriverWorkloads) -> float | None:
        """One look at everything; seconds after which another is due at the latest. None: none is."""
        served = {twin.uuid: twin for twin in self._around.served()}
        statuses = {one.workload: one for one in self._around.statuses.statuses()}
        pauses: list[float] = []
        before, wanted = self.up(), list(workloads.wanted())
        self._tell_of_gone({one.workload for one in wanted}, workloads.planned or ())
        self._tell_troubles(workloads.troubles, served)
        for assignment in wanted:
            status = statuses.get(assignment.workload)
            pauses += await self._judge(assignment, status, served)
            pauses += self._follow(assignment, status, self._subject(assignment, served))
        self._twins = {one.workload: recipe_of(one).twin for one in wanted}
        await self._forget(self._marks.keys() - served.keys())
        await self._forget_without_driver(workloads)
        self._seen = self._clock.wall_ns()
        if (self.up(), served.keys()) != (before, self._served):
            self._served = served.keys()
            self.running.ring()
        return min(pauses, default=None)

    async def _judge(
        self, assignment: Assignment, status: WorkloadStatus | None, served: Mapping[str, Served]
    ) -> list[float]:
        """Keeps what becomes of the driver's mark, and tells of it."""
        twin, now, rule = recipe_of(assignment).twin, self._clock.wall_ns(), self._rule()
        metadata = _digest_of(served[twin].body if twin in served else {})
        look = flapping.Look(_made_of(assignment), metadata, status, now, self._seen)
        old = self._marks.get(twin) or flapping.first_mark(twin, look)
        mark = flapping.judged(old, look, rule)
        await self._keep(mark)
        if mark.is_held and (not old.is_held or self._seen is None):
            subject = self._subject(assignment, served)
            count = flapping.recently(mark, mark.since or now, rule)
            self._teller.give(telling.flaps(subject, mark, count, rule, self._url()))
        elif old.since is not None and mark.since is None:
            self._teller.give(telling.over(twin, telling.LOOP))
        if old.is_held != mark.is_held:
            self.changed.ring()
        again = flapping.next_look(mark, now, rule)
        return [] if again is None else [again]

    def _follow(
        self, assignment: Assignment, status: WorkloadStatus | None, subject: Subject
    ) -> list[float]:
        """Tells how the start goes."""
        name, now = assignment.workload, self._clock.monotonic_ns()
        known = name in self._starts
        held = self._marks[subject.twin].is_held
        before = self._starts.get(name, Start())
        start, words = starting.looked(before, status, now, held=held)
        self._starts[name] = start
        if (before.stage, start.stage) == ("starting", "down"):
            self._teller.give(telling.over(subject.twin, telling.STARTING))
        for word in words:
            self._teller.give(*_notices(subject, word, self._url()))
        if not known and start.stage == "running":  # what an earlier agent told of it may be left
            self._teller.give(
                telling.over(subject.twin, telling.STARTING),
                telling.over(subject.twin, telling.FAILURE),
            )
        again = starting.again_after(start, now)
        return [] if again is None else [again]

    def _tell_of_gone(self, wanted: Collection[str], planned: Collection[str]) -> None:
        """A start of a driver that is wanted no more has come to its end; why it failed, once its twin has none any more."""
        for workload in self._twins.keys() - wanted:
            twin, start = self._twins[workload], self._starts.pop(workload)
            if start.stage == "starting":
                self._teller.give(telling.over(twin, telling.STARTING))
            elif start.stage == "failed":
                self._failed.add(twin)
        for twin in self._failed - set(planned):
            self._teller.give(telling.over(twin, telling.FAILURE))
        self._failed &= set(planned)

    def _tell_troubles(self, troubles: Sequence[Trouble], served: Mapping[str, Served]) -> None:
        now = {(one.twin, one.kind): one for one in troubles}
        first = self._troubles is None
        before = self._troubles or {}
        for key, one in now.items():
            if before.get(key) != one.text:
                self._teller.give(*self._of_trouble(one, served))
        old: set[tuple[str, str]] = set(before)
        if first:
            old = {(twin, kind) for twin in served for kind in ("error", "driver_health")}
        for twin, kind in sorted(old - now.keys()):
            self._teller.give(telling.over(twin, kind))
        self._troubles = {key: one.text for key, one in now.items()}

    def _of_trouble(self, one: Trouble, served: Mapping[str, Served]) -> list[telling.Notice]:
        subject = Subject(one.twin, _name(served, one.twin), one.name)
        if one.kind == telling.FAILURE:
            return telling.has_failed(subject, one.text, self._url())
        return [telling.Notice("tell", one.twin, one.kind, "", one.text, subject.facts)]

    def _subject(self, assignment: Assignment, served: Mapping[str, Served]) -> Subject:
        twin, spec = recipe_of(assignment).twin, assignment.spec
        image = (
            spec.container.image
            if spec.container
            else " ".join(spec.process.command if spec.process else ())
        )
        return Subject(twin, _name(served, twin), assignment.workload, image)

    async def _keep(self, mark: DriverMark) -> None:
        if self._marks.get(mark.twin) != mark:
            await self._store.put([mark])
            self._marks[mark.twin] = mark

    async def _forget_without_driver(self, workloads: DriverWorkloads) -> None:
        """Nothing flaps of a twin that has no driver any more, or is another one's camera."""
        if workloads.planned is None:
            return
        stuck = {one.twin for one in workloads.troubles if one.kind == telling.FAILURE}
        gone = self._marks.keys() - workloads.planned - stuck
        marked = [twin for twin in gone if self._marks[twin].since is not None]
        await self._forget(gone)
        self._teller.give(*(telling.over(twin, telling.LOOP) for twin in sorted(marked)))

    async def _forget(self, twins: Collection[str]) -> None:
        await self._store.forget(twins)
        for twin in twins:
            del self._marks[twin]

    def _rule(self) -> Rule:
        knobs = knobs_of(self._around.device().config.variables)
        return Rule(knobs.restart_threshold, knobs.restart_window)

    def _url(self) -> str:
        return knobs_of(self._around.device().config.variables).troubleshooting_url


def _notices(subject: Subject, word: Word, url: str) -> Sequence[telling.Notice]:
    match word:
        case Began():
            return telling.starts(subject)
        case Came(step=step):
            return [telling.has_come(subject, step)]
        case Runs():
            return telling.is_started(subject)
        case Failed(why=why):
            return telling.has_failed(subject, why, url)


def _name(served: Mapping[str, Served], twin: str) -> str:
    return str(served[twin].body.get("name") or "") if twin in served else ""


def _made_of(assignment: Assignment) -> str:
    return sha256(encode([assignment.spec, assignment.local.recipe])).hexdigest()


def _digest_of(body: Body) -> str:
    metadata = body.get("metadata")
    known = metadata if isinstance(metadata, Mapping) else {}
    told = {name: value for name, value in known.items() if name not in _DRIVERS_WRITE}
    return sha256(msgspec.json.encode(told, order="sorted")).hexdigest()
