"""A hub and nodes as real processes in a temporary directory, to be killed, cut off and put back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import select
import shutil
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tests.ports import free_port

from skerry.cli.http import Api, Patience, Unreachable, hub_api, node_api
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import SkerryError
from skerry.kit.sealing.cipher import NullCipher
from skerry.kit.tmpfs import tmpfs_below, unmount
from skerry.node.enrolment import Site, enrol_node
from skerry.node.trust.credentials import Credentials
from skerry.node.trust.files import TrustFiles
from skerry.node.workloads.runtimes.secret_files import MEMORY
from skerry.sdk.client import Client, Timing
from skerry.testing.process_device import remove_groups
from skerry.testing.waiting import eventually
from skerry.wire.local import NodeStatus, SyncStatus
from skerry.wire.people import Apply, ApplyReply, Health, Rows, TokenReply, TokenRequest
from skerry.wire.records import Row
from skerry.wire.sync import Enrol
from skerry.wire.workload import ProcessSpec, Restart, WorkloadSpec

_SHOWN = 4000
"""Characters of each log that are shown of an installation in which a test has failed."""

BY_SECRET = "nodes: {method: secret}\n"
"""Settings of a hub whose nodes prove themselves by their secrets, over plain HTTP: for tests that speak as a node themselves."""

SLOW = 60.0
"""Seconds that a hub or node may take to answer a test: longer than either of them is stopped on a busy machine."""

SLEEPER = ["python", "-c", "import signal; signal.pause()"]


def sleeper(name: str, **fields: object) -> WorkloadSpec:
    """A workload that does nothing but live."""
    return WorkloadSpec(name=name, process=ProcessSpec(command=SLEEPER), **fields)  # type: ignore[arg-type]


class Process:
    """One Skerry process with a log file."""

    def __init__(self, words: list[str], log: Path, prefix: Sequence[str] = ()) -> None:
        self.words = words
        self.prefix = prefix
        self.log = log
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.prefix,
                sys.executable,
                *self.words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def send(self, number: int) -> None:
        """A signal that does not end it."""
        assert self.process is not None
        self.process.send_signal(number)

    async def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return await self.process.wait()

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.returncode is None


class Hub:
    """A hub process. Those on one `database` share the data directory; `settings` are lines of its hub.yaml.

    Its nodes have certificates, unless the settings say otherwise: then `nodes_url` is where people are served, too.
    """

    def __init__(
        self, directory: Path, name: str = "hub", database: str | None = None, settings: str = ""
    ) -> None:
        self.directory = directory / "hub"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        by_secret = "method: secret" in settings
        self.nodes_port = self.port if by_secret else free_port()
        self.nodes_url = self.url if by_secret else f"https://127.0.0.1:{self.nodes_port}"
        self._options = [
            "--data-dir",
            str(self.directory),
            "--listen",
            f"127.0.0.1:{self.port}",
            "--nodes-listen",
            f"127.0.0.1:{free_port() if by_secret else self.nodes_port}",
        ]
        if database is not None:
            settings += f"database: {database}\n"
        if settings:
            config = directory / f"{name}.yaml"
            config.write_text(settings)
            self._options += ["--config", str(config)]
        self.log = directory / f"{name}.log"
        self.process = Process(["-m", "skerry.cli.main", "hub", "run", *self._options], self.log)

    async def start(self) -> None:
        await self.process.start()
        await self.ready()

    async def begin(self, ahead: float, label: str = "-", nth: int = 0) -> None:
        """Starts one whose clock is `ahead` by so many seconds, and which kills itself as `skerry.testing.faulty_hub` says."""
        words = ["-m", "skerry.testing.faulty_hub", str(ahead), label, str(nth), *self._options]
        self.process = Process(words, self.log)
        await self.process.start()

    async def ready(self) -> None:
        await eventually(self.answers, f"the hub answers; {self.process.log.read_text()}")

    async def kill(self) -> None:
        await self.process.end(signal.SIGKILL)

    async def answers(self) -> bool:
        assert self.process.runs, self.process.log.read_text()
        try:
            async with self.api() as api:
                await api.get("/healthz", Health)
        except Unreachable:
            return False
        return True

    @contextlib.asynccontextmanager
    async def api(self) -> AsyncIterator[Api]:
        async with hub_api(self.url, self.directory / "admin.token") as api:
            yield api.patient(SLOW)

    async def apply(self, *specs: WorkloadSpec, prune: bool = False) -> ApplyReply:
        async with self.api() as api:
            return await api.send(
                "PUT", "/api/v1/workloads", Apply(list(specs), prune=prune), ApplyReply
            )

    async def rows(self, name: str, limit: int = 100_000) -> list[Row]:
        async with self.api() as api:
            found = await api.get(f"/api/v1/records?name={name}&limit={limit}", Rows)
        assert not found.truncated
        return found.rows

    async def has(self, name: str, count: int) -> bool:
        try:
            return len(await self.rows(name)) >= count
        except SkerryError:
            return False


class Node:
    """One node process. `url` is where it looks for its hub, for example a chaos proxy."""

    def __init__(self, directory: Path, name: str, url: str) -> None:
        self.name = name
        self.directory = directory / name
        self.url = url
        self.log = directory / f"{name}.log"
        self.options = [
            "--data-dir",
            str(self.directory),
            "--set",
            "api.port=0",
            "--set",
            f"hub.url={url}",
        ]
        self.prefix: Sequence[str] = ()
        """What is put before its command."""
        self.process = Process(["-m", "skerry.node", *self.options], self.log)
        self._workloads: set[str] = set()

    async def enrol(
        self, hub: Hub, labels: dict[str, str] | None = None, *, again: bool = False
    ) -> None:
        async with hub.api() as api:
            token = await api.send("POST", "/api/v1/tokens", TokenRequest(), TokenReply)
        self.directory.mkdir(mode=0o700, exist_ok=True)
        request = Enrol(token.token, self.name, labels or {}, "test", "")
        await enrol_node(hub.nodes_url, request, Site(self.directory, RealDisk()), again=again)

    async def start(self, *, fault: tuple[str, int] | None = None, ahead: str = "") -> None:
        """`fault`: it kills itself there; `ahead`: its clock is wrong, as `skerry.testing.misled_node` says."""
        words = ["-m", "skerry.node"]
        if fault is not None:
            words = ["-m", "skerry.testing.faulty_node", fault[0], str(fault[1])]
        elif ahead:
            words = ["-m", "skerry.testing.misled_node", ahead]
        self.process = Process([*words, *self.options], self.log, self.prefix)
        await self.process.start()

    async def ready(self) -> None:
        await eventually(self.answers, f"node {self.name} answers")

    async def answers(self) -> bool:
        assert self.process.runs, self.log.read_text()
        return await self.status() is not None

    async def status(self) -> NodeStatus | None:
        """None: no agent is there."""
        try:
            async with self.api() as api:
                return await api.get("/v1/status", NodeStatus)
        except Unreachable:
            return None

    @contextlib.asynccontextmanager
    async def api(self) -> AsyncIterator[Api]:
        async with node_api(self.directory, Patience(connect=SLOW, answer=SLOW)) as api:
            yield api

    async def sync(self) -> SyncStatus:
        async with self.api() as api:
            return await api.get("/v1/sync", SyncStatus)

    async def link_is(self, *states: str) -> bool:
        status = await self.status()
        return status is not None and status.link.state in states

    async def runs(self, *workloads: str) -> bool:
        status = await self.status()
        if status is None:
            return False
        return {each.workload for each in status.workloads if each.phase == "running"} >= set(
            workloads
        )

    async def pids(self) -> dict[str, int]:
        status = await self.status()
        assert status is not None
        return {each.workload: each.pid for each in status.workloads if each.pid}

    async def pid(self, workload: str) -> int:
        """Of a workload that runs, or has just said something: what it says may be known before its status."""

        async def known() -> bool:
            return workload in await self.pids()

        await eventually(known, f"{workload} has a process")
        return (await self.pids())[workload]

    def tls(self) -> ssl.SSLContext:
        """What this node proves itself by, for somebody who speaks to the hub in its place."""
        files = TrustFiles(self.directory, RealDisk(), NullCipher())
        return Credentials(files, SystemClock()).context

    def publisher(self, workload: str) -> Client:
        """Speaks for a workload of this node, as its own process would."""
        path = str(self.directory / "run" / "w" / workload / "sock")
        return Client(path, Timing(time.time_ns, time.monotonic, time.sleep), random.Random(3))

    async def kill(self) -> None:
        await self.process.end(signal.SIGKILL)

    def processes(self) -> list[int]:
        """Every process that carries this node's name in its environment or keeps its workloads."""
        return [pid for pid in _pids() if _belongs(pid, self.directory)]

    def clean(self) -> None:
        """Ends agent, keeper and workloads, however they are; returns when none of them lives."""
        while found := self.processes():  # again, for what a dying agent or keeper still started
            for pid in found:
                _end(pid)
        owner = self.directory / "containers.json"
        if owner.exists():
            mark = json.loads(owner.read_text())["mark"]
            remove_groups(mark)
            for place in tmpfs_below(MEMORY / f"skerry-gate-{mark}"):
                unmount(place)
            for kind in ("", "-gate"):
                shutil.rmtree(MEMORY / f"skerry{kind}-{mark}", ignore_errors=True)


