"""The keeper and the agent's side of it under kills, garbage, lost messages, floods and a full disk."""

import asyncio
import contextlib
import fcntl
import itertools
import os
import random
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from skerry.keeper import protocol
from skerry.keeper.procfs import read_stat
from skerry.kit.errors import Transient
from skerry.node.ports import Launch, StoredInstance
from skerry.node.workloads.runtimes.keeper_client import Transmit
from skerry.node.workloads.runtimes.process import ProcessRuntime
from skerry.testing.exits import Exits
from skerry.testing.process_device import ProcessDevice
from skerry.testing.waiting import eventually

LISTENER = "trap 'echo heard' USR1; echo up; sleep 1000 & while :; do wait; done"
"""Prints «heard» on each SIGUSR1 and lives until it is killed."""
HELLO = protocol.encode([("op", "hello"), ("id", 0), ("version", protocol.VERSION)])


async def connected(
    device: ProcessDevice, *, transmit: Transmit = protocol.transmit, patience: float = 10.0
) -> tuple[ProcessRuntime, Exits]:
    """An agent that is connected, and what it hears."""
    runtime, exits = device.agent(transmit=transmit, patience=patience), Exits()
    await runtime.connect(exits)
    return runtime, exits


@pytest.fixture
async def device(short_dir: Path) -> AsyncIterator[ProcessDevice]:
    device = ProcessDevice(short_dir)
    yield device
    await device.end()


@contextlib.contextmanager
def no_keeper(device: ProcessDevice) -> Iterator[None]:
    """Kills the keeper and holds the lock that its successor needs."""
    with device.socket.with_name("keeper.sock.lock").open("r+") as file:
        device.kill_keeper()
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# The keeper dies.


@pytest.mark.guarantee("G8")
async def test_twenty_workloads_survive_the_keeper_and_stay_supervised(
    device: ProcessDevice,
) -> None:
    runtime, exits = await connected(device)
    launches = [device.launch("sh", "-c", LISTENER, workload=f"w{n}") for n in range(20)]
    identities = await asyncio.gather(*(runtime.start(launch) for launch in launches))
    for launch in launches:
        await eventually(lambda: "up" in device.log_text(launch.workload), "it listens")  # noqa: B023

    for number in range(2):
        old = device.keeper_pid()
        device.kill_keeper()
        await eventually(lambda: device.keeper_pids() not in ([], [old]), "a new keeper")  # noqa: B023
        assert all(device.lives(identity) for identity in identities)
        assert [await runtime.start(launch) for launch in launches] == identities

        for launch in launches:
            await runtime.signal(launch.instance, "SIGUSR1")
        for launch in launches:
            await eventually(
                lambda: device.printed(launch.workload).count("heard") == number + 1,  # noqa: B023
                "its output reaches the log",
            )
        launch, _ = launches.pop(), identities.pop()
        await runtime.signal(launch.instance, "SIGKILL")
        assert str(await exits.of(launch.instance)) == "unknown"
        await eventually(lambda: device.processes(launch.instance) == [], "its group has ended")  # noqa: B023
    assert len(exits.told) == 2
    assert len(device.keeper_pids()) == 1


async def test_last_words_between_two_keepers_reach_the_log(device: ProcessDevice) -> None:
    runtime, exits = await connected(device)
    script = "trap 'echo last words; exit 4' USR1; echo up; sleep 1000 & while :; do wait; done"
    launch = device.launch("sh", "-c", script)
    identity = await runtime.start(launch)
    await eventually(lambda: "up" in device.log_text(), "it listens")
    descriptors = open_descriptors()
    with no_keeper(device):
        await eventually(lambda: open_descriptors() > descriptors, "the agent looks after it")
        os.kill(identity.pid, signal.SIGUSR1)
        assert str(await exits.of(launch.instance)) == "unknown"
        assert "last words" not in device.log_text()
    await eventually(lambda: "last words" in device.log_text(), "its last words are logged")
    assert len(exits.told[launch.instance]) == 1
    assert device.processes(launch.instance) == []


async def test_without_any_keeper_the_agent_still_tells_ends(device: ProcessDevice) -> None:
    runtime, exits = await connected(device, patience=0.2)
    launches = [device.launch("sleep", "1000", workload=f"w{n}") for n in range(3)]
    identities = [await runtime.start(launch) for launch in launches]
    descriptors = open_descriptors()
    with no_keeper(device):
        os.kill(identities[0].pid, signal.SIGKILL)
        assert str(await exits.of(launches[0].instance)) == "unknown"
        with pytest.raises(Transient, match="no keeper has answered"):
            await runtime.start(device.launch("true"))
    assert await eventually_start(runtime, launches[1]) == identities[1]
    assert open_descriptors() == descriptors
    os.kill(identities[2].pid, signal.SIGKILL)
    assert str(await exits.of(launches[2].instance)) == "unknown"


