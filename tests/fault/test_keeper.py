"""The keeper and the agent's side of it under kills, garbage, lost messages, floods and a full disk."""

import asyncio
import fcntl
import itertools
import os
import random
import resource
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from skerry.keeper import protocol
from skerry.kit.errors import Transient
from skerry.node.ports import InstanceExit, Launch, StoredInstance
from skerry.node.workloads.runtimes.process import ProcessRuntime
from skerry.testing.process_device import ProcessDevice
from skerry.testing.waiting import eventually
from skerry.wire.workload import Exit

LISTENER = "trap 'echo heard' USR1; echo up; sleep 1000 & while :; do wait; done"
"""Prints «heard» on each SIGUSR1 and lives until it is killed."""


class Agent:
    """One agent process: its runtime and the exits that it was told."""

    def __init__(self, runtime: ProcessRuntime) -> None:
        self.runtime = runtime
        self.exits: dict[str, list[Exit]] = {}

    def __call__(self, ended: InstanceExit) -> None:
        self.exits.setdefault(ended.instance, []).append(ended.exit)

    async def exit_of(self, instance: str) -> Exit:
        await eventually(lambda: instance in self.exits, f"the exit of {instance} is told")
        return self.exits[instance][-1]


async def connected(device: ProcessDevice, **settings: object) -> Agent:
    agent = Agent(device.agent(**settings))
    await agent.runtime.connect(agent)
    return agent


@pytest.fixture
async def device(short_dir: Path) -> AsyncIterator[ProcessDevice]:
    device = ProcessDevice(short_dir)
    yield device
    await device.end()


@contextmanager
def no_keeper_can_start(device: ProcessDevice) -> Iterator[None]:
    """Holds the lock that every new keeper needs."""
    with device.socket.with_name("keeper.sock.lock").open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def texts(device: ProcessDevice, workload: str = "w") -> list[str]:
    return [line.split(" ", 3)[3] for line in device.log_text(workload).splitlines()]


# The keeper dies.


@pytest.mark.guarantee("G8")
async def test_twenty_workloads_survive_the_keeper_and_stay_supervised(
    device: ProcessDevice,
) -> None:
    agent = await connected(device)
    launches = [device.launch("sh", "-c", LISTENER, workload=f"w{n}") for n in range(20)]
    identities = await asyncio.gather(*(agent.runtime.start(launch) for launch in launches))
    for launch in launches:
        await eventually(lambda: "up" in device.log_text(launch.workload), "it listens")  # noqa: B023

    for number in range(2):
        old = device.keeper_pid()
        device.kill_keeper()
        await eventually(lambda: device.keeper_pids() not in ([], [old]), "a new keeper")  # noqa: B023
        assert all(device.lives(identity) for identity in identities)
        assert [await agent.runtime.start(launch) for launch in launches] == identities

        for launch in launches:
            await agent.runtime.signal(launch.instance, "SIGUSR1")
        for launch in launches:
            await eventually(
                lambda: texts(device, launch.workload).count("heard") == number + 1,  # noqa: B023
                "its output reaches the log",
            )
        launch, identity = launches.pop(), identities.pop()
        os.kill(identity.pid, signal.SIGKILL)
        assert str(await agent.exit_of(launch.instance)) == "unknown"
        await eventually(lambda: device.processes(launch.instance) == [], "its group has ended")  # noqa: B023
    assert len(agent.exits) == 2
    assert len(device.keeper_pids()) == 1


async def test_output_and_end_between_two_keepers_are_not_lost(device: ProcessDevice) -> None:
    agent = await connected(device)
    script = "trap 'echo last words; exit 4' USR1; echo up; sleep 1000 & while :; do wait; done"
    launch = device.launch("sh", "-c", script)
    identity = await agent.runtime.start(launch)
    await eventually(lambda: "up" in device.log_text(), "it listens")
    with no_keeper_can_start(device):
        device.kill_keeper()
        os.kill(identity.pid, signal.SIGSTOP)
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        os.kill(identity.pid, signal.SIGUSR1)
        os.kill(identity.pid, signal.SIGCONT)
        await eventually(lambda: not device.lives(identity), "it has ended")
    assert str(await agent.exit_of(launch.instance)) == "unknown"
    await eventually(lambda: bool(device.keeper_pids()), "a new keeper")
    assert len(agent.exits[launch.instance]) == 1
    assert device.processes(launch.instance) == []
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors


