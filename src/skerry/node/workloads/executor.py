"""Carries out the steps of one workload, one at a time: write what is about to happen, then make it happen.

If the agent dies between any two lines here, the row that was written is enough to go on from: a start is
repeated under the same instance id, a stop signal is sent again, a grace period runs on to its end.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

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
from skerry.node.workloads import transitions
from skerry.node.workloads.steps import StopReason
from skerry.node.workloads.transitions import Moment
from skerry.wire.workload import Assignment, Exit

LaunchFor = Callable[[Assignment, str], Launch]
"""How an instance of an assignment is started: (assignment, instance id). `contracts.native` has the real one."""


@dataclass(frozen=True)
class Tools:
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
        self._signalled = ""

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
            await self._launch(held, held.instance)

    async def stop(self, held: ActualWorkload, reason: StopReason) -> None:
        """Writes that the grace period begins; `signal_stop` follows."""
        stopping = transitions.stopping(held, reason, self._tools.moment())
        await self._save(stopping, "workload.stopping")

    async def exceed(self, held: ActualWorkload, excess: Excess) -> None:
        """Writes that the instance is ended for a limit; `signal_stop` or `kill` follows."""
        over = transitions.exceeding(held, excess, self._tools.moment())
        await self._save(over, "workload.exceeding")

    async def signal_stop(self) -> None:
        """Sends the stop signal, once in this agent's life: an earlier agent may have died just before sending it."""
        actual = self.actual
        if actual is None or actual.instance is None or self._signalled == actual.instance.id:
            return
        await self._tools.runtime.signal(actual.instance.id, actual.assignment.spec.stop.signal)
        self._signalled = actual.instance.id
        self._tools.disk.point("workload.signalled")

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

    async def _launch(self, held: ActualWorkload, instance: Instance) -> None:
        tools = self._tools
        tools.disk.point("workload.spawning")
        try:
            identity = await tools.runtime.start(tools.launch_for(held.assignment, instance.id))
        except NeedGone:
            await self.abandon(held)
            return
        except (Refused, InvalidInput) as error:
            moment = tools.moment()
            failed = transitions.refused(held, str(error), moment, tools.chance.random())
            ended = Ended(instance.id, Exit(at=moment.wall))
            await self._save(failed, "workload.refused", ended)
            return
        tools.disk.point("workload.spawned")
        # A power cut makes the pid worthless, so this one need not wait for the disk.
        isolation = tools.runtime.isolation(instance.id)
        now = transitions.started(held, identity, tools.moment(), isolation)
        await self._save(now, "workload.started", durable=False)

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
