"""An update beside what runs, through hub and node: whoever asks meanwhile gets an answer, and every record is handled."""

from __future__ import annotations

import asyncio
import http.client
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from tests.container_site import log_of, of_image, says, state, with_engine
from tests.engines import IMAGE, TestEngine
from tests.installation import Installation, Node, installation, sleeper
from tests.ports import free_port

from skerry.testing.waiting import eventually
from skerry.wire.workload import ProcessSpec, Ready, Selector, Stop, Update, WasmSpec, WorkloadSpec

pytestmark = pytest.mark.timeout(120)

SERVER = """
import http.client, json, os, signal, socket, sys, threading, time
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind(("127.0.0.1", int(os.environ["PORT"])))
class Door(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["SKERRY_SOCKET"])
def publish():
    record = {"name": "web.up", "value": 1, "at": time.time_ns()}
    door = Door("node")
    body = json.dumps({"records": [record], "instance": os.environ["SKERRY_INSTANCE"]})
    door.request("POST", "/v1/publish", body, {"Content-Type": "application/json"})
    assert door.getresponse().status == 200
def end(*_):
    listener.close()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
if os.environ["VERSION"] == "bad":
    signal.pause()
listener.listen(64)
publish()
body = os.environ["VERSION"].encode()
while True:
    client, _ = listener.accept()
    client.recv(4096)
    client.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
    client.close()
"""


TAKES = """
(module
  (import "skerry" "next" (func $next (param i32 i32 i32) (result i32)))
  (import "skerry" "log" (func $log (param i32 i32) (result i32)))
  (import "skerry" "publish" (func $publish (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "{\\"name\\": \\"up\\", \\"value\\": 1}")
  (func (export "_start")
    (loop $again
      (drop (call $log (i32.const 64) (call $next (i32.const 64) (i32.const 60000) (i32.const -1))))
      (drop (call $publish (i32.const 16) (i32.const 26)))
      (br $again))))
"""

READS = """
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "skerry" "log" (func $log (param i32 i32) (result i32)))
  (import "skerry" "publish" (func $publish (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "{\\"name\\": \\"up\\", \\"value\\": 1}")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 60000))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (drop (call $log (i32.const 64) (i32.load (i32.const 8))))
    (drop (call $publish (i32.const 16) (i32.const 26)))))
"""


class Visitor:
    """Asks again and again. A connection that ends with its listener is tried anew; a refused one is a gap."""

    def __init__(self, port: int) -> None:
        self.answers: list[str] = []
        self._port = port
        self._enough = False

    async def visit(self) -> None:
        while not self._enough:
            self.answers.append(await asyncio.to_thread(self._ask))
            await asyncio.sleep(0.01)

    def leave(self) -> None:
        self._enough = True

    def got(self, version: str) -> bool:
        """Whether the last answers all come from this version."""
        return self.answers[-5:] == [version] * 5

    def _ask(self) -> str:
        for _ in range(3):
            client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                client.request("GET", "/")
                return client.getresponse().read().decode()
            except (ConnectionResetError, http.client.RemoteDisconnected):
                continue
            finally:
                client.close()
        raise AssertionError("three connections were cut")


class Feeder:
    """Publishes the numbers from 1 on."""

    def __init__(self, node: Node) -> None:
        self.sent = 0
        self._client = node.publisher("feeder")
        self._enough = False

    async def feed(self) -> None:
        while not self._enough:
            self.sent += 1
            record = ("feed.number", self.sent)
            await asyncio.to_thread(self._client.publish, "measurement", [record], 60.0)
            await asyncio.sleep(0.05)

    def leave(self) -> None:
        self._enough = True


def update(version: str, soon: float) -> Update:
    """Only of the bad one it is found out soon that it does not get ready."""
    return Update(strategy="overlap", ready_within=soon if version == "bad" else 40.0)


def follower(node: Node, mode: Literal["worker", "on-record"], version: str) -> WorkloadSpec:
    """A module that logs each record, and says then that it is up; the bad one does not."""
    text = {"worker": TAKES, "on-record": READS}[mode]
    if version == "bad":
        text = '(module (func (export "_start") unreachable))'
    path = node.directory.parent / f"{mode}-{version}.wat"
    path.write_text(text)
    return WorkloadSpec(
        name=mode,
        runtime="wasm",
        wasm=WasmSpec(module=str(path), mode=mode, input="feed.*"),
        ready=Ready(value="up"),
        update=update(version, 1.0),
    )


