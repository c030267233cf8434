"""Carries out the steps of one workload, one at a time: write what is about to happen, then make it happen.

If the agent dies between any two lines here, the row that was written is enough to go on from: a start is
repeated under the same instance id, a stop signal is sent again, a grace period runs on to its end.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import InvalidInput, Refused
from skerry.kit.ids import uuid7
from skerry.node.ports import Excess, Launch, NeedGone, Runtime
from skerry.node.store.instances import (
    ActualWorkload,
    Ended,
    Instance,
    InstanceStore,
    Transition,
)
from skerry.node.workloads import overlap, transitions
from skerry.node.workloads.steps import (
    AbandonInstance,
    BesideStep,
    EndExcess,
    KillWorkload,
    StartWorkload,
    StopReason,
    StopWorkload,
)
from skerry.node.workloads.transitions import Moment
from skerry.wire.workload import Assignment, Exit

LaunchFor = Callable[[Assignment, str], Launch]
"""How an instance of an assignment is started: (assignment, instance id). `contracts.native` has the real one."""


class Tools(msgspec.Struct, frozen=True):
    """What every executor works with."""

    instances: InstanceStore
    runtime: Runtime
    launch_for: LaunchFor
    clock: Clock
    chance: random.Random
    disk: Disk

    def moment(self) -> Moment:
        """The clock, read once."""
        clock = self.clock
        return Moment(clock.wall_ns(), clock.monotonic_ns(), clock.boot_id())


class WorkloadExecutor:
    """One workload's hands. `changed` is told each row once it is committed; None: the workload is forgotten."""

    def __init__(
        self, name: str, tools: Tools, changed: Callable[[str, ActualWorkload | None], None]
    ) -> None:
        self.name = name
        self.actual: ActualWorkload | None = None
        self._tools = tools
        self._changed = changed
        self._signalled: frozenset[str] = frozenset()

    def reload(self) -> None:
        """Takes the store's row as the truth: at the start, and after an error, when nobody knows how far it got."""
        self._set(self._tools.instances.read(self.name))

    def show(self, message: str) -> None:
        """Shows a passing trouble without writing it down."""
        if self.actual is not None:
            self._set(replace(self.actual, message=message))

    async def start(self, held: ActualWorkload, ended: Ended | None) -> None:
        """Writes the end of the old instance and the new one's beginning as one transition, then asks the runtime."""
        if held.instance is None:
            held = transitions.starting(held, uuid7(self._tools.clock), self._tools.moment())
            await self._save(held, "workload.starting", ended)
        if held.instance is not None:
            await self._launch(held)

    async def stop(self, held: ActualWorkload, reason: StopReason) -> None:
        """Writes that the grace period begins, then sends the stop signal."""
        stopping = transitions.stopping(held, reason, self._tools.moment())
        await self._save(stopping, "workload.stopping")
        await self.signal_stop()

    async def exceed(self, held: ActualWorkload, excess: Excess) -> None:
        """Writes that the instance is ended for a limit, and sends the stop signal, or else `kill` follows."""
        over = transitions.exceeding(held, excess, self._tools.moment())
        await self._save(over, "workload.exceeding")
        if not excess.at_once:
            await self.signal_stop()

    async def signal_stop(self) -> None:
        """Sends the stop signals, once in this agent's life: an earlier agent may have died just before sending one."""
        actual = self.actual
        for row in () if actual is None else (actual, actual.beside):
            if row is None or row.phase != "stopping" or row.instance is None:
                continue
            if row.instance.id not in self._signalled and row.assignment.spec.stop.grace > 0:
                await self._tools.runtime.signal(row.instance.id, row.assignment.spec.stop.signal)
                self._signalled |= {row.instance.id}
                self._tools.disk.point("workload.signalled")
                await self._give_grace(row.instance)
        living = {instance.id for instance in actual.instances} if actual else set()
        self._signalled &= living

    async def _give_grace(self, asked: Instance) -> None:
        """An instance that has just been asked to end has its grace from now on, if the disk has taken all of it."""
        moment, held = self._tools.moment(), self.actual
        if asked.cause or asked.kill_at is None or moment.monotonic < asked.kill_at or held is None:
            return
        if held.instance == asked:
            held = transitions.given_grace(held, moment)
        elif held.beside is not None:
            held = replace(held, beside=transitions.given_grace(held.beside, moment))
        await self.settle(held, None)

    async def kill(self, held: ActualWorkload) -> None:
        """Sends SIGKILL to all of the instance, then writes when to send it again."""
        if held.instance is not None:
            await self._tools.runtime.signal(held.instance.id, "SIGKILL")
        await self._save(
            transitions.killed(held, self._tools.moment()), "workload.killed", durable=False
        )

    async def abandon(self, held: ActualWorkload) -> None:
        """Writes an instance off that the runtime never made; what it needs is looked at again."""
        moment = self._tools.moment()
        if held.instance is not None:
            ended = Ended(held.instance.id, Exit(at=moment.wall))
            await self._save(transitions.not_made(held, moment), "workload.abandoned", ended)

    async def settle(self, held: ActualWorkload, ended: Ended | None) -> None:
        """Writes how things stand, if that is news. Only an exit waits for the disk."""
        if ended is not None:
            await self._save(held, "workload.ended", ended)
        elif held != self.actual:
            await self._save(held, "workload.settled", durable=False)

    async def remove(self) -> None:
        """Forgets the workload."""
        await self._tools.instances.remove(self.name, label="workload.removed")
        self._set(None)

    async def beside(
        self, held: ActualWorkload, step: BesideStep, wish: Assignment, ended: Ended | None
    ) -> None:
        """Carries out a step for the instance beside the one that serves. `ended`: how that one has just ended."""
        if ended is not None:
            await self._save(held, "workload.ended", ended)
        moment, chance = self._tools.moment(), self._tools.chance.random()
        row = held.beside or transitions.first_seen(wish, moment)
        match step:
            case StartWorkload():
                await self._start_beside(held, row, moment)
            case StopWorkload(reason=reason):
                after = overlap.stopping(row, reason, moment, chance)
                await self._save(replace(held, beside=after), "workload.stopping-beside")
                await self.signal_stop()
            case EndExcess(excess=excess):
                after = overlap.exceeding(row, excess, moment, chance)
                await self._save(replace(held, beside=after), "workload.exceeding-beside")
                if not excess.at_once:
                    await self.signal_stop()
            case KillWorkload() if row.instance is not None:
                await self._tools.runtime.signal(row.instance.id, "SIGKILL")
                after = overlap.killed(row, self._tools.moment())
                now = replace(held, beside=after)
                await self._save(now, "workload.killed-beside", durable=False)
            case AbandonInstance() if row.instance is not None:
                gone = Ended(row.instance.id, Exit(at=moment.wall))
                now = replace(held, beside=overlap.not_made(row, moment))
                await self._save(now, "workload.abandoned-beside", gone)

    async def promote(self, held: ActualWorkload, ended: Ended | None) -> None:
        """Writes that the successor serves and its predecessor is being ended, then sends that one the stop signal."""
        await self._save(overlap.promoted(held, self._tools.moment()), "workload.promoted", ended)
        await self.signal_stop()

    async def _start_beside(
        self, held: ActualWorkload, row: ActualWorkload, moment: Moment
    ) -> None:
        if row.instance is None:
            row = transitions.starting(row, uuid7(self._tools.clock), moment, 1 - held.slot)
            held = replace(held, beside=row)
            await self._save(held, "workload.starting-beside")
        try:
            row = await self._launched(row)
        except NeedGone:
            await self.beside(held, AbandonInstance(self.name), row.assignment, None)
            return
        except (Refused, InvalidInput) as error:
            assert row.instance is not None  # noqa: S101 - see above
            moment = self._tools.moment()
            failed = overlap.refused(row, str(error), moment, self._tools.chance.random())
            gone = Ended(row.instance.id, Exit(at=moment.wall))
            await self._save(replace(held, beside=failed), "workload.refused-beside", gone)
            return
        await self._save(replace(held, beside=row), "workload.started-beside", durable=False)

    async def _launch(self, held: ActualWorkload) -> None:
        tools = self._tools
        try:
            now = await self._launched(held)
        except NeedGone:
            await self.abandon(held)
            if self.actual is not None and overlap.is_kept_up(self.actual):
                await self.promote(self.actual, None)
            return
        except (Refused, InvalidInput) as error:
            assert held.instance is not None  # noqa: S101 - it was to be launched
            moment = tools.moment()
            failed = transitions.refused(held, str(error), moment, tools.chance.random())
            ended = Ended(held.instance.id, Exit(at=moment.wall))
            await self._save(failed, "workload.refused", ended)
            return
        # A power cut makes the pid worthless, so this one need not wait for the disk.
        await self._save(now, "workload.started", durable=False)

    async def _launched(self, row: ActualWorkload) -> ActualWorkload:
        """The row once the runtime has answered. Raises NeedGone, Refused, InvalidInput or Transient."""
        tools, instance = self._tools, row.instance
        assert instance is not None  # noqa: S101 - only an instance is launched
        tools.disk.point("workload.spawning")
        identity = await tools.runtime.start(tools.launch_for(row.assignment, instance.id))
        tools.disk.point("workload.spawned")
        isolation = tools.runtime.isolation(instance.id)
        return transitions.started(row, identity, tools.moment(), isolation)

    async def _save(
        self,
        new: ActualWorkload,
        label: str,
        ended: Ended | None = None,
        *,
        durable: bool = True,
    ) -> None:
        noted = transitions.noted_restart(self.actual, new, self._tools.moment())
        transition = Transition(new, ended, noted)
        await self._tools.instances.save([transition], label=label, durable=durable)
        self._set(new)

    def _set(self, actual: ActualWorkload | None) -> None:
        self.actual = actual
        self._changed(self.name, actual)
