"""The agent's side of the keeper's protocol, against a keeper that does exactly what the test says."""

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.port_takers import is_free

from skerry.keeper import protocol
from skerry.keeper.log_rules import LogRules
from skerry.keeper.protocol import Message
from skerry.kit.clock import SystemClock
from skerry.kit.errors import Refused, Transient
from skerry.node.ports import InstanceExit, ProcessLaunch, StoredInstance
from skerry.node.workloads.runtimes.isolation import Isolation
from skerry.node.workloads.runtimes.process import ProcessRuntime
from skerry.testing.waiting import eventually

Reply = list[tuple[str, object]]

HASTY = 0.2
"""Seconds, where no answer comes."""


class ScriptedKeeper:
    """Listens where a keeper would. `script` gets each request and returns the messages to send at once."""

    def __init__(self, run: Path, script: Callable[[Message], list[Reply]]) -> None:
        run.mkdir()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(run / "keeper.sock"))
        self._listener.listen()
        self._listener.settimeout(0)
        self._script = script
        self._sockets: list[socket.socket] = []
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._listener, self._accept)
        self.requests: list[str] = []

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.settimeout(0)
        self._sockets.append(sock)
        self._loop.add_reader(sock, self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        request = protocol.receive(sock)
        if request is None:
            self._loop.remove_reader(sock)
            return
        self.requests.append(request.text("op"))
        request.close()
        for reply in self._script(request):
            protocol.transmit(sock, protocol.encode(reply))

    def hang_up(self) -> None:
        """On who has come last."""
        sock = self._sockets.pop()
        self._loop.remove_reader(sock)
        sock.close()

    def close(self) -> None:
        for sock in [self._listener, *self._sockets]:
            self._loop.remove_reader(sock)
            sock.close()


@pytest.fixture
async def keepers() -> AsyncIterator[list[ScriptedKeeper]]:
    keepers: list[ScriptedKeeper] = []
    yield keepers
    for keeper in keepers:
        keeper.close()


@pytest.fixture
async def runtime(
    short_dir: Path, clock: SystemClock, chance: random.Random
) -> AsyncIterator[ProcessRuntime]:
    runtime = ProcessRuntime(
        short_dir / "run", clock, chance, Isolation("test", short_dir, range(0)), patience=30.0
    )
    yield runtime
    await runtime.close()


def friendly(request: Message) -> list[Reply]:
    return [[("id", request.text("id")), ("version", 1), ("pid", 2**22), ("start", 1)]]


LAUNCH = ProcessLaunch(
    instance="i",
    workload="w",
    environment={},
    strict=False,
    log=Path("/log"),
    log_rules=LogRules(1000, 2),
    command=("true",),
    directory=Path("/"),
    limits={},
)


async def test_an_exit_that_comes_with_the_reply_is_told_after_start_has_returned(
    short_dir: Path, runtime: ProcessRuntime, keepers: list[ScriptedKeeper]
) -> None:
    def quick_end(request: Message) -> list[Reply]:
        replies = friendly(request)
        if request.text("op") == "spawn":
            exited: Reply = [("event", "exited"), ("instance", "i"), ("code", 1), ("at", 5)]
            return [*replies, [*exited, ("workload", "w"), ("pid", 2**22), ("start", 1)]]
        if request.text("op") == "adopt":
            return [[("id", request.text("id")), ("error", "gone"), ("text", "")]]
        return replies

    keepers.append(ScriptedKeeper(short_dir / "run", quick_end))
    order: list[str] = []
    told = asyncio.Event()

    def on_exit(ended: InstanceExit) -> None:
        order.append(f"{ended.instance} ended with {ended.exit}")
        told.set()

    await runtime.connect(on_exit)
    await runtime.start(LAUNCH)
    order.append("started")
    await told.wait()
    assert order == ["started", "i ended with code 1"]
    assert await runtime.adopt([StoredInstance(LAUNCH, None)]) == []


async def test_another_version_is_refused_with_the_reason(
    short_dir: Path, runtime: ProcessRuntime, keepers: list[ScriptedKeeper]
) -> None:
    def newer(request: Message) -> list[Reply]:
        text = "this keeper speaks version 2"
        return [[("id", request.text("id")), ("error", "version"), ("text", text)]]

    keepers.append(ScriptedKeeper(short_dir / "run", newer))
    with pytest.raises(Refused, match="speaks version 2"):
        await runtime.connect(lambda _: None)


@pytest.mark.parametrize("silent", ["hello", "list"])
async def test_a_keeper_that_hangs_is_given_up_in_time(
    short_dir: Path, runtime: ProcessRuntime, keepers: list[ScriptedKeeper], silent: str
) -> None:
    keepers.append(
        ScriptedKeeper(
            short_dir / "run",
            lambda request: [] if request.text("op") == silent else friendly(request),
        )
    )
    runtime._patience = HASTY
    with pytest.raises(Transient, match="does not answer"):
        await runtime.connect(lambda _: None)


async def test_a_keeper_of_an_earlier_release_leaves_its_port_to_who_listens(
    short_dir: Path,
    runtime: ProcessRuntime,
    keepers: list[ScriptedKeeper],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It would give it to no process that it starts: that has to bind it. And it hangs up on a packet with many descriptors."""
    keepers.append(ScriptedKeeper(short_dir / "run", friendly))
    await runtime.connect(lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        await runtime.sockets.hold("gate", [os.dup(server.fileno())])
        assert not is_free("127.0.0.1", port)
    assert is_free("127.0.0.1", port)
    assert keepers[0].requests == ["hello", "list"]
    assert "keeper of this node is of an older release" in caplog.text


@pytest.mark.guarantee("G9")
async def test_a_keeper_that_cannot_take_sockets_leaves_the_port_to_who_listens_next(
    short_dir: Path, runtime: ProcessRuntime, keepers: list[ScriptedKeeper]
) -> None:
    """It starts the next process without them, which could not listen beside the agent's."""

    def short_of_descriptors(request: Message) -> list[Reply]:
        if request.text("op") == "hold":
            keepers[0].hang_up()
            return []
        return [[*reply, ("holds", 1)] for reply in friendly(request)]

    keepers.append(ScriptedKeeper(short_dir / "run", short_of_descriptors))
    await runtime.connect(lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(Transient, match="hung up"):
            await runtime.sockets.hold("gate", [os.dup(server.fileno())])
    assert is_free("127.0.0.1", port)


@pytest.mark.guarantee("G4")
async def test_one_request_that_hangs_holds_up_no_other(
    short_dir: Path, runtime: ProcessRuntime, keepers: list[ScriptedKeeper]
) -> None:
    keepers.append(
        ScriptedKeeper(
            short_dir / "run",
            lambda request: [] if request.text("op") == "spawn" else friendly(request),
        )
    )
    await runtime.connect(lambda _: None)
    runtime._patience = HASTY
    start = asyncio.create_task(runtime.start(LAUNCH))
    await eventually(lambda: "spawn" in keepers[0].requests, "it is asked")
    runtime._patience = 30.0
    await runtime.signal("other", "SIGTERM")
    await runtime.acknowledge("other")
    with pytest.raises(Transient, match="«spawn»"):
        await start


async def test_many_messages_wait_for_a_slow_reader(
    short_dir: Path, runtime: ProcessRuntime, keepers: list[ScriptedKeeper]
) -> None:
    keepers.append(ScriptedKeeper(short_dir / "run", friendly))
    await runtime.connect(lambda _: None)
    requests = [runtime.acknowledge(f"{number} {'x' * 10_000}") for number in range(500)]
    await asyncio.gather(*requests)
    assert keepers[0].requests.count("ack") == 500
