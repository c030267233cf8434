"""One suite for every implementation of `node.ports.Runtime`: in memory, processes, modules, engines."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest
from msgspec.structs import replace
from tests import engines

from skerry.keeper.log_rules import LogRules
from skerry.kit.errors import Refused
from skerry.node.ports import (
    Launch,
    ProcessIdentity,
    ProcessLaunch,
    RunningInstance,
    Runtime,
    StoredInstance,
)
from skerry.testing.container_device import ContainerDevice
from skerry.testing.exits import Exits
from skerry.testing.fake_runtime import FakeRuntime
from skerry.testing.process_device import ProcessDevice
from skerry.testing.waiting import eventually
from skerry.testing.wasm_device import WasmDevice
from skerry.wire.workload import Exit


class Device(Protocol):
    """What the suite does to a device, in its own words."""

    def agent(self) -> Runtime: ...

    def waits(self, workload: str = "w") -> Launch: ...

    async def settled(self, launch: Launch) -> None:
        """Returns when an instance of `waits` that was started ends on signals."""

    def ends(self, exit_: Exit, workload: str = "w") -> Launch: ...

    def missing(self) -> Launch: ...

    def lives(self, identity: ProcessIdentity) -> bool: ...

    def kill(self, running: RunningInstance) -> None: ...

    async def lose_helper(self) -> None: ...


class FakeDevice:
    def __init__(self) -> None:
        self.runtime = FakeRuntime()
        self.count = 0

    def agent(self) -> Runtime:
        return self.runtime

    def waits(self, workload: str = "w") -> ProcessLaunch:
        self.count += 1
        name = f"{workload}-{self.count}"
        return ProcessLaunch(
            instance=name,
            workload=workload,
            environment={},
            strict=False,
            log=Path("/log"),
            log_rules=LogRules(1000, 2),
            command=("run",),
            directory=Path("/"),
            limits={},
        )

    async def settled(self, launch: Launch) -> None:
        pass

    def ends(self, exit_: Exit, workload: str = "w") -> Launch:
        self.runtime.scripts[workload].append(exit_)
        return self.waits(workload)

    def missing(self) -> Launch:
        self.runtime.missing.add("no-such-command")
        return replace(self.waits(), command=("no-such-command",))

    def lives(self, identity: ProcessIdentity) -> bool:
        return identity in [running.identity for running in self.runtime.running.values()]

    def kill(self, running: RunningInstance) -> None:
        self.runtime.end(running.instance, None, signal.SIGKILL)

    async def lose_helper(self) -> None:
        for instance in tuple(self.runtime.running):
            self.runtime.forget(instance)


class RealDevice(ProcessDevice):
    def waits(self, workload: str = "w") -> Launch:
        return self.launch("sleep", "1000", workload=workload)

    async def settled(self, launch: Launch) -> None:
        pass

    def ends(self, exit_: Exit, workload: str = "w") -> Launch:
        end = f"exit {exit_.code}" if exit_.signal is None else f"kill -{exit_.signal} $$"
        return self.launch("sh", "-c", end, workload=workload)

    def missing(self) -> Launch:
        return self.launch("no-such-command")

    def kill(self, running: RunningInstance) -> None:
        os.kill(running.identity.pid, signal.SIGKILL)

    async def lose_helper(self) -> None:
        self.kill_keeper()
        await eventually(lambda: not self.keeper_pids(), "the keeper has ended")


class ModuleDevice(WasmDevice):
    def agent(self) -> Runtime:  # type: ignore[override]
        return self.router(super().agent())

    async def settled(self, launch: Launch) -> None:
        pass

    def kill(self, running: RunningInstance) -> None:
        os.kill(running.identity.pid, signal.SIGKILL)

    async def lose_helper(self) -> None:
        self.kill_keeper()
        await eventually(lambda: not self.keeper_pids(), "the keeper has ended")


@pytest.fixture(params=["fake", "process", "wasm", *engines.NAMES])
async def device(request: pytest.FixtureRequest, short_dir: Path) -> AsyncIterator[Device]:
    if request.param == "fake":
        yield FakeDevice()
        return
    if request.param in {"process", "wasm"}:
        real = RealDevice(short_dir) if request.param == "process" else ModuleDevice(short_dir)
        yield real
        await real.end()
        return
    engine = request.getfixturevalue(f"{request.param}_engine")
    containers = ContainerDevice(short_dir, engine.socket, engines.IMAGE)
    yield containers
    await containers.end()


WITH_HELPER = pytest.mark.parametrize("device", ["fake", "process", "wasm"], indirect=True)
"""An engine keeps what it knows: there is no helper that could forget."""


@pytest.fixture
def exits() -> Exits:
    return Exits()


def stored(launch: Launch, identity: ProcessIdentity | None) -> StoredInstance:
    return StoredInstance(launch, identity)


@pytest.mark.guarantee("G8")
def alike(running: list[RunningInstance]) -> list[RunningInstance]:
    """Without the words for what keeps them apart, which each runtime has of its own."""
    return [replace(one, isolation="") for one in running]


async def test_a_started_instance_lives_and_the_next_agent_finds_it(
    device: Device, exits: Exits
) -> None:
    runtime = device.agent()
    assert await runtime.connect(exits) == []
    launch = device.waits()
    identity = await runtime.start(launch)
    assert device.lives(identity)
    await runtime.close()
    assert device.lives(identity)
    running = await device.agent().connect(exits)
    assert alike(running) == [RunningInstance(launch.instance, "w", identity)]


async def test_a_repeated_start_starts_nothing(device: Device, exits: Exits) -> None:
    runtime = device.agent()
    await runtime.connect(exits)
    launch = device.waits()
    identities = {await runtime.start(launch) for _ in range(3)}
    assert len(identities) == 1
    await runtime.close()
    assert len(await device.agent().connect(exits)) == 1


async def test_many_starts_at_once(device: Device, exits: Exits) -> None:
    runtime = device.agent()
    await runtime.connect(exits)
    launches = [device.waits(f"w{number}") for number in range(10)]
    identities = await asyncio.gather(*(runtime.start(launch) for launch in launches))
    assert len({identity.pid for identity in identities}) == 10
    assert all(device.lives(identity) for identity in identities)


async def test_a_missing_command_is_refused_by_name(device: Device, exits: Exits) -> None:
    runtime = device.agent()
    await runtime.connect(exits)
    with pytest.raises(Refused, match="«w».*no-such-command"):
        await runtime.start(device.missing())
    assert exits.told == {}
    await runtime.close()
    assert await device.agent().connect(exits) == []


@pytest.mark.parametrize(
    "exit_", [Exit(code=0), Exit(code=7), Exit(signal=9), Exit(signal=15)], ids=str
)
async def test_an_exit_is_told_once_with_code_or_signal(
    device: Device, exits: Exits, exit_: Exit
) -> None:
    runtime = device.agent()
    await runtime.connect(exits)
    launch = device.ends(exit_)
    await runtime.start(launch)
    told = await exits.of(launch.instance)
    assert (told.code, told.signal) == (exit_.code, exit_.signal)
    assert told.at > 1_700_000_000_000_000_000
    await runtime.acknowledge(launch.instance)
    assert len(exits.told[launch.instance]) == 1


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGUSR1"])
async def test_a_signal_ends_the_instance(device: Device, exits: Exits, name: str) -> None:
    runtime = device.agent()
    await runtime.connect(exits)
    launch = device.waits()
    identity = await runtime.start(launch)
    await device.settled(launch)
    await runtime.signal(launch.instance, name)
    assert (await exits.of(launch.instance)).signal == signal.Signals[name]
    assert not device.lives(identity)


async def test_unknown_instances_are_harmless(device: Device, exits: Exits) -> None:
    runtime = device.agent()
    await runtime.connect(exits)
    await runtime.signal("nobody", "SIGTERM")
    await runtime.acknowledge("nobody")
    assert exits.told == {}


@pytest.mark.guarantee("G8")
async def test_an_exit_while_no_agent_is_there_is_told_before_connect_returns(
    device: Device, exits: Exits
) -> None:
    first = device.agent()
    await first.connect(exits)
    launch, other = device.waits("w1"), device.waits("w2")
    identity = await first.start(launch)
    other_identity = await first.start(other)
    await first.close()
    device.kill(RunningInstance(launch.instance, "w1", identity))
    await eventually(lambda: not device.lives(identity), "the instance has ended")

    for _ in range(2):  # an exit that is not acknowledged is told to every agent
        ear, runtime = Exits(), device.agent()
        running = await runtime.connect(ear)
        assert alike(running) == [RunningInstance(other.instance, "w2", other_identity)]
        assert [exit_.signal for exit_ in ear.told[launch.instance]] == [9]
        await runtime.close()

    runtime = device.agent()
    await runtime.connect(Exits())
    await runtime.acknowledge(launch.instance)
    await runtime.close()
    ear = Exits()
    await device.agent().connect(ear)
    assert ear.told == {}


async def test_start_of_an_instance_whose_exit_waits_starts_nothing(
    device: Device, exits: Exits
) -> None:
    runtime = device.agent()
    await runtime.connect(exits)
    launch = device.ends(Exit(code=3))
    identity = await runtime.start(launch)
    await exits.of(launch.instance)
    assert await runtime.start(launch) == identity
    assert not device.lives(identity)
    await runtime.close()
    assert await device.agent().connect(exits) == []


@WITH_HELPER
@pytest.mark.parametrize("identity_known", [True, False], ids=["by identity", "by name"])
@pytest.mark.guarantee("G8")
async def test_adopt_finds_what_the_helper_forgot(
    device: Device, exits: Exits, *, identity_known: bool
) -> None:
    first = device.agent()
    await first.connect(exits)
    launch = device.waits()
    identity = await first.start(launch)
    await first.close()
    await device.lose_helper()

    runtime = device.agent()
    assert await runtime.connect(exits) == []
    known = stored(launch, identity if identity_known else None)
    adopted = RunningInstance(launch.instance, "w", identity)
    assert await runtime.adopt([known]) == [adopted]
    assert await runtime.adopt([known]) == [adopted]
    assert await runtime.start(launch) == identity
    device.kill(adopted)
    told = await exits.of(launch.instance)
    assert (told.code, told.signal) == (None, None)


@WITH_HELPER
async def test_adopt_leaves_out_what_has_ended(device: Device, exits: Exits) -> None:
    first = device.agent()
    await first.connect(exits)
    launch, never = device.waits(), device.waits("never")
    identity = await first.start(launch)
    await first.close()
    await device.lose_helper()
    device.kill(RunningInstance(launch.instance, "w", identity))
    await eventually(lambda: not device.lives(identity), "the instance has ended")

    runtime = device.agent()
    await runtime.connect(exits)
    assert await runtime.adopt([stored(launch, identity), stored(never, None)]) == []
    assert exits.told == {}


async def test_shut_down_is_refused_while_there_is_something_to_lose(
    device: Device, exits: Exits
) -> None:
    runtime = device.agent()
    await runtime.connect(exits)
    launch = device.waits()
    await runtime.start(launch)
    with pytest.raises(Refused):
        await runtime.shut_down()
    await device.settled(launch)
    await runtime.signal(launch.instance, "SIGTERM")
    await exits.of(launch.instance)
    with pytest.raises(Refused):
        await runtime.shut_down()
    await runtime.acknowledge(launch.instance)
    await runtime.shut_down()
    if isinstance(device, ProcessDevice):
        assert device.keeper_pids() == []
        assert not device.socket.exists()
