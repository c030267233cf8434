"""Keeps every workload of this node as it is wanted: attaches to the runtime, then runs one `Unit` for each.

Wakes on exits, on changed wishes, on the link and on due times; it never polls. What units commit is
reported and acknowledged by two loops of its own, so neither the hub's side nor the runtime delays a restart.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from skerry.kit.bell import Bell
from skerry.kit.errors import NotFound, SkerryError
from skerry.kit.tasks import Guard, Tasks, supervised
from skerry.node.ports import (
    Excess,
    InstanceExit,
    Living,
    Restarted,
    RunningInstance,
    StoredInstance,
)
from skerry.node.store.instances import ActualWorkload
from skerry.node.workloads.attach import after_reboot, attach, not_listed
from skerry.node.workloads.board import Board
from skerry.node.workloads.executor import Tools
from skerry.node.workloads.locks import LockOrder
from skerry.node.workloads.needs import Needs
from skerry.node.workloads.plan import Facts
from skerry.node.workloads.readiness import Prober
from skerry.node.workloads.transitions import status_of
from skerry.node.workloads.unit import Unit
from skerry.wire.workload import Assignment, Exit, WorkloadStatus

log = logging.getLogger(__name__)


class Desired(Protocol):
    """What is wanted of this node, as its store has it."""

    changed: Bell
    """Rings when an answer below may have changed; `offline_for` growing is no change."""

    async def assignments(self) -> list[Assignment]:
        """All of them."""
        ...

    def offline_for(self) -> float | None:
        """Seconds since the hub was lost; None: it is there, or the node has none."""
        ...

    def stop_all(self, workload: str) -> bool:
        """Whether `skerry node stop --workloads` was asked of this agent, and it is this workload's turn."""
        ...

    def remark(self, workload: str) -> str:
        """What the status of the running workload should say besides; empty for nothing."""
        ...


class Statuses(Protocol):
    """Where statuses go on their way to the hub. A failing call is repeated."""

    async def report(self, status: WorkloadStatus) -> None: ...

    async def forget(self, workload: str) -> None: ...


