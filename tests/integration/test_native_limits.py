"""Limits of native processes by control groups of this machine: memory, processors, processes, open files."""

import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.keeper import groups
from skerry.node.ports import RunningInstance, StoredInstance
from skerry.node.workloads.runtimes.identity import command_line
from skerry.node.workloads.runtimes.isolation import Isolation
from skerry.node.workloads.runtimes.process import ProcessRuntime
from skerry.testing.exits import Exits
from skerry.testing.fake_cgroup2 import FakeCgroup2
from skerry.testing.process_device import USERS, ProcessDevice
from skerry.testing.waiting import eventually
from skerry.wire.workload import Exit, Resources

BOMB = "x = []\nwhile True: x.append(bytearray(1 << 20))"
SMALL = Resources(memory=32 << 20)


@pytest.fixture
async def device(short_dir: Path) -> AsyncIterator[ProcessDevice]:
    device = ProcessDevice(short_dir)
    if device.isolation.means.groups.available() != {"cpu", "memory", "pids"}:
        pytest.skip("no control groups on this machine")
    yield device
    await device.end()


@pytest.fixture
def exits() -> Exits:
    return Exits()


@pytest.fixture
async def runtime(device: ProcessDevice, exits: Exits) -> ProcessRuntime:
    runtime = device.agent()
    await runtime.connect(exits)
    return runtime


def left(device: ProcessDevice) -> list[Path]:
    """Groups of workloads that are still there."""
    return [*Path("/sys/fs/cgroup").glob(f"*/skerry/{device.owner}/*/")]


def paths(device: ProcessDevice, workload: str = "w") -> list[str]:
    return [str(path) for path in left(device) if path.name.startswith(f"{workload}~")]


async def test_out_of_memory_is_told_as_such(
    runtime: ProcessRuntime, device: ProcessDevice, exits: Exits
) -> None:
    launch = device.launch(sys.executable, "-c", BOMB, resources=SMALL)
    await runtime.start(launch)
    assert runtime.isolation(launch.instance) == "standard: cgroup v1 (memory)"
    told = await exits.of(launch.instance)
    assert str(told) == "signal 9 (out of memory)"
    again = device.launch(sys.executable, "-c", "raise SystemExit(3)", resources=SMALL)
    await runtime.start(again)
    assert str(await exits.of(again.instance)) == "code 3"


async def test_memory_is_that_of_all_processes_and_their_files_in_memory(
    runtime: ProcessRuntime, device: ProcessDevice, exits: Exits
) -> None:
    """None of the ten has more than 8 MB; and what the first shell ends with tells of its child's end."""
    ten = "import time; x = bytearray(8 << 20); time.sleep(60)"
    script = (
        f"for i in 1 2 3 4 5 6 7 8 9 10; do {sys.executable} -c '{ten}' & done; wait -n; exit 4"
    )
    launch = device.launch("bash", "-c", script, resources=Resources(memory=48 << 20))
    await runtime.start(launch)
    assert str(await exits.of(launch.instance)) == "code 4 (out of memory)"
    files = f"head -c 64M /dev/zero > {device.directory}/big && exit 7"
    cached = device.launch("sh", "-c", files, resources=SMALL)
    await runtime.start(cached)
    # The kernel gives file pages back before it kills for them.
    assert str(await exits.of(cached.instance)) == "code 7"


async def test_half_a_processor_is_half_a_processor(
    runtime: ProcessRuntime, device: ProcessDevice, exits: Exits
) -> None:
    loop = "import time\nwhile time.process_time() < 1.5: pass"
    launch = device.launch(sys.executable, "-c", loop, resources=Resources(cpu=0.5))
    began = time.monotonic()
    await runtime.start(launch)
    assert (await exits.of(launch.instance)).code == 0
    # A busy machine can only make the share smaller; the exact one is looked at by hand and by `make bench`.
    assert 1.5 / (time.monotonic() - began) <= 0.55


async def test_a_fork_bomb_stays_small(
    runtime: ProcessRuntime, device: ProcessDevice, exits: Exits
) -> None:
    bomb = (
        "import os, time\nn = 0\ntry:\n    while True:\n        if os.fork() == 0: time.sleep(60)\n        n += 1\n"
        "except OSError as error: print(n, error.strerror, flush=True); time.sleep(60)"
    )
    launch = device.launch(sys.executable, "-c", bomb, resources=Resources(pids=20))
    await runtime.start(launch)
    await eventually(lambda: "unavailable" in device.log_text(), "the bomb met its limit")
    assert device.printed() == ["19 Resource temporarily unavailable"]
    await runtime.signal(launch.instance, "SIGKILL")
    assert (await exits.of(launch.instance)).signal == signal.SIGKILL
    await eventually(lambda: left(device) == [], "no control group is left behind")


