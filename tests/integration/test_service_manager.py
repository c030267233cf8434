"""What the service manager is told over its socket: nothing that is not so yet, and nothing while a part hangs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.installation import Node
from tests.ports import free_port
from tests.sync_rig import MIGRATIONS

from skerry.cli.http import hub_api, node_api
from skerry.kit.disk import RealDisk
from skerry.kit.service_manager import ServiceManager, prove_life
from skerry.kit.sqlite import SqliteWriter
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.local import NodeStatus
from skerry.wire.people import Health


class Listener:
    """The manager's end."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.heard: list[str] = []

    def close(self) -> None:
        self._socket.close()

    def hear(self) -> list[str]:
        """Everything so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard += self._socket.recv(4096).decode().split("\n")
        return self.heard

    def last(self) -> list[str]:
        """What came after the last sign of life but one, without those: it lives for as long as it takes to stop."""
        return [word for word in self.hear() if word != "WATCHDOG=1"][-1:]

    async def told(self, word: str, times: int = 1) -> None:
        await eventually(
            lambda: self.hear().count(word) >= times, f"{times} × {word}, not {self.heard}"
        )


@pytest.fixture
def address(tmp_path: Path) -> Path:
    return tmp_path / "notify"


@pytest.fixture
def manager(address: Path) -> Iterator[Listener]:
    with contextlib.closing(Listener(address)) as listener:
        yield listener


@contextlib.asynccontextmanager
async def service(address: Path, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process under a manager that wants to hear of it every third of 0.6 s."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *words,
        env=os.environ | {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "600000"},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_node_is_ready_when_it_answers_and_says_when_it_stops(
    tmp_path: Path, address: Path, manager: Listener
) -> None:
    words = ("skerry.node", "--data-dir", str(tmp_path / "n"), "--set", "api.port=0")
    async with service(address, *words) as process:
        await manager.told("READY=1")
        async with node_api(tmp_path / "n") as api:
            status = await api.get("/v1/status", NodeStatus)
        assert status.pid == process.pid  # systemd believes the main process only
        assert manager.heard[:2] == ["READY=1", "WATCHDOG_USEC=600000"]
        await manager.told("WATCHDOG=1", 3)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    Node(tmp_path, "n", "").clean()  # the keeper outlives its agent
    assert manager.last() == ["STOPPING=1"]
    assert manager.heard.count("READY=1") == 1


async def test_a_hub_is_ready_when_it_answers_and_says_when_it_stops(
    tmp_path: Path, address: Path, manager: Listener
) -> None:
    listen, for_nodes = (f"127.0.0.1:{free_port()}" for _ in range(2))
    ports = ("--listen", listen, "--nodes-listen", for_nodes)
    words = ("hub", "run", "--data-dir", str(tmp_path / "h"), *ports)
    async with service(address, "skerry.cli.main", *words) as process:
        await manager.told("READY=1")
        async with hub_api(f"http://{listen}", tmp_path / "h" / "admin.token") as api:
            await api.get("/healthz", Health)
        await manager.told("WATCHDOG=1", 3)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert manager.last() == ["STOPPING=1"]


async def test_a_writer_that_hangs_is_not_alive(
    tmp_path: Path, address: Path, manager: Listener, manual_clock: ManualClock
) -> None:
    writer = SqliteWriter(tmp_path / "node.db", MIGRATIONS, RealDisk())
    writer.start()
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(_: object) -> None:
        hangs.set()
        goes_on.wait()

    told = ServiceManager(str(address), 30.0)
    task = asyncio.create_task(prove_life(told, manual_clock, writer.pulse))
    try:
        await manager.told("WATCHDOG=1")
        blocked = writer.submit(hang, label="test")
        assert await asyncio.to_thread(hangs.wait, 30)
        for _ in range(10):
            manual_clock.advance(30.0)
            await asyncio.sleep(0)
        assert manager.hear().count("WATCHDOG=1") == 1
        goes_on.set()
        await manager.told("WATCHDOG=1", 2)
        blocked.result()
    finally:
        goes_on.set()
        task.cancel()
        writer.stop()


def test_only_the_watched_process_proves_its_life(address: Path) -> None:
    given = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "1000000"}
    assert ServiceManager.of({**given, "WATCHDOG_PID": "7"}, 7).patience == 1.0
    assert ServiceManager.of({**given, "WATCHDOG_PID": "7"}, 8).patience is None
    assert ServiceManager.of({"WATCHDOG_USEC": "1000000"}, 7).patience is None


async def test_a_manager_that_is_gone_disturbs_nobody(
    tmp_path: Path, manual_clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await prove_life(ServiceManager(str(tmp_path / "gone")), manual_clock, _never)
    assert "cannot tell the service manager «READY=1»" in caplog.text


def test_a_process_that_begins_anew_may_take_its_time(address: Path, manager: Listener) -> None:
    told = ServiceManager(str(address), 120.0)
    told.begins_anew()
    told.ready()
    assert manager.hear() == ["WATCHDOG_USEC=1800000000", "READY=1", "WATCHDOG_USEC=120000000"]


async def _never() -> None:
    raise AssertionError