class Supervisor:
    """Runs as long as the agent does. The caller closes the runtime; cancelling `run` leaves workloads running.

    `memory_limit` is what the whole node may use, in bytes; None: no workload waits for memory.
    """

    def __init__(
        self,
        tools: Tools,
        desired: Desired,
        statuses: Statuses,
        needs: Needs,
        prober: Prober,
        memory_limit: int | None = None,
    ) -> None:
        self._tools = tools
        self._desired = desired
        self._statuses = statuses
        self._needs = needs
        self._prober = prober
        self._board = Board(memory_limit, tools.clock.monotonic_ns)
        self._units: dict[str, Unit] = {}
        self._listed: list[RunningInstance] = []
        self._unasked: list[ActualWorkload] = []
        """Rows whose instance the runtime could not be asked for: nobody knows whether it lives."""

    async def run(self) -> None:
        """Attaches to the runtime, then supervises until cancelled."""
        async with supervised() as tasks:
            for step in (self._end_earlier_boots, self._connect, self._match):
                await self._insist(step)
            tasks.forever(self._report(), name="workloads: report statuses")
            tasks.forever(self._acknowledge(), name="workloads: acknowledge exits")
            tasks.forever(self._heed_needs(), name="workloads: needs")
            for one in self._unasked:
                if not _is_being_started(one):
                    name = f"look for workload «{one.name}»"
                    _ = tasks.start(self._ask_again(one), name=name)
            try:
                await self._follow(tasks)
            finally:
                await self._needs.close()

    @property
    def news(self) -> Bell:
        """Rings when a status may have changed."""
        return self._board.news

    def on_restart(self, listener: Callable[[Restarted], None]) -> None:
        """From now on calls `listener` whenever a workload has ended by itself; it must not raise."""
        self._board.listeners.append(listener)

    def statuses(self) -> list[WorkloadStatus]:
        """Every workload as it is now, by name; before the runtime has answered, as the store has it."""
        moment, board = self._tools.moment(), self._board
        known = board.actual if board.attached else self._tools.instances.load()
        return [status_of(actual, moment) for _, actual in sorted(known.items())]

    async def order_lock(self, workload: str, order: LockOrder) -> WorkloadStatus:
        """Takes or gives back an update lock; returns when that is committed. Raises NotFound or Refused."""
        if workload not in self._units or workload not in self._board.actual:
            raise NotFound(f"cannot lock updates of workload «{workload}»: it is not on this node")
        actual = await self._board.order(workload, order)
        return status_of(actual, self._tools.moment())

    def living(self) -> list[Living]:
        """Every instance that runs or is asked for, by workload."""
        return self._board.living()

    def end(self, excess: Excess) -> None:
        """Ends an instance that is over a limit; its restart policy judges that as a failure."""
        self._board.exceeds(excess)

    async def all_ended(self, but: Callable[[str], bool] = lambda _: False) -> None:
        """Returns when no instance lives or is being made and every exit is acknowledged; for use after `stop_all`.

        Workloads for which `but` holds may live.
        """
        seen = self._board.news.count
        while not self._is_quiet(but):
            seen = await self._board.news.after(seen)

    async def all_reported(self) -> None:
        """Returns when every status that has changed is in the store, on its way to the hub."""
        seen = self._board.news.count
        while self._board.unreported:
            seen = await self._board.news.after(seen)

    def _is_quiet(self, but: Callable[[str], bool]) -> bool:
        board = self._board
        living = any(one.instances for name, one in board.actual.items() if not but(name))
        resting = all(unit.resting for name, unit in self._units.items() if not but(name))
        return board.attached and resting and not living and not board.unacknowledged

    async def _end_earlier_boots(self) -> None:
        tools = self._tools
        if lost := after_reboot(tools.instances.load(), tools.moment()):
            await tools.instances.save(lost, label="workload.rebooted")

    async def _connect(self) -> None:
        self._listed = await self._tools.runtime.connect(self._board.hear)

    async def _match(self) -> None:
        """Makes store and runtime agree. Exits that come meanwhile are on the board, and judged by their units."""
        tools, board = self._tools, self._board
        actual, running = tools.instances.load(), list(self._listed)
        unlisted, self._unasked = not_listed(actual, running, board.exits), []
        if known := [stored for one in unlisted if (stored := self._stored(one)) is not None]:
            running += await tools.runtime.adopt(known)
        unasked = {one.instance.id for one in self._unasked if one.instance is not None}
        found = attach(
            actual,
            running,
            board.exits.keys() | unasked,
            tools.moment(),
            tools.chance,
            started=tools.instances.started(),
        )
        if found.transitions:
            await tools.instances.save(found.transitions, label="workload.attached")
        for instance in found.doubles:
            await tools.runtime.signal(instance, "SIGKILL")
        board.attach(tools.instances.load().values())

    def _stored(self, one: ActualWorkload) -> StoredInstance | None:
        """None: it cannot be said what to ask for; that is its own affair, and no other workload waits for it."""
        try:
            return self._asked_for(one)
        except (SkerryError, OSError) as error:
            log.warning("cannot look for workload «%s», trying again: %s", one.name, error)
            self._unasked.append(one)
            return None

    def _asked_for(self, one: ActualWorkload) -> StoredInstance:
        assert one.instance is not None  # noqa: S101 - not_listed() returns only such
        launch = self._tools.launch_for(one.assignment, one.instance.id)
        return StoredInstance(launch, one.instance.identity)

    async def _ask_again(self, one: ActualWorkload) -> None:
        """Until it is known whether its instance lives; meanwhile its row stands as the agent before this one left it."""
        guard = self._guard(f"look for workload «{one.name}»")

        async def once() -> None:
            stored = self._asked_for(one)
            if not await self._tools.runtime.adopt([stored]):
                gone = Exit(at=self._tools.moment().wall)
                self._board.exited(InstanceExit(stored.launch.instance, gone))

        while self._has(one) and not await guard.run(once):
            pass

    def _has(self, one: ActualWorkload) -> bool:
        return one.instance is not None and self._board.owns(one.instance.id)

    async def _follow(self, tasks: Tasks) -> None:
        guard = self._guard("follow wishes")

        async def once() -> None:
            seen = self._desired.changed.count
            self._board.want(await self._desired.assignments())
            self._needs.want(self._board.desired.values())
            self._board.ring_all()
            self._start_units(tasks)
            await self._desired.changed.after(seen)

        while True:
            await guard.run(once)

    def _start_units(self, tasks: Tasks) -> None:
        for name in [name for name, unit in self._units.items() if unit.finished]:
            del self._units[name]
            del self._board.bells[name]
        for name in sorted(self._board.desired.keys() | self._board.actual.keys()):
            if name not in self._units:
                facts = partial(self._facts, name)
                unit = Unit(name, self._tools, self._board, facts, self._needs, self._prober)
                self._units[name] = unit
                _ = tasks.start(unit.run(tasks), name=f"workload «{name}»")

    def _facts(self, workload: str) -> Facts:
        desired = self._desired
        return Facts(
            self._tools.moment(),
            desired.offline_for(),
            remark=desired.remark(workload),
            stop_all=desired.stop_all(workload),
        )

    async def _heed_needs(self) -> None:
        seen = 0
        while True:
            seen = await self._needs.changed.after(seen)
            self._board.ring_all()

    async def _report(self) -> None:
        board = self._board
        guard = self._guard("report statuses")

        async def once() -> None:
            seen = board.news.count
            while board.unreported:
                await self._report_one(min(board.unreported))
            await board.news.after(seen)

        while True:
            await guard.run(once)

    async def _report_one(self, name: str) -> None:
        actual = self._board.actual.get(name)
        if actual is None:
            await self._statuses.forget(name)
        else:
            await self._statuses.report(status_of(actual, self._tools.moment()))
        if self._board.actual.get(name) is actual:
            self._board.unreported.discard(name)
            self._board.news.ring()

    async def _acknowledge(self) -> None:
        board = self._board
        guard = self._guard("acknowledge exits")

        async def once() -> None:
            seen = board.news.count
            while board.unacknowledged:
                instance = min(board.unacknowledged)
                await self._tools.runtime.acknowledge(instance)
                board.acknowledged(instance)
            await board.news.after(seen)

        while True:
            await guard.run(once)

    async def _insist(self, step: Callable[[], Awaitable[None]]) -> None:
        """Without this step nothing can begin, so it is tried until it succeeds; each may be repeated."""
        guard = self._guard("attach to the runtime")
        while not await guard.run(step):
            pass

    def _guard(self, name: str) -> Guard:
        return Guard(f"workloads: {name}", self._tools.clock, self._tools.chance)


def _is_being_started(row: ActualWorkload) -> bool:
    """Its unit starts it once more, which takes it over where it runs: to ask meanwhile would write off what just begins."""
    return row.instance is not None and row.instance.identity is None
