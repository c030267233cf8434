"""Secrets of containers and WebAssembly modules: a read-only directory, variables, and credentials of a registry."""

import json
import os
import signal
from pathlib import Path

import pytest
from tests.container_site import box, of_image, with_engine
from tests.engines import IMAGE, TestEngine, ask, image_archive
from tests.installation import installation
from tests.registry import registry
from tests.secret_site import CANARY, found_below, log_of, message, put, started

from skerry.testing.waiting import eventually
from skerry.wire.secrets import SecretUse
from skerry.wire.workload import ContainerSpec, WasmSpec, WorkloadSpec

pytestmark = [pytest.mark.timeout(180), pytest.mark.guarantee("G10")]

SHOWS = """
import os, signal
at = os.environ["SKERRY_SECRETS"] + "/db"
def show(*_):
    try:
        open(at, "a")
        writable = "writable"
    except OSError as error:
        writable = type(error).__name__
    print(os.geteuid(), writable, at, "file", open(at).read(), "env", os.environ["DB"], flush=True)
signal.signal(signal.SIGUSR1, show)
show()
while True:
    signal.pause()
"""
DB = [SecretUse(name="db"), SecretUse(name="db", env="DB")]

PRINTS_ENVIRONMENT = r"""
(module
  (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $get (i32.const 1024) (i32.const 4096)))
    (i32.store (i32.const 0) (i32.const 4096))
    (i32.store (i32.const 4) (i32.const 400))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
"""


async def test_a_container_reads_its_secret_and_its_log_stays_masked(
    short_dir: Path, engine: TestEngine
) -> None:
    async with installation(short_dir) as site:
        node = with_engine(site.node(), engine)
        await node.enrol(site.hub)
        await node.start()
        await node.ready()
        await put(site.hub, "db", CANARY)
        user = ContainerSpec(
            image=IMAGE, command=["python3", "-c", SHOWS], network="none", user="65534:65534"
        )
        strict = box("strict", container=user, secrets=DB, isolation="strict")
        await site.hub.apply(box("box", "python3", "-c", SHOWS, secrets=DB), strict)
        at = "/run/secrets/db"
        line = f"0 OSError {at} file *** env ***\n"
        await eventually(lambda: line in log_of(node, "box"), "it has its secret", 60)
        denied = ("65534 OSError", "65534 PermissionError")
        wanted = [f"{word} {at} file *** env ***\n" for word in denied]
        await eventually(
            lambda: any(each in log_of(node, "strict") for each in wanted), "strict too"
        )
        pid = await node.pid("box")
        await node.kill()
        await node.start()
        await node.ready()
        await eventually(lambda: node.runs("box"), "the next agent has it")
        os.kill(pid, signal.SIGUSR1)
        await eventually(lambda: log_of(node, "box").count(line) == 2, "its log is masked again")
        assert found_below(short_dir) == []


async def test_a_secret_opens_a_registry(short_dir: Path, engine: TestEngine) -> None:
    with registry(login=f"edge:{CANARY}") as source:
        python = {"Env": ["LD_LIBRARY_PATH=/usr/lib/host", "PYTHONHOME=/usr", "PATH=/usr/bin"]}
        image = source.add("acme/sealed:1", [image_archive()], python)
        async with installation(short_dir) as site:
            node = with_engine(site.node(), engine)
            await node.enrol(site.hub)
            await node.start()
            await node.ready()
            await site.hub.apply(box("box", container=of_image(image, pull_secret="registry")))

            async def waits() -> bool:
                return "secret «registry»: it does not exist" in await message(node, "box")

            await eventually(waits, "it says what it waits for", 60)
            await put(site.hub, "registry", f"edge:{CANARY}\n")
            await eventually(lambda: node.runs("box"), f"it runs; {log_of(node, 'box')}", 60)
            [listed] = json.loads(ask(engine.socket, "GET", "/v1.40/containers/json?all=1")[1])
            inspected = ask(engine.socket, "GET", f"/v1.40/containers/{listed['Id']}/json")[1]
            assert CANARY.encode() not in inspected
            assert found_below(short_dir) == []
    ask(engine.socket, "DELETE", f"/v1.40/images/{image}?force=1")


async def test_a_module_gets_its_secret_as_a_variable(short_dir: Path) -> None:
    path = short_dir / "shows.wat"
    path.write_text(PRINTS_ENVIRONMENT)
    async with installation(short_dir) as site:
        node = await started(site)
        await put(site.hub, "db", CANARY)
        secrets = [SecretUse(name="db", env="DB")]
        section = WasmSpec(module=str(path))
        spec = WorkloadSpec(name="module", runtime="wasm", wasm=section, secrets=secrets)
        await site.hub.apply(spec)
        await eventually(lambda: "DB=***" in log_of(node, "module"), "it has its secret", 60)
        assert found_below(short_dir) == []