class Installation:
    """One hub and its nodes."""

    def __init__(self, directory: Path, settings: str = "") -> None:
        self.directory = directory
        self.hub = Hub(directory, settings=settings)
        self.nodes: list[Node] = []

    def node(self, name: str = "n1", url: str | None = None) -> Node:
        node = Node(self.directory, name, url or self.hub.nodes_url)
        self.nodes.append(node)
        return node

    async def started(
        self, *specs: WorkloadSpec, url: str | None = None, options: Sequence[str] = ()
    ) -> Node:
        """A node that is enrolled and runs `specs`; `options` go with its command."""
        node = self.node(url=url)
        node.options += options
        await node.enrol(self.hub)
        await self.hub.apply(*specs)
        await node.start()
        await node.ready()
        await eventually(
            lambda: node.runs(*(spec.name for spec in specs)),
            f"workloads run; {node.log.read_text()}",
        )
        return node


@contextlib.asynccontextmanager
async def installation(directory: Path, settings: str = "") -> AsyncIterator[Installation]:
    """A hub that answers, with these lines of settings; at the end nothing is left of it or of its nodes."""
    found = Installation(directory, settings)
    try:
        await found.hub.start()
        yield found
    except Exception:
        for log in (found.hub.log, *(node.log for node in found.nodes)):
            sys.stderr.write(f"{log.name}:\n{log.read_text()[-_SHOWN:] if log.exists() else ''}\n")
        raise
    finally:
        for node in found.nodes:
            if node.process.runs:
                await node.process.end(signal.SIGKILL)
            node.clean()
        if found.hub.process.runs:
            await found.hub.process.end(signal.SIGKILL)


def restart_never() -> Restart:
    return Restart(policy="never")


def _end(pid: int) -> None:
    """SIGKILL, and wait: until it is gone it holds its files and counts as running."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        assert poll.poll(60_000), f"process {pid} outlives SIGKILL"
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _belongs(pid: int, directory: Path) -> bool:
    try:
        words, environment = _shown(pid)
    except OSError:
        return False
    mark = str(directory).encode() + b"/"
    ours = any(name + mark in environment for name in (b"SKERRY_SOCKET=", b"HOME="))
    return ours or (b"keeper" in words and mark in words)


def _shown(pid: int) -> tuple[bytes, bytes]:
    """Its command and environment. One that is just being started (in execve) has neither for a moment: that is waited for.

    Threads of the kernel and what has ended have no program, which raises OSError.
    """
    place = Path(f"/proc/{pid}")
    while True:
        found = (place / "cmdline").read_bytes(), (place / "environ").read_bytes()
        if found != (b"", b""):
            return found
        (place / "exe").readlink()
