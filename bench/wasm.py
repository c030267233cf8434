"""A request as a record → its result as a record, from a fresh WebAssembly instance in a warm runner; and what else one could do."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.installation import Node, installation, sleeper
from wasmtime import Config, Engine, Linker, Module, Store, WasiConfig, wat2wasm

from bench import rig
from bench.figures import Figure, summary
from skerry.sdk.client import Client
from skerry.wire.codec import encode
from skerry.wire.records import PublishedRecord
from skerry.wire.wasm import WasmOrder
from skerry.wire.workload import WasmSpec, WorkloadSpec

COUNT = 200
ASKER = "asker"
RESULT = '{"name": "bench.out", "value": 1}\n'

MODULE = f"""
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "{RESULT.encode("unicode_escape").decode().replace('"', chr(92) + '"')}")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 60000))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const {len(RESULT)}))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
"""
"""Reads its record and answers with another."""

NATIVE = f"""
#include <stdio.h>
int main(void) {{ char line[60000]; fgets(line, sizeof line, stdin); fputs("{RESULT.encode("unicode_escape").decode().replace('"', chr(92) + '"')}", stdout); return 0; }}
"""


async def run(place: Path) -> list[Figure]:
    """The runner on a node, then the peers, with the same request and result."""
    path = place / "answer.wat"
    path.write_text(MODULE)
    spec = WorkloadSpec(
        name="answer",
        runtime="wasm",
        wasm=WasmSpec(module=str(path), mode="on-record", input="bench.in", output="records"),
    )
    async with installation(place) as found:
        node = await found.started(spec, sleeper(ASKER))
        asked, published = await asyncio.to_thread(_ask, node)
    peers = {
        "wasmtime-py in the asker's own process, nothing durable": _times(_bare(path)),
        "a native process for each request": _times(_native(place)),
        "a Python process for each request": _times(_python, 30),
    }
    cold = _times(_once(path, place), 30)
    disk = rig.sync_ms(place)
    return [
        Figure(
            "wasm",
            "request published → result received, a fresh instance for each, both records durable (median)",
            statistics.median(asked),
            "ms",
            target=10.0,
            peers={name: statistics.median(times) for name, times in peers.items()},
            note=f"{summary(asked)}. One durable publish of the asker alone: {statistics.median(published):.2f} ms; "
            f"fdatasync of 4 KiB takes {disk:.2f} ms here",
        ),
        Figure(
            "wasm",
            "mode «once»: a runner process from start to end, module in the cache (median)",
            statistics.median(cold),
            "ms",
            note=summary(cold),
        ),
        *(
            Figure("wasm", f"peer: {name}", statistics.median(times), "ms", note=summary(times))
            for name, times in peers.items()
        ),
    ]


def _ask(node: Node) -> tuple[list[float], list[float]]:
    """Milliseconds from each request to its result, and of the publishing alone."""
    arrived = threading.Semaphore(0)
    client = node.publisher(ASKER)

    def listen() -> None:
        for _ in node.publisher(ASKER).subscribe("bench.out", None, "now"):
            arrived.release()

    threading.Thread(target=listen, daemon=True).start()
    _warm(client, arrived)
    asked, published = [], []
    for number in range(COUNT):
        started = time.perf_counter()
        client.publish("measurement", [PublishedRecord("bench.in", number)], None)
        published.append((time.perf_counter() - started) * 1000)
        arrived.acquire()
        asked.append((time.perf_counter() - started) * 1000)
    return asked, published


def _warm(client: Client, arrived: threading.Semaphore) -> None:
    """Until a first result: both subscriptions stand. Then the results of all tries are waited for."""
    while True:
        client.publish("measurement", [PublishedRecord("bench.in", -1)], None)
        if arrived.acquire(timeout=0.5):
            break
    while arrived.acquire(timeout=1.0):
        pass


def _times(once: Callable[[], object], count: int = COUNT) -> list[float]:
    once()
    times = []
    for _ in range(count):
        started = time.perf_counter()
        once()
        times.append((time.perf_counter() - started) * 1000)
    return times


def _bare(path: Path) -> Callable[[], object]:
    engine = Engine(Config())
    module = Module(engine, wat2wasm(path.read_text()))
    linker = Linker(engine)
    linker.define_wasi()
    request = path.with_suffix(".json")
    request.write_text('{"name": "bench.in", "value": 1}\n')

    def once() -> bytes:
        output: list[bytes] = []
        store = Store(engine)
        wasi = WasiConfig()
        wasi.stdin_file = str(request)
        wasi.stdout_custom = output.append
        store.set_wasi(wasi)
        start = linker.instantiate(store, module).exports(store)["_start"]
        start(store)  # type: ignore[operator]
        store.close()
        return b"".join(output)

    assert once().decode() == RESULT
    return once


def _native(place: Path) -> Callable[[], object]:
    source, binary = place / "answer.c", place / "answer"
    source.write_text(NATIVE)
    subprocess.run(["gcc", "-O2", "-static", "-o", str(binary), str(source)], check=True)
    return lambda: _process([str(binary)])


def _python() -> object:
    return _process([sys.executable, "-I", "-c", f"import sys; sys.stdin.readline(); print({RESULT.strip()!r})"])  # fmt: skip


def _once(path: Path, place: Path) -> Callable[[], object]:
    cache = place / "cache"
    cache.mkdir(mode=0o700)
    order = WasmOrder(WasmSpec(module=str(path)), str(path), str(cache))
    words = [sys.executable, "-I", "-m", "skerry.runners.wasm", encode(order).decode()]
    return lambda: _process(words)


def _process(words: list[str]) -> None:
    found = subprocess.run(
        words, input=b'{"name": "bench.in", "value": 1}\n', stdout=subprocess.PIPE, env=dict(os.environ), check=True
    )  # fmt: skip
    assert found.stdout.decode() == RESULT