async def test_last_words_between_two_keepers_reach_the_log(device: ProcessDevice) -> None:
    agent = await connected(device)
    script = "trap 'echo last words; exit 4' USR1; echo up; sleep 1000 & while :; do wait; done"
    launch = device.launch("sh", "-c", script)
    identity = await agent.runtime.start(launch)
    await eventually(lambda: "up" in device.log_text(), "it listens")
    device.kill_keeper()
    os.kill(identity.pid, signal.SIGUSR1)
    told = await agent.exit_of(launch.instance)
    await eventually(lambda: "last words" in device.log_text(), "its last words are logged")
    assert str(told) in {"unknown", "code 4"}


async def test_without_any_keeper_the_agent_still_tells_ends(device: ProcessDevice) -> None:
    agent = await connected(device, patience=0.2)
    launches = [device.launch("sleep", "1000", workload=f"w{n}") for n in range(3)]
    identities = [await agent.runtime.start(launch) for launch in launches]
    with no_keeper_can_start(device):
        device.kill_keeper()
        os.kill(identities[0].pid, signal.SIGKILL)
        assert str(await agent.exit_of(launches[0].instance)) == "unknown"
        with pytest.raises(Transient, match="no keeper has answered"):
            await agent.runtime.start(device.launch("true"))
    assert await eventually_start(agent, launches[1]) == identities[1]
    os.kill(identities[2].pid, signal.SIGKILL)
    assert str(await agent.exit_of(launches[2].instance)) == "unknown"


async def eventually_start(agent: Agent, launch: Launch) -> object:
    while True:
        try:
            return await agent.runtime.start(launch)
        except Transient:
            continue


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize("delay_ms", [0, 0.3, 0.6, 0.9, 1.2, 1.5, 2, 3])
async def test_a_keeper_killed_between_spawn_and_reply_starts_nothing_twice(
    device: ProcessDevice, delay_ms: float
) -> None:
    loop = asyncio.get_running_loop()

    def kill_after_spawn(sock: socket.socket, body: bytes) -> None:
        protocol.transmit(sock, body)
        if body.startswith(b"op=spawn") and not killed:
            killed.append(device.keeper_pid())
            loop.call_later(delay_ms / 1000, os.kill, killed[0], signal.SIGKILL)

    killed: list[int] = []
    agent = await connected(device, transmit=kill_after_spawn)
    launch = device.launch("sleep", "1000")
    identity = await agent.runtime.start(launch)
    await eventually(lambda: device.keeper_pids() not in ([], killed), "a new keeper")
    assert await agent.runtime.start(launch) == identity
    assert device.processes(launch.instance) == [identity.pid]
    await agent.runtime.signal(launch.instance, "SIGTERM")
    await agent.exit_of(launch.instance)
    assert device.processes(launch.instance) == []


async def test_a_child_that_its_keeper_left_before_exec_never_becomes_a_workload(
    device: ProcessDevice,
) -> None:
    agent = await connected(device)
    launch = device.launch("sleep", "1000", variables={"PATH": "/a:" * 8_000 + "/bin"})
    start = asyncio.create_task(agent.runtime.start(launch))
    await eventually(lambda: len(device.keeper_pids()) == 2, "the child is forked")
    keeper, child = sorted(device.keeper_pids())
    os.kill(keeper, signal.SIGKILL)
    identity = await start
    assert identity.pid != child
    assert device.processes(launch.instance) == [identity.pid]


# The agent dies.


@pytest.mark.guarantee("G8")
async def test_nothing_that_is_printed_while_no_agent_is_there_is_lost(
    device: ProcessDevice,
) -> None:
    agent = await connected(device)
    script = "read line < go; for n in $(seq 5000); do echo line $n; done; exit 5"
    os.mkfifo(device.directory / "go")
    launch = device.launch("sh", "-c", script)
    await agent.runtime.start(launch)
    await agent.runtime.close()
    (device.directory / "go").write_text("now\n")
    await eventually(lambda: "line 5000\n" in device.log_text(), "all is printed")
    successor = await connected(device)
    assert (await successor.exit_of(launch.instance)).code == 5
    assert texts(device) == [f"line {n}" for n in range(1, 5001)]


