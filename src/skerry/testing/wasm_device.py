"""A directory with a keeper and real runners of WebAssembly modules. Stands beside `process_device`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from msgspec.structs import replace

from skerry.kit.bell import Bell
from skerry.node.contracts.native import NativeContract
from skerry.node.ports import WasmLaunch
from skerry.node.workloads.runtimes.lazy_containers import LazyContainers
from skerry.node.workloads.runtimes.process import ProcessRuntime
from skerry.node.workloads.runtimes.router import Runtimes
from skerry.testing.no_secrets import no_secret_files, no_secrets, no_secrets_at
from skerry.testing.process_device import ProcessDevice
from skerry.wire.workload import Assignment, Exit, Generation, Resources, WasmSpec, WorkloadSpec

WAITS = """
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i64.store (i32.const 24) (i64.const 1000000000))
    (loop $again
      (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
      (br $again))))
"""
"""Sleeps for a second, again and again: a subscription to the real clock is all zeros but for its time."""

EXITS = """
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (i32.const CODE))))
"""


def _no_room(_changed: Bell) -> NoReturn:
    raise AssertionError("a module needs no container engine")


class WasmDevice(ProcessDevice):
    """A `ProcessDevice` whose workloads are modules, written as text."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._routers: list[Runtimes] = []

    def router(self, processes: ProcessRuntime) -> Runtimes:
        """All runtimes of one agent process on this device, with no engine."""
        containers = LazyContainers(_no_room, known=False)
        self._routers.append(Runtimes(processes, containers, self.directory, no_secret_files()))
        return self._routers[-1]

    async def end(self) -> None:
        for router in self._routers:
            await router.close()
        await super().end()

    def module(
        self,
        text: str | bytes,
        *,
        workload: str = "w",
        env: dict[str, str] | None = None,
        memory: int | None = None,
        **fields: object,
    ) -> WasmLaunch:
        """A launch of a module, as the contract makes it; `fields` are those of WasmSpec."""
        path = self.directory / f"{workload}.wat"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self.of_file(str(path), workload=workload, env=env, memory=memory, **fields)

    def of_file(
        self,
        path: str,
        *,
        workload: str = "w",
        env: dict[str, str] | None = None,
        memory: int | None = None,
        **fields: object,
    ) -> WasmLaunch:
        """A launch of the module in a file."""
        spec = WorkloadSpec(
            name=workload,
            runtime="wasm",
            wasm=WasmSpec(module=path, **fields),  # type: ignore[arg-type]  # a test's keywords
            env=env or {},
            resources=Resources(memory=memory),
        )
        contract = NativeContract(
            self.directory,
            self.socket.parent,
            "n1",
            sys.executable,
            no_secrets(),
            no_secrets_at,
        )
        instance = f"{workload}-{len(self._launched) + 1}-{os.getpid()}-{id(self):x}"
        assignment = Assignment(workload, Generation(0, 1), spec)
        launch = contract.launch_for(assignment, instance)
        assert isinstance(launch, WasmLaunch)
        self._launched.append(launch)
        return launch

    def waits(self, workload: str = "w") -> WasmLaunch:
        """Lives until it is told to end."""
        return self.module(WAITS, workload=workload)

    def ends(self, exit_: Exit, workload: str = "w") -> WasmLaunch:
        """Ends at once. A module cannot send a signal, so one meets its runner."""
        if exit_.signal is not None:
            launch = self.waits(workload)
            return replace(launch, command=("sh", "-c", f"kill -{exit_.signal} $$"))
        return self.module(EXITS.replace("CODE", str(exit_.code)), workload=workload)

    def missing(self) -> WasmLaunch:
        """There is no such file."""
        return self.of_file("no-such-command.wasm")
