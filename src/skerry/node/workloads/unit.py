"""One workload's loop: look, decide, do one step, look again; sleep when there is nothing to do.

Each workload has its own task, so one that is stuck delays nobody, and steps of one workload never overlap.
"""

from __future__ import annotations

import logging
from collections import ChainMap
from collections.abc import Callable

from msgspec.structs import replace

from skerry.kit.backoff import Backoff
from skerry.kit.clock import NS
from skerry.kit.errors import NotFound, Refused, Transient
from skerry.kit.tasks import Guard, Tasks
from skerry.node.ports import Restarted
from skerry.node.store.instances import ActualWorkload, Ended
from skerry.node.workloads import locks, overlap, transitions
from skerry.node.workloads.admission import TURN, demand
from skerry.node.workloads.board import Board
from skerry.node.workloads.executor import Tools, WorkloadExecutor
from skerry.node.workloads.needs import Needs
from skerry.node.workloads.plan import Facts, step_for
from skerry.node.workloads.probing import Probing
from skerry.node.workloads.readiness import Prober
from skerry.node.workloads.steps import (
    AbandonInstance,
    Beside,
    BesideStep,
    EndExcess,
    KillWorkload,
    Promote,
    Remove,
    StartWorkload,
    Step,
    StopWorkload,
    Wait,
)
from skerry.wire.wasm import explained
from skerry.wire.workload import Assignment

log = logging.getLogger(__name__)

_GONE = NotFound("cannot lock updates: the workload is not on this node any more")
_TROUBLE = Backoff(first=0.1, cap=5.0)