async def test_both_die_and_the_next_agent_adopts_by_what_the_store_has(
    device: ProcessDevice,
) -> None:
    agent = await connected(device)
    launches = [device.launch("sh", "-c", LISTENER, workload=f"w{n}") for n in range(2)]
    identities = [await agent.runtime.start(launch) for launch in launches]
    for launch in launches:
        await eventually(lambda: "up" in device.log_text(launch.workload), "it listens")  # noqa: B023
    await agent.runtime.close()
    device.kill_keeper()
    await eventually(lambda: not device.keeper_pids(), "the keeper is gone")
    for identity in identities:
        os.kill(identity.pid, signal.SIGUSR1)

    successor = await connected(device)
    known = [StoredInstance(launches[0], identities[0]), StoredInstance(launches[1], None)]
    adopted = await successor.runtime.adopt(known)
    assert [running.identity for running in adopted] == identities
    for launch in launches:
        await eventually(lambda: "heard" in device.log_text(launch.workload), "output is read")  # noqa: B023


# Messages are lost, broken, or nonsense.


async def work(agent: Agent, device: ProcessDevice) -> None:
    """Uses every operation, and checks what it did."""
    await agent.runtime.connect(agent)
    launch, short = device.launch("sleep", "1000"), device.launch("false", workload="short")
    identity = await agent.runtime.start(launch)
    await agent.runtime.start(short)
    assert (await agent.exit_of(short.instance)).code == 1
    await agent.runtime.acknowledge(short.instance)
    adopted = await agent.runtime.adopt([StoredInstance(launch, identity)])
    assert [running.identity for running in adopted] == [identity]
    assert device.processes(launch.instance) == [identity.pid]
    await agent.runtime.signal(launch.instance, "SIGTERM")
    assert (await agent.exit_of(launch.instance)).signal == signal.SIGTERM
    await agent.runtime.acknowledge(launch.instance)
    await agent.runtime.shut_down()


@pytest.mark.parametrize("effect", ["request lost", "reply lost"])
async def test_every_message_fails_once(short_dir: Path, effect: str) -> None:
    for fail_at in itertools.count(1):
        device = ProcessDevice(short_dir / str(fail_at))
        device.directory.mkdir()
        sent = 0

        def fail(sock: socket.socket, body: bytes) -> None:
            nonlocal sent
            sent += 1
            if effect == "reply lost" or sent != fail_at:  # noqa: B023
                protocol.transmit(sock, body)
            if sent == fail_at:  # noqa: B023
                raise BrokenPipeError

        agent = Agent(device.agent(transmit=fail))
        try:
            await work(agent, device)
        except Transient:
            assert fail_at <= 2  # the first `connect` does not try again by itself: hello, list
            await work(agent, device)
        finally:
            await device.end()
        if sent < fail_at:
            assert fail_at > 8
            break


@pytest.mark.guarantee("G9")
async def test_garbage_on_the_socket_hurts_nobody(
    device: ProcessDevice, chance: random.Random
) -> None:
    agent = await connected(device)
    launch = device.launch("sleep", "1000")
    identity = await agent.runtime.start(launch)
    keeper = device.keeper_pid()
    packets = [chance.randbytes(chance.randrange(1, 3000)) for _ in range(100)]
    packets += [
        b"\0",
        b"op=quit\0id=1\0",
        b"op=spawn\0id=1\0instance=x\0",
        b"op=hello\0id=1\0version=\xff\0",
        b"op=hello\0id=1\0version=1\0",
        b"op=" + b"x" * protocol.INLINE + b"\0",
        b"body=memfd\0",
    ]
    for packet in packets:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.connect(str(device.socket))
            sock.send(packet)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(5)
        sock.connect(str(device.socket))
        sock.send(b"op=signal\0id=1\0number=9\0instance=" + launch.instance.encode() + b"\0")
        assert b"error=detached" in sock.recv(1000)
        sock.send(b"no message")
        assert b"error=malformed" in sock.recv(1000)
        assert sock.recv(1000) == b""
    assert await agent.runtime.start(launch) == identity
    assert device.keeper_pid() == keeper