async def eventually_start(runtime: ProcessRuntime, launch: Launch) -> object:
    while True:
        try:
            return await runtime.start(launch)
        except Transient:
            continue


@pytest.mark.parametrize("delay_ms", [0, 0.3, 0.6, 0.9, 1.2, 1.5, 2, 3])
async def test_a_keeper_killed_between_spawn_and_reply_starts_nothing_twice(
    device: ProcessDevice, delay_ms: float
) -> None:
    loop = asyncio.get_running_loop()

    def kill_after_spawn(sock: socket.socket, body: bytes) -> None:
        protocol.transmit(sock, body)
        if body.startswith(b"op=spawn") and not kills:
            kills.append(loop.call_later(delay_ms / 1000, os.kill, keeper, signal.SIGKILL))

    kills: list[asyncio.TimerHandle] = []
    runtime, exits = await connected(device, transmit=kill_after_spawn)
    keeper = device.keeper_pid()
    launch = device.launch("sleep", "1000")
    identity = await runtime.start(launch)
    await eventually(lambda: device.keeper_pids() not in ([], [keeper]), "a new keeper")
    assert await runtime.start(launch) == identity
    assert device.processes(launch.instance) == [identity.pid]
    await runtime.signal(launch.instance, "SIGTERM")
    await exits.of(launch.instance)
    assert device.processes(launch.instance) == []


@pytest.mark.parametrize("leader_first", [True, False])
@pytest.mark.parametrize("agent_too", [True, False])
async def test_daemons_of_a_dead_keeper_end_with_their_instance(
    device: ProcessDevice, leader_first: bool, agent_too: bool
) -> None:
    """They are nobody's children any more; with `leader_first` even the first process ends unseen by a keeper."""
    runtime, exits = await connected(device)
    daemon = "(env -i setsid sh -c 'echo $$ > pid; touch up; exec sleep 1000' &)"
    launch = device.launch("sh", "-c", f"{daemon}; exec sleep 1000")
    identity = await runtime.start(launch)
    await eventually((device.directory / "up").exists, "the daemon runs")
    if agent_too:
        await runtime.close()
    with no_keeper(device) if leader_first else contextlib.nullcontext():
        if leader_first:
            os.kill(identity.pid, signal.SIGKILL)
            await eventually(lambda: not device.lives(identity), "the leader has ended")
        else:
            device.kill_keeper()
    if agent_too:
        runtime, exits = await connected(device)
        await runtime.adopt([StoredInstance(launch, identity)])
    if not leader_first:
        await eventually(lambda: device.keeper_pids() != [], "a new keeper")
        os.kill(identity.pid, signal.SIGKILL)
    assert str(await exits.of(launch.instance)) == "unknown"
    stat = read_stat(int((device.directory / "pid").read_text()))
    assert stat is None or not stat.lives


def watches_descriptors(pid: int) -> bool:
    try:
        found = [each.readlink() for each in Path(f"/proc/{pid}/fd").iterdir()]
    except FileNotFoundError:  # it changes while it is read, or has ended
        return True
    return Path("anon_inode:[eventpoll]") in found


@pytest.mark.parametrize("sockets", ["", "ports"])
async def test_a_child_that_its_keeper_left_before_exec_never_becomes_a_workload(
    device: ProcessDevice, sockets: str
) -> None:
    runtime, _ = await connected(device)
    with socket.create_server(("127.0.0.1", 0)) as server:
        await runtime.sockets.hold("ports", [os.dup(server.fileno())])
    launch = replace(
        device.launch("sleep", "1000", variables={"PATH": "/a:" * 30_000 + "/bin"}), sockets=sockets
    )
    start = asyncio.create_task(runtime.start(launch))
    keeper = device.keeper_pid()
    children: list[int] = []

    def forked() -> bool:
        """And past its first step, which closes what the keeper watches."""
        others = [pid for pid in device.keeper_pids() if pid != keeper]
        children[:] = [pid for pid in others if not watches_descriptors(pid)]
        return bool(children)

    await eventually(forked, "the child looks for its program")
    [child] = children
    os.kill(child, signal.SIGSTOP)
    os.kill(keeper, signal.SIGKILL)
    identity = await start
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGCONT)
    await eventually(lambda: child not in device.keeper_pids(), "the child has ended")
    assert identity.pid != child
    assert device.processes(launch.instance) == [identity.pid]


# The agent dies.