class Unit:
    """`finished` once the workload is neither wanted nor there any more; a new unit may then take the name.

    `resting` while no step is under way: whatever comes next will be decided from what is known then.
    """

    def __init__(
        self,
        name: str,
        tools: Tools,
        board: Board,
        facts: Callable[[], Facts],
        needs: Needs,
        prober: Prober,
    ) -> None:
        self.name = name
        self.finished = False
        self.resting = False
        self._tools = tools
        self._board = board
        self._bell = board.bells[name]
        self._facts = facts
        self._needs = needs
        self._executor = WorkloadExecutor(name, tools, board.put)
        self._unsure = True
        self._failures = 0
        self._told = ""
        self._probing = Probing(
            prober, self._bell.ring, lambda: self._guard(f"probe of workload «{name}»")
        )

    async def run(self, tasks: Tasks) -> None:
        """Ends when the workload is finished; `tasks` runs its readiness probe."""
        guard = self._guard(f"workload «{self.name}»")

        async def once() -> None:
            await self._once(tasks)

        while not self.finished:
            await guard.run(once)

    async def _once(self, tasks: Tasks) -> None:
        seen = self._bell.count
        if self._unsure:
            self._executor.reload()
        self._unsure = True
        try:
            step = await self._step()
            heeded = isinstance(step, Wait) and await self._heed_order()
        except Transient as error:
            until: int | None = self._after_trouble(error)
        else:
            self._unsure = False
            self._failures = 0
            self._tend_probes(tasks)
            self._board.ledger.settle(self.name, self._executor.actual)
            if heeded or not isinstance(step, Wait):
                return
            until = step.until
        self.resting = True
        await self._sleep(seen, until)
        self.resting = False

    async def _step(self) -> Step | None:
        """Decides and carries out; None: that has to be looked at once more, or there is no such workload any more."""
        if await self._heed_restart():
            return None
        actual, ended = self._as_it_is()
        self._tell_end(ended)
        if ended is not None and actual is not None and self._is_of_other(ended):
            await self._executor.settle(actual, ended)
            return None
        wish = self._board.desired.get(self.name)
        missing = "" if wish is None else self._needs.missing(wish)
        excesses = self._board.excesses_of(actual)
        facts = replace(self._facts(), missing=missing, excesses=excesses)
        held = actual if wish is None else overlap.hold(actual, wish, facts.moment)
        if held is None:
            self._ask_for_memory(None)
            self.finished = self.resting = True
            self._board.refuse_orders(self.name, _GONE)
            return None
        others = ChainMap({self.name: held}, self._board.actual)
        step = step_for(held, self._board.desired, others, facts)
        if refused := self._ask_for_memory(demand(step, held, wish)):
            facts = replace(facts, missing=refused)
            step = step_for(held, self._board.desired, others, facts)
            if isinstance(step, Wait):
                again = facts.moment.monotonic + TURN
                step = replace(step, until=min(step.until or again, again))
        await self._carry_out(step, held, wish or held.assignment, ended)
        return step

    async def _heed_restart(self) -> bool:
        """Writes that an engine has started one of the instances again; False: none has."""
        held = self._executor.actual
        told = None if held is None else self._board.restart_of(held)
        if held is None or told is None:
            return False
        moment, other = self._tools.moment(), held.beside
        if held.instance is not None and held.instance.id == told.instance:
            row = held
            held = after = transitions.restarted(row, told, moment)
        else:
            assert other is not None  # noqa: S101 - it has the other instance
            row, after = other, transitions.restarted(other, told, moment)
            held = replace(held, beside=after)
        if after.instance != row.instance:
            self._probing.forget(told.instance)
        await self._executor.settle(held, None)
        self._board.written(told)
        if more := after.starts - row.starts:
            count = after.starts - 1
            self._board.tell(Restarted(self.name, told.instance, count, more, told.exit))
        return True

    def _tell_end(self, ended: Ended | None) -> None:
        """Tells those who listen of an end that nobody asked for, once, before anything is made of it."""
        held = self._executor.actual
        if ended is None or held is None or ended.instance == self._told:
            return
        self._told = ended.instance
        for row in (held, held.beside):
            if row is None or row.instance is None or row.instance.id != ended.instance:
                continue
            if transitions.is_by_itself(row):
                self._board.tell(Restarted(self.name, ended.instance, row.starts, 1, ended.exit))

    async def _carry_out(
        self, step: Step, held: ActualWorkload, wish: Assignment, ended: Ended | None
    ) -> None:
        match step:
            case StartWorkload():
                await self._needs.check(held.assignment)
                await self._executor.start(held, ended)
            case StopWorkload(reason=reason):
                await self._executor.stop(held, reason)
            case EndExcess(excess=excess):
                await self._executor.exceed(held, excess)
            case KillWorkload():
                await self._executor.kill(held)
            case AbandonInstance():
                await self._executor.abandon(held)
            case Beside(step=inner):
                await self._carry_out_beside(inner, held, wish, ended)
            case Promote():
                await self._executor.promote(held, ended)
            case Remove():
                await self._executor.remove()
            case Wait(phase=phase, reason=reason):
                still = transitions.waiting(held, phase, reason, self._tools.moment())
                await self._executor.settle(still, ended)
                await self._executor.signal_stop()

    async def _carry_out_beside(
        self, step: BesideStep, held: ActualWorkload, wish: Assignment, ended: Ended | None
    ) -> None:
        if isinstance(step, StartWorkload):
            await self._needs.check(wish)
        await self._executor.beside(held, step, wish, ended)

    async def _heed_order(self) -> bool:
        """Takes one order about locks, and only while there is nothing to do: renewing never outruns what waits.

        True when there was one; what it means is decided in the next pass. One that cannot be written is tried again.
        """
        waiting = self._board.orders.get(self.name)
        if not waiting:
            return False
        try:
            held = locks.ordered(self._executor.actual, waiting[0].order, self._tools.moment())
        except Refused as error:
            waiting.popleft().fail(error)
            return True
        await self._executor.settle(held, None)
        waiting.popleft().done(held)
        return True

    def _ask_for_memory(self, size: int | None) -> str:
        """Why there is none; empty when it is reserved, or not asked for."""
        if size is None:
            self._board.ledger.leave(self.name)
            return ""
        return self._board.ledger.ask(self.name, size)

    def _as_it_is(self) -> tuple[ActualWorkload | None, Ended | None]:
        """The committed row, and on top of it what has happened since: an exit, a probe's result."""
        actual = self._executor.actual
        if actual is None:
            return None, None
        other = actual.beside
        if other is not None and (gone := self._exit_of(other)) is not None:
            chance = self._tools.chance.random()
            left = overlap.ended(other, gone.exit, self._tools.moment(), chance)
            return replace(actual, beside=left), gone
        if (gone := self._exit_of(actual)) is not None:
            chance = self._tools.chance.random()
            after = transitions.ended(actual, gone.exit, self._tools.moment(), chance)
            return after, gone
        beside = None if other is None else self._probing.judged(other)
        return replace(self._probing.judged(actual), beside=beside), None

    def _exit_of(self, row: ActualWorkload) -> Ended | None:
        told = None if row.instance is None else self._board.exits.get(row.instance.id)
        if row.instance is None or told is None:
            return None
        is_wasm = row.assignment.spec.runtime == "wasm"
        exit_ = explained(told.exit) if is_wasm else told.exit
        return Ended(told.instance, transitions.exit_of(row.instance, exit_))

    def _is_of_other(self, ended: Ended) -> bool:
        """Whether it was the instance beside the one that serves: its end is written by itself."""
        actual = self._executor.actual
        serving = None if actual is None else actual.instance
        return serving is None or serving.id != ended.instance

    def _after_trouble(self, error: Transient) -> int:
        self._failures += 1
        delay = _TROUBLE.delay(self._failures, self._tools.chance)
        if self._failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th … time: no flood
            log.warning("workload «%s»: %s; next try in %.1f s", self.name, error, delay)
        self._executor.reload()
        self._executor.show(str(error))
        return self._tools.clock.monotonic_ns() + int(delay * NS)

    def _tend_probes(self, tasks: Tasks) -> None:
        actual = self._executor.actual
        rows = () if actual is None else (actual, actual.beside)
        self._probing.tend([row for row in rows if row is not None], tasks)

    def _guard(self, name: str) -> Guard:
        return Guard(name, self._tools.clock, self._tools.chance)

    async def _sleep(self, seen: int, until: int | None) -> None:
        """Until the bell has rung after `seen`, or the monotonic time `until` has come."""
        if until is None:
            await self._bell.after(seen)
            return
        delay = (until - self._tools.clock.monotonic_ns()) / NS
        if delay > 0:
            await self._bell.within(seen, delay, self._tools.clock)