async def test_requests_without_their_fields_are_answered(device: ProcessDevice) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        await (await connected(device)).runtime.close()
        sock.settimeout(5)
        sock.connect(str(device.socket))
        protocol.transmit(sock, protocol.encode([("op", "hello"), ("id", 0), ("version", 1)]))
        protocol.receive(sock)
        for operation in ("hello", "spawn", "adopt", "signal", "ack", "nonsense"):
            protocol.transmit(sock, protocol.encode([("op", operation), ("id", 7)]))
            reply = protocol.receive(sock)
            assert reply is not None
            if operation == "signal":
                continue
            assert (reply.get("id"), reply.get("error")) == ("7", "malformed"), operation


# Too much output, and no room for it.


async def flood(device: ProcessDevice, megabytes: int) -> None:
    """A workload prints without end while others come and go; then its log is small and its last line there."""
    agent = await connected(device)
    line = "x" * 99
    script = f"yes {line} | head -c {megabytes}000000; echo the end"
    loud = device.launch("sh", "-c", script, workload="loud")
    await agent.runtime.start(loud)
    ends = 0
    while loud.instance not in agent.exits:
        quiet = device.launch("sh", "-c", "echo quiet; exit 3", workload=f"quiet{ends}")
        await agent.runtime.start(quiet)
        assert (await agent.exit_of(quiet.instance)).code == 3
        assert texts(device, quiet.workload) == ["quiet"]
        ends += 1
    assert ends > 3
    assert agent.exits[loud.instance][0].code == 0
    assert texts(device, "loud")[-1] == "the end"
    assert set(texts(device, "loud")) == {line, "the end"}
    logs = list((device.directory / "logs" / "loud").glob("current.log*"))
    sizes = [log.stat().st_size for log in logs if log.is_file()]
    assert len(sizes) == 3
    assert max(sizes) <= 1_000_000


@pytest.mark.guarantee("G4")
async def test_a_flood_of_output_is_bounded_and_starves_nobody(device: ProcessDevice) -> None:
    await flood(device, 20)


@pytest.mark.soak
@pytest.mark.timeout(120)
async def test_200_mb_of_output_are_bounded_and_starve_nobody(device: ProcessDevice) -> None:
    agent = await connected(device)
    await agent.runtime.close()
    before = memory(device.keeper_pid())
    await flood(device, 200)
    assert memory(device.keeper_pid()) < before + 4_000_000


def memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


async def test_a_full_disk_drops_lines_counts_them_and_blocks_nobody(device: ProcessDevice) -> None:
    agent = await connected(device)
    keeper = device.keeper_pid()
    _, hard = resource.prlimit(keeper, resource.RLIMIT_FSIZE)
    # The kernel refuses to grow files beyond 20,000 bytes: short writes and errors as on a full disk.
    resource.prlimit(keeper, resource.RLIMIT_FSIZE, (20_000, hard))
    script = "seq 10000; echo done; read line < go; echo more; sleep 1000"
    os.mkfifo(device.directory / "go")
    launch = device.launch("sh", "-c", script)
    await agent.runtime.start(launch)
    (device.directory / "go").write_text(
        "now\n"
    )  # returns when the workload reads: it was not blocked
    await eventually(lambda: bool(device.log_text()), "something is logged")
    before = len(texts(device))
    resource.prlimit(keeper, resource.RLIMIT_FSIZE, (hard, hard))
    await eventually(lambda: "lines dropped here" in device.log_text(), "the gap is reported")
    lines = texts(device)
    ((place, notice),) = [(n, text) for n, text in enumerate(lines) if "dropped" in text]
    dropped = int(notice.split()[1])
    assert place >= before
    assert lines[:place] == [str(n) for n in range(1, place + 1)]
    assert dropped + place + len(lines[place + 1 :]) == 10_002
    assert "File too large" in notice
