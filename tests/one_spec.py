"""The same workload on every runtime: what `tests/acceptance/test_one_spec.py` starts, and which cells it leaves out.

A program is one word («live», «bomb» …) that each runtime has an implementation of. `NOT_RUN` lists every cell of
the table behaviour × runtime that is not run, with its reason; docs/reference/runtimes.md shows the same table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.engines import IMAGE

from skerry.wire.workload import ContainerSpec, ProcessSpec, Stop, WasmSpec, WorkloadSpec

RUNTIMES = ("process", "docker", "podman", "wasm")

NOT_RUN = {
    ("grace_then_sigkill", "wasm"): "a module gets no signals, so it cannot ignore one",
    ("limit_of_processes", "wasm"): "a module can start no processes",
}
"""(behaviour, runtime) → why not."""

PROGRAM = r"""
import http.client, json, os, signal, socket, sys, threading, time
what = sys.argv[1]

class Door(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["SKERRY_SOCKET"])

def publish(name, value):
    record = {"name": name, "value": value, "at": time.time_ns()}
    session = "%032x" % time.time_ns()
    body = {"session": session, "first": 1, "kind": "measurement", "records": [record]}
    door = Door("node")
    door.request("POST", "/v1/publish", json.dumps(body), {"Content-Type": "application/json"})
    assert door.getresponse().status == 200

def live():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("WORD=" + os.environ["WORD"], flush=True)
    print("to stderr", file=sys.stderr, flush=True)
    publish(os.environ["SKERRY_WORKLOAD"] + ".value", 42)
    while True:
        signal.pause()

def crash():
    sys.exit(3)

def deaf():
    signal.signal(signal.SIGTERM, lambda *_: print("not now", flush=True))
    print("deaf", flush=True)
    while True:
        signal.pause()

def bomb():
    held = []
    while True:
        held.append(b"x" * (1 << 20))

def burn():
    while True:
        pass

def forks():
    started = 0
    try:
        while started < 200:
            threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
            started += 1
    except RuntimeError:
        pass
    print("threads", started, flush=True)
    sys.stdout.flush()
    os._exit(5 if started < 200 else 0)

globals()[what]()
"""


_WASI = """
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "skerry" "publish" (func $publish (param i32 i32) (result i32)))
"""

_LIVE = r"""
  (memory (export "memory") 2)
  (data (i32.const 1024) "{\"name\": \"a.value\", \"value\": 42}")
  (data (i32.const 1100) "to stderr\n")
  (func (export "_start") (local $i i32)
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (drop (call $environ (i32.const 8192) (i32.const 16384)))
    (loop $next  ;; each variable ends with NUL: a line of its own
      (if (i32.eqz (i32.load8_u (i32.add (i32.const 16384) (local.get $i))))
        (then (i32.store8 (i32.add (i32.const 16384) (local.get $i)) (i32.const 10))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.load (i32.const 4)))))
    (i32.store (i32.const 16) (i32.const 16384))
    (i32.store (i32.const 20) (i32.load (i32.const 4)))
    (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))
    (i32.store (i32.const 16) (i32.const 1100))
    (i32.store (i32.const 20) (i32.const 10))
    (drop (call $write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 32)))
    (drop (call $publish (i32.const 1024) (i32.const 32)))
    (i64.store (i32.const 4120) (i64.const 3600000000000))
    (loop $sleep
      (drop (call $poll (i32.const 4096) (i32.const 64) (i32.const 1) (i32.const 128)))
      (br $sleep)))
"""

_MODULES = {
    "live": _LIVE,
    "crash": '(memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 3)))',
    "burn": '(memory (export "memory") 1) (func (export "_start") (loop $l (br $l)))',
    "bomb": """(memory (export "memory") 1) (func (export "_start")
      (loop $l (br_if $l (i32.ge_s (memory.grow (i32.const 16)) (i32.const 0)))) unreachable)""",
}


def workload(directory: Path, runtime: str, name: str, what: str, **fields: Any) -> WorkloadSpec:
    """The program `what` as a workload of that runtime; `fields` are those of WorkloadSpec.

    A module is written to `directory`.
    """
    known: dict[str, Any] = {"env": {"WORD": "heard"}, "stop": Stop(grace=1.0)} | fields
    if runtime == "process":
        program = ProcessSpec(command=["python", "-c", PROGRAM, what])
        return WorkloadSpec(name=name, runtime="process", process=program, **known)
    if runtime == "wasm":
        path = directory / f"{what}.wat"
        path.write_text(f"(module {_WASI} {_MODULES[what]})")
        return WorkloadSpec(name=name, runtime="wasm", wasm=WasmSpec(module=str(path)), **known)
    words = ["python3", "-c", PROGRAM, what]
    inside = ContainerSpec(image=IMAGE, command=words, network="host")
    return WorkloadSpec(name=name, runtime="container", container=inside, **known)
