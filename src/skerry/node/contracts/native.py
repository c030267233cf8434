"""The contract with Skerry's own workloads: how an assignment becomes a `Launch`.

A workload sees exactly the environment below and nothing of the agent's own:

    SKERRY_SOCKET     its socket on this node; having it is its identity
    SKERRY_WORKLOAD   its name
    SKERRY_NODE       the node's name
    SKERRY_INSTANCE   this run of it
    SKERRY_MODELS     the directory with its models, if it names any: <model>/<file>
    HOME              its own directory, which is also the working directory unless the spec names one
    PATH, LANG        the same on every node
    env of the spec   may replace HOME, PATH and LANG, never SKERRY_*

In a container socket and models are mounted, and HOME, PATH and LANG are those of its image. A WebAssembly module
sees env and the last three of SKERRY_*; the rest, and the socket, are its runner's (`skerry.runners.wasm`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from skerry.kit.errors import Transient
from skerry.kit.socket_path import checked_socket_path
from skerry.node.models.layout import models_root, view_of
from skerry.node.ports import (
    MODELS_INSIDE,
    SOCKET_INSIDE,
    ContainerLaunch,
    Launch,
    ProcessLaunch,
    WasmLaunch,
    workload_socket,
)
from skerry.wire.codec import encode
from skerry.wire.wasm import VARIABLE, WasmOrder
from skerry.wire.workload import Allow, Assignment, Resources, WasmSpec, WorkloadSpec

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

RUNNER_MEMORY = 512 << 20
"""What a WebAssembly runner may have for itself, above all to compile a large module."""


def log_path(data_dir: Path, workload: str) -> Path:
    """The current log file of a workload."""
    return data_dir / "logs" / workload / "current.log"


@dataclass(frozen=True)
class NativeContract:
    """Makes launches for the workloads of one node. `interpreter` is what «python» stands for."""

    data_dir: Path
    run_dir: Path
    node: str
    interpreter: str

    def launch_for(self, assignment: Assignment, instance: str) -> Launch:
        """The launch of one instance; makes the workload's own directories. Raises Transient or InvalidInput when it cannot."""
        name, spec = assignment.workload, assignment.spec
        socket = checked_socket_path(workload_socket(self.run_dir, name))
        inside = spec.container is not None
        self._own_directory("logs", name)
        environment = {
            **({} if inside else self._surroundings(name)),
            **(spec.env if spec.wasm is None else _for_module(spec.env)),
            "SKERRY_SOCKET": SOCKET_INSIDE if inside else str(socket),
            "SKERRY_WORKLOAD": name,
            "SKERRY_NODE": self.node,
            "SKERRY_INSTANCE": instance,
        }
        models = (
            view_of(models_root(self.data_dir), assignment.models) if assignment.models else None
        )
        if models is not None:
            environment["SKERRY_MODELS"] = MODELS_INSIDE if inside else str(models)
        common = Launch(
            instance=instance,
            workload=name,
            environment=environment,
            strict=spec.isolation == "strict",
            log=log_path(self.data_dir, name),
            log_size=spec.logs.max_size,
            log_files=spec.logs.files,
            models=models,
        )
        if spec.container is not None:
            return ContainerLaunch(
                **vars(common), spec=spec.container, resources=spec.resources, socket=socket
            )
        if spec.wasm is not None:
            return self._wasm(common, spec.wasm, spec, socket)
        return self._process(common, spec, socket)

    def _process(self, common: Launch, spec: WorkloadSpec, socket: Path) -> ProcessLaunch:
        assert spec.process is not None  # noqa: S101 - the spec's rules want exactly one program
        home = self._own_directory("workloads", common.workload)
        return ProcessLaunch(
            **vars(common),
            command=self._command(spec.process.command),
            directory=Path(spec.process.directory) if spec.process.directory else home,
            limits=_limits(spec.resources),
            resources=spec.resources,
            allow=spec.allow,
            home=home,
            socket=socket,
        )

    def _wasm(self, common: Launch, wasm: WasmSpec, spec: WorkloadSpec, socket: Path) -> WasmLaunch:
        """-I: nothing that the module could write, in the working directory or in HOME, is imported by its runner."""
        home = self._own_directory("workloads", common.workload)
        cache = self._own_directory("wasm", common.workload)
        module = home / wasm.module
        resources = spec.resources
        order = WasmOrder(wasm, str(module), str(cache), resources.memory)
        if resources.memory is not None:
            around = resources.memory + RUNNER_MEMORY
            resources = msgspec.structs.replace(resources, memory=around)
        runner = (self.interpreter, "-I", "-m", "skerry.runners.wasm", encode(order).decode())
        return WasmLaunch(
            **vars(common),
            command=runner,
            directory=home,
            limits=_limits(resources),
            resources=resources,
            allow=_with_directories(spec.allow, wasm.directories),
            home=home,
            socket=socket,
            shown=(module,),
            given=(cache,),
            module=module,
            directories=tuple(Path(each.partition(":")[0]) for each in wasm.directories),
        )

    def _surroundings(self, name: str) -> dict[str, str]:
        """A container has these of its image."""
        home = self._own_directory("workloads", name)
        return {"HOME": str(home), "PATH": PATH, "LANG": "C.UTF-8"}

    def _command(self, words: list[str]) -> tuple[str, ...]:
        return (self.interpreter, *words[1:]) if words[:1] == ["python"] else tuple(words)

    def _own_directory(self, kind: str, workload: str) -> Path:
        path = self.data_dir / kind / workload
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise Transient(f"cannot make directory {path}: {error.strerror}") from error
        return path


def _for_module(env: dict[str, str]) -> dict[str, str]:
    """Behind a prefix: the runner hands these on and heeds none of them itself."""
    return {f"{VARIABLE}{name}": value for name, value in env.items()}


def _with_directories(allow: Allow, directories: list[str]) -> Allow:
    """A module's directories need no grant of their own."""
    reads = [each.partition(":")[0] for each in directories if each.endswith(":ro")]
    writes = [each.partition(":")[0] for each in directories if not each.endswith(":ro")]
    return msgspec.structs.replace(allow, read=[*allow.read, *reads], write=[*allow.write, *writes])


def _limits(resources: Resources) -> dict[str, int]:
    """What is a limit of each process; those of the whole workload are the runtime's."""
    limits = {
        "RLIMIT_NOFILE": resources.open_files,
        # Its directory is measured now and then; no single file passes the limit in between.
        "RLIMIT_FSIZE": resources.storage,
    }
    return {name: value for name, value in limits.items() if value is not None}