@pytest.mark.guarantee("G8")
async def test_nothing_that_is_printed_while_no_agent_is_there_is_lost(
    device: ProcessDevice,
) -> None:
    runtime, _ = await connected(device)
    script = "read line < go; for n in $(seq 5000); do echo line $n; done; exit 5"
    os.mkfifo(device.directory / "go")
    launch = device.launch("sh", "-c", script)
    await runtime.start(launch)
    await runtime.close()
    (device.directory / "go").write_text("now\n")
    await eventually(lambda: "line 5000\n" in device.log_text(), "all is printed")
    _, heard = await connected(device)
    assert (await heard.of(launch.instance)).code == 5
    assert device.printed() == [f"line {n}" for n in range(1, 5001)]


async def test_both_die_and_the_next_agent_adopts_by_what_the_store_has(
    device: ProcessDevice,
) -> None:
    runtime, _ = await connected(device)
    launches = [device.launch("sh", "-c", LISTENER, workload=f"w{n}") for n in range(2)]
    identities = [await runtime.start(launch) for launch in launches]
    for launch in launches:
        await eventually(lambda: "up" in device.log_text(launch.workload), "it listens")  # noqa: B023
    await runtime.close()
    device.kill_keeper()
    await eventually(lambda: not device.keeper_pids(), "the keeper is gone")
    for identity in identities:
        os.kill(identity.pid, signal.SIGUSR1)

    successor, _ = await connected(device)
    known = [StoredInstance(launches[0], identities[0]), StoredInstance(launches[1], None)]
    adopted = await successor.adopt(known)
    assert [running.identity for running in adopted] == identities
    for launch in launches:
        await eventually(lambda: "heard" in device.log_text(launch.workload), "output is read")  # noqa: B023


async def test_an_agent_that_died_unnoticed_does_not_lock_its_successor_out(
    device: ProcessDevice,
) -> None:
    runtime, _ = await connected(device)
    keeper = device.keeper_pid()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as successor:
        successor.settimeout(30)
        successor.connect(str(device.socket))
        protocol.transmit(successor, HELLO)
        assert b"error=busy" in successor.recv(1000)
        # Stopped, the keeper finds the successor's greeting before the end of the dead agent.
        os.kill(keeper, signal.SIGSTOP)
        protocol.transmit(successor, HELLO)
        await runtime.close()
        os.kill(keeper, signal.SIGCONT)
        assert b"error=" not in successor.recv(1000)


# Messages are lost, broken, or nonsense.


async def work(runtime: ProcessRuntime, device: ProcessDevice) -> None:
    """Uses every operation, and checks what it did."""
    exits = Exits()
    await runtime.connect(exits)
    launch, short = device.launch("sleep", "1000"), device.launch("false", workload="short")
    identity = await runtime.start(launch)
    await runtime.start(short)
    assert (await exits.of(short.instance)).code == 1
    await runtime.acknowledge(short.instance)
    adopted = await runtime.adopt([StoredInstance(launch, identity)])
    assert [running.identity for running in adopted] == [identity]
    assert device.processes(launch.instance) == [identity.pid]
    await runtime.signal(launch.instance, "SIGTERM")
    assert (await exits.of(launch.instance)).signal == signal.SIGTERM
    await runtime.acknowledge(launch.instance)
    await runtime.shut_down()


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

        try:
            await work(device.agent(transmit=fail), device)
        finally:
            await device.end()
        if sent < fail_at:
            assert fail_at > 8
            break


@pytest.mark.guarantee("G9")
async def test_garbage_on_the_socket_hurts_nobody(
    device: ProcessDevice, chance: random.Random
) -> None:
    runtime, _ = await connected(device)
    launch = device.launch("sleep", "1000")
    identity = await runtime.start(launch)
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
        sock.settimeout(30)
        sock.connect(str(device.socket))
        sock.send(b"op=signal\0id=1\0number=9\0instance=" + launch.instance.encode() + b"\0")
        assert b"error=detached" in sock.recv(1000)
        sock.send(b"no message")
        assert b"error=malformed" in sock.recv(1000)
        assert sock.recv(1000) == b""
    assert await runtime.start(launch) == identity
    assert device.keeper_pid() == keeper


async def test_requests_without_their_fields_are_answered(device: ProcessDevice) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        runtime, _ = await connected(device)
        await runtime.close()
        sock.settimeout(30)
        sock.connect(str(device.socket))
        protocol.transmit(sock, HELLO)
        protocol.receive(sock)
        for operation in ("hello", "spawn", "adopt", "signal", "ack", "nonsense"):
            protocol.transmit(sock, protocol.encode([("op", operation), ("id", 7)]))
            reply = protocol.receive(sock)
            assert reply is not None
            if operation == "signal":
                continue
            assert (reply.get("id"), reply.get("error")) == ("7", "malformed"), operation