async def test_who_hides_from_the_mark_is_found_in_the_group(
    runtime: ProcessRuntime, device: ProcessDevice, exits: Exits
) -> None:
    """A daemon in a session of its own, without environment, with its limit for file locks lowered."""
    escape = (
        "import os, resource, signal\n"
        "if os.fork() == 0:\n    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        resource.setrlimit(10, (7, 7))\n"
        "        os.execve('/bin/sleep', ['sleep', '61'], {})\n"
        "    os._exit(0)\n"
        "signal.pause()"
    )
    launch = device.launch(sys.executable, "-c", escape, resources=Resources(pids=50))
    identity = await runtime.start(launch)

    def daemons() -> list[int]:
        inside = groups.members(paths(device))
        return [pid for pid in inside if command_line(pid)[:2] == [b"sleep", b"61"]]

    await eventually(lambda: len(daemons()) == 1, "the daemon runs")
    (daemon,) = daemons()
    assert resource.prlimit(daemon, 10) == (7, 7)
    os.kill(identity.pid, signal.SIGKILL)
    await exits.of(launch.instance)
    assert daemons() == []
    await eventually(lambda: left(device) == [], "and its group is gone")


async def test_groups_are_known_after_agent_and_keeper_have_died(
    runtime: ProcessRuntime, device: ProcessDevice, exits: Exits
) -> None:
    launch = device.launch("sleep", "1000", resources=Resources(memory=64 << 20, pids=10))
    identity = await runtime.start(launch)
    words = runtime.isolation(launch.instance)
    await runtime.close()
    second = device.agent()
    running = await second.connect(exits)
    assert [one.isolation for one in running] == [words]
    await second.close()
    device.kill_keeper()
    await eventually(lambda: not device.keeper_pids(), "the keeper has ended")
    third = device.agent()
    assert await third.connect(exits) == []
    assert len(paths(device)) == 2
    adopted = await third.adopt([StoredInstance(launch, identity)])
    assert adopted == [RunningInstance(launch.instance, "w", identity)]
    os.kill(identity.pid, signal.SIGKILL)
    await exits.of(launch.instance)
    await eventually(lambda: left(device) == [], "its groups are gone with it")


async def test_groups_that_nobody_could_remove_are_removed_at_the_next_start(
    runtime: ProcessRuntime, device: ProcessDevice
) -> None:
    launch = device.launch("sleep", "1000", resources=Resources(pids=10))
    identity = await runtime.start(launch)
    await runtime.close()
    device.kill_keeper()
    await eventually(lambda: not device.keeper_pids(), "the keeper has ended")
    os.kill(identity.pid, signal.SIGKILL)
    await eventually(lambda: not device.lives(identity), "the instance has ended")
    assert left(device) != []
    third = device.agent()
    await third.connect(Exits())
    await eventually(lambda: left(device) == [], "what was left is gone")


async def test_without_groups_the_status_says_so_and_rlimits_hold(
    device: ProcessDevice, exits: Exits, tmp_path: Path
) -> None:
    bare = FakeCgroup2(tmp_path / "cgroup", controllers=())
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(bare.mountinfo)
    device.isolation = Isolation(
        device.owner, device.directory, USERS, files=bare, mountinfo=mountinfo
    )
    runtime = device.agent()
    await runtime.connect(exits)
    limits = Resources(memory=64 << 20, cpu=0.5, pids=9)
    launch = device.launch(sys.executable, "-c", BOMB, resources=limits)
    await runtime.start(launch)
    words = "standard: memory of each process by rlimit, no limit of cpu, no limit of pids"
    assert runtime.isolation(launch.instance) == words
    assert await exits.of(launch.instance) == Exit(code=1, at=(await exits.of(launch.instance)).at)
    assert "MemoryError" in device.log_text()


async def test_open_files_are_limited(
    runtime: ProcessRuntime, device: ProcessDevice, exits: Exits
) -> None:
    many = "x = []\nwhile True: x.append(open('/dev/null'))"
    launch = device.launch(
        sys.executable, "-c", many, limits={"RLIMIT_NOFILE": 32}, resources=Resources(pids=9)
    )
    await runtime.start(launch)
    assert (await exits.of(launch.instance)).code == 1
    assert "Too many open files" in device.log_text()