def web(
    node: Node, runtime: Literal["process", "container"], port: int, version: str
) -> WorkloadSpec:
    native = ProcessSpec(command=["python", "-c", SERVER])
    inside = of_image(IMAGE, "python3", "-c", SERVER)
    return WorkloadSpec(
        name=f"web-{node.name}",
        on=Selector(node=node.name),
        runtime=runtime,
        process=native if runtime == "process" else None,
        container=inside if runtime == "container" else None,
        env={"PORT": str(port), "VERSION": version},
        ready=Ready(value="web.up"),
        stop=Stop(grace=5.0),
        update=update(version, 2.0),
    )


async def pid_of(node: Node, workload: str) -> int | None:
    status = await state(node, workload)
    return status.pid if status is not None and status.ready else None


async def is_ready(node: Node, workload: str) -> bool:
    return await pid_of(node, workload) is not None


async def is_new(node: Node, workload: str, before: int | None) -> bool:
    found = await state(node, workload)
    settled = found is not None and found.ready and not found.message
    return settled and await pid_of(node, workload) != before


async def replaced(
    site: Installation, node: Node, versions: Sequence[WorkloadSpec], failure: str
) -> None:
    """Of three versions the second does not get ready, and the third one serves in the end."""
    name = versions[0].name
    first = await pid_of(node, name)
    await site.hub.apply(versions[1])
    await eventually(partial(says, node, name, failure), f"the bad {name} is given up", 40)
    assert await pid_of(node, name) == first
    await site.hub.apply(versions[2])
    await eventually(partial(is_new, node, name, first), f"the third {name} serves alone", 40)


async def serves(site: Installation, node: Node, runtime: Literal["process", "container"]) -> None:
    port = free_port()
    versions = [web(node, runtime, port, version) for version in ("1", "bad", "3")]
    name = versions[0].name
    await site.hub.apply(versions[0])
    await eventually(partial(is_ready, node, name), "the first version is ready", 40)
    visitor = Visitor(port)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(visitor.visit())
        await replaced(site, node, versions, "failed: not ready within 2")
        await eventually(partial(visitor.got, "3"), "all answers come from it")
        visitor.leave()
    assert set(visitor.answers) == {"1", "3"}


async def handles(site: Installation, node: Node, mode: Literal["worker", "on-record"]) -> None:
    """A module lets no record pass: while there are two of it, both handle what comes."""
    versions = [follower(node, mode, version) for version in ("1", "bad", "3")]
    name = versions[0].name
    await site.hub.apply(versions[0])
    feeder = Feeder(node)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(feeder.feed())
        await eventually(partial(is_ready, node, name), "the first version is ready", 40)
        failure = "failed: ended: code 210 (trap)" if mode == "worker" else "not ready within 1"
        await replaced(site, node, versions, failure)
        feeder.leave()
    await eventually(lambda: feeder.sent in handled(node, name), f"{name} has handled the last one")
    found = handled(node, name)
    assert set(range(min(found), feeder.sent + 1)) <= found


def handled(node: Node, workload: str) -> set[int]:
    values = re.findall(r'"feed.number","value":(\d+)', log_of(node, workload))
    return {int(value) for value in values}


async def test_processes_and_modules_are_replaced_without_a_gap(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        node = await site.started(sleeper("feeder"))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serves(site, node, "process"))
            tasks.create_task(handles(site, node, "worker"))
            tasks.create_task(handles(site, node, "on-record"))


async def test_containers_of_both_engines_are_replaced_without_a_gap(
    short_dir: Path, docker_engine: TestEngine, podman_engine: TestEngine
) -> None:
    async with installation(short_dir) as site, asyncio.TaskGroup() as tasks:
        for engine in (docker_engine, podman_engine):
            node = with_engine(site.node(engine.name), engine)
            await node.enrol(site.hub)
            await node.start()
            tasks.create_task(serves(site, node, "container"))
