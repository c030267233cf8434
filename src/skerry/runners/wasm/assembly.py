"""The runner's composition root: builds sandbox, machine, calls and deadline, and runs the mode."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from skerry.kit.disk import RealDisk
from skerry.kit.units import format_duration
from skerry.runners.wasm import feed, modes
from skerry.runners.wasm.cache import CompileCache
from skerry.runners.wasm.calls import NodeCalls, RecordLines
from skerry.runners.wasm.deadline import Deadline
from skerry.runners.wasm.endings import say
from skerry.runners.wasm.machine import HostCall, Machine, Sandbox
from skerry.wire.wasm import RunnerExit, WasmOrder
from skerry.wire.workload import WasmSpec


def run(order: WasmOrder, environment: Mapping[str, str]) -> int:
    """The exit code of the process. Raises Failure."""
    spec = order.spec

    machine = Machine(
        Path(order.module),
        _sandbox(order, environment),
        CompileCache(Path(order.cache), RealDisk()),
    )
    deadline = _deadline(spec, machine.interrupt)
    alive = deadline.arm if deadline is not None and spec.mode == "worker" else _nothing
    inbox = feed.Inbox() if spec.mode == "worker" and spec.input else None
    calls = NodeCalls(inbox, alive, machine.refuel)
    machine.link(
        {
            "publish": HostCall(2, calls.publish),
            "log": HostCall(2, calls.log),
            "next": HostCall(3, calls.next),
        }
    )
    lines = RecordLines() if spec.output == "records" else None
    rows = feed.records(spec.input, environment.get("SKERRY_WORKLOAD", "")) if spec.input else None
    if spec.mode == "on-record" and rows is not None:
        modes.on_record(machine, lines, rows, deadline)
    if deadline is not None:
        deadline.arm()
    if rows is not None and inbox is not None:
        return modes.worker(machine, lines, modes.Supply(rows, inbox, alive))
    return modes.once(machine, lines)


def _sandbox(order: WasmOrder, environment: Mapping[str, str]) -> Sandbox:
    spec = order.spec
    return Sandbox(
        name=Path(order.module).name,
        args=spec.args,
        environment=environment,
        directories=[_directory(each) for each in spec.directories],
        memory=order.memory,
        fuel=spec.fuel,
        interruptible=spec.deadline is not None,
    )


def _nothing() -> None:
    """No deadline that a sign of life would put off."""


def _directory(written: str) -> tuple[str, str, bool]:
    """From «/on/the/node:/inside[:ro]»: both paths, and whether the module may write."""
    place, inside, *access = written.split(":")
    return place, inside, access != ["ro"]


def _deadline(spec: WasmSpec, interrupt: Callable[[], None]) -> Deadline | None:
    """A worker may wait as long as it likes, so what counts for it is the processor time of its thread."""
    if spec.deadline is None:
        return None
    now: Callable[[], float] = time.monotonic
    if spec.mode == "worker":
        clock = time.pthread_getcpuclockid(threading.get_ident())

        def now() -> float:
            return time.clock_gettime(clock)

    shown = format_duration(spec.deadline)

    def hang() -> NoReturn:
        say(f"the module was ended, deadline: it waited for longer than {shown}")
        os._exit(RunnerExit.DEADLINE)

    deadline = Deadline(spec.deadline, now, interrupt, hang)
    threading.Thread(target=deadline.run, daemon=True).start()
    return deadline
