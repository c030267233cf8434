"""A runtime in memory: instances are entries, exits are scripted, and the n-th call fails.

Passes the same contract suite as `ProcessRuntime` (tests/contract/test_runtime.py). One object stands for
the device: a new agent calls `connect` on it again and finds what runs and the exits that wait.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter, defaultdict, deque
from collections.abc import Callable

from skerry.kit.clock import Clock
from skerry.kit.errors import Refused, Transient
from skerry.node.ports import (
    EngineRestart,
    InstanceExit,
    InstanceNews,
    Launch,
    ProcessIdentity,
    ProcessLaunch,
    RunningInstance,
    StoredInstance,
)
from skerry.testing.manual_clock import ManualClock
from skerry.wire.workload import Exit


class FakeRuntime:
    """Implements `node.ports.Runtime`. The public attributes are the test's handles.

    Call number `fail_at` (1, 2, …) raises Transient: before it has any effect, or after it with
    `lose_reply`. Exits are told by the event loop soon after their cause, never from inside a call.
    """

    def __init__(
        self, fail_at: int = 0, *, lose_reply: bool = False, clock: Clock | None = None
    ) -> None:
        self.calls = 0
        self.names: Counter[str] = Counter()
        self.launched: list[ProcessLaunch] = []
        """Every launch that made a process, in order; a repeated start adds nothing."""
        self.signals: list[tuple[str, str]] = []
        """Every signal that met a living instance: (instance, name)."""
        self.missing: set[str] = set()
        """Commands (first words) that do not exist: their start is Refused."""
        self.stubborn: set[str] = set()
        """Workloads that end on SIGKILL only."""
        self.scripts: defaultdict[str, deque[Exit]] = defaultdict(deque)
        """By workload: each start takes the next exit and ends with it at once."""
        self._fail_at = fail_at
        self._lose_reply = lose_reply
        self._clock = clock or ManualClock()
        self._on_exit: Callable[[InstanceNews], None] | None = None
        self._restarts: dict[str, EngineRestart] = {}
        self._running: dict[str, RunningInstance] = {}
        self._lost: dict[str, RunningInstance] = {}
        self._adopted: set[str] = set()
        self._exits: dict[str, InstanceExit] = {}
        self._identities: dict[str, ProcessIdentity] = {}
        self._boots = 1
        self._last_pid = 1000

    # What the node calls.

    async def connect(self, on_exit: Callable[[InstanceNews], None]) -> list[RunningInstance]:
        self._before("connect")
        self._on_exit = on_exit
        for exit_ in tuple(self._exits.values()):
            on_exit(exit_)
        for restart in tuple(self._restarts.values()):
            on_exit(restart)
        running = list(self._running.values())
        self._after()
        return running

    async def adopt(self, known: list[StoredInstance]) -> list[RunningInstance]:
        self._before("adopt")
        found = []
        for stored in known:
            instance = stored.launch.instance
            if instance in self._lost:
                self._running[instance] = self._lost.pop(instance)
                self._adopted.add(instance)
            if instance in self._running:
                found.append(self._running[instance])
        self._after()
        return found

    async def start(self, launch: Launch) -> ProcessIdentity:
        self._before("start")
        assert isinstance(launch, ProcessLaunch)
        if launch.command[0] in self.missing:
            raise Refused(
                f"cannot start workload «{launch.workload}»: command «{launch.command[0]}» not found"
            )
        if launch.instance in self._running or launch.instance in self._exits:
            identity = self._identities[launch.instance]
        else:
            identity = self._make(launch)
        self._after()
        return identity

    def isolation(self, instance: str) -> str:
        return "standard" if instance in self._running else ""

    async def signal(self, instance: str, name: str) -> None:
        self._before("signal")
        running = self._running.get(instance)
        if running is not None:
            self.signals.append((instance, name))
            if name == "SIGKILL" or running.workload not in self.stubborn:
                number = signal.Signals[name].value
                asyncio.get_running_loop().call_soon(self._end_by_signal, instance, number)
        self._after()

    async def acknowledge(self, instance: str) -> None:
        self._before("acknowledge")
        self._exits.pop(instance, None)
        self._after()

    async def close(self) -> None:
        self._on_exit = None

    async def shut_down(self) -> None:
        self._before("shut_down")
        if self._running or self._exits:
            raise Refused(
                f"cannot end the runtime: {len(self._running)} instances run, {len(self._exits)} exits wait"
            )
        self._on_exit = None
        self._after()

    # What a test does to the device.

    @property
    def running(self) -> dict[str, RunningInstance]:
        """What really lives, by instance, whether the runtime knows it or not."""
        return self._running | self._lost

    @property
    def waiting(self) -> dict[str, InstanceExit]:
        """Exits that nobody has acknowledged."""
        return dict(self._exits)

    def instance_of(self, workload: str) -> str:
        """The one living instance of a workload."""
        (found,) = [key for key, value in self.running.items() if value.workload == workload]
        return found

    def end(self, instance: str, code: int | None = 0, signal_number: int | None = None) -> None:
        """The instance ends now; its exit is told now if an agent is connected, and kept.

        How an adopted instance ended is unknown. One that the runtime does not know leaves no exit.
        """
        self._lost.pop(instance, None)
        if self._running.pop(instance, None) is None:
            return
        if instance in self._adopted:
            code = signal_number = None
        code = None if signal_number is not None else code
        exit_ = InstanceExit(instance, Exit(code, signal_number, self._clock.wall_ns()))
        self._exits[instance] = exit_
        if self._on_exit is not None:
            self._on_exit(exit_)

    def start_again(self, instance: str, *exits: Exit, is_up: bool = True) -> None:
        """An engine has started the instance again after each of these exits, or is about to after the last one."""
        old = self._restarts.get(instance)
        count = (0 if old is None else old.count) + len(exits)
        last = exits[-1] if exits or old is None else old.exit
        running, identity = self._running[instance], None
        if is_up:
            identity = self._identities[instance] = self._new_identity()
            self._running[instance] = RunningInstance(instance, running.workload, identity)
        told = self._restarts[instance] = EngineRestart(instance, count, last, identity)
        if self._on_exit is not None:
            self._on_exit(told)

    def forget(self, instance: str) -> None:
        """The runtime's helper has died: the instance lives on and only `adopt` finds it."""
        self._lost[instance] = self._running.pop(instance)

    def reboot(self) -> None:
        """The device restarts: nothing runs, no exit is known, and there is a new boot id."""
        self._running.clear()
        self._lost.clear()
        self._exits.clear()
        self._restarts.clear()
        self._on_exit = None
        self._boots += 1

    def heal(self) -> None:
        """No further failures."""
        self._fail_at = 0

    def _before(self, name: str) -> None:
        self.calls += 1
        self.names[name] += 1
        if self.calls == self._fail_at and not self._lose_reply:
            raise Transient(f"cannot {name}: failed on purpose before its effect")

    def _after(self) -> None:
        if self.calls == self._fail_at and self._lose_reply:
            raise Transient("cannot read the reply: failed on purpose after the effect")

    def _make(self, launch: ProcessLaunch) -> ProcessIdentity:
        identity = self._new_identity()
        self._identities[launch.instance] = identity
        self._running[launch.instance] = RunningInstance(launch.instance, launch.workload, identity)
        self.launched.append(launch)
        script = self.scripts[launch.workload]
        if script:
            asyncio.get_running_loop().call_soon(self._end_as_scripted, launch, script.popleft())
        return identity

    def _new_identity(self) -> ProcessIdentity:
        self._last_pid += 1
        return ProcessIdentity(f"boot-{self._boots}", self._last_pid, self._last_pid * 10)

    def _end_as_scripted(self, launch: Launch, exit_: Exit) -> None:
        self.end(launch.instance, exit_.code, exit_.signal)

    def _end_by_signal(self, instance: str, number: int) -> None:
        self.end(instance, None, number)
