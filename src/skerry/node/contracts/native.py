"""The contract with Skerry's own workloads: how an assignment becomes a `Launch`.

A workload sees exactly the environment below and nothing of the agent's own:

    SKERRY_SOCKET     its socket on this node; having it is its identity
    SKERRY_WORKLOAD   its name
    SKERRY_NODE       the node's name
    SKERRY_INSTANCE   this run of it
    SKERRY_MODELS     the directory with its models, if it names any: <model>/<file>
    SKERRY_SECRETS    the directory with those of its secrets that are files, if there are any
    SKERRY_SCRIPTS    the directory of a worker group's scripts
    HOME              its own directory, which is also the working directory unless the spec names one
    PATH, LANG        the same on every node
    env of the spec   may replace HOME, PATH and LANG, never SKERRY_*; so may secrets that are variables

In a container socket, models, secrets and scripts are mounted, and HOME, PATH and LANG are those of its image. A WebAssembly module
sees env and the last three of SKERRY_*; the rest, and the socket, are its runner's (`skerry.runners.wasm`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from skerry.core.places_inside import (
    MODELS_INSIDE,
    SCRIPTS_INSIDE,
    SECRETS_INSIDE,
    SOCKET_INSIDE,
)
from skerry.core.secrets import environment_of, files_of
from skerry.keeper.log_rules import LogRules, secrets_of
from skerry.kit.errors import InvalidInput, Transient
from skerry.kit.socket_path import checked_socket_path
from skerry.node.models.layout import models_root, view_of
from skerry.node.ports import (
    ContainerLaunch,
    Launch,
    ProcessLaunch,
    WasmLaunch,
    container_socket,
    workload_socket,
)
from skerry.wire.codec import encode
from skerry.wire.wasm import VARIABLE, WasmOrder
from skerry.wire.workload import (
    Allow,
    Assignment,
    ContainerSpec,
    Logs,
    Resources,
    WasmSpec,
    WorkerSpec,
    WorkloadSpec,
)

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

RUNNER_MEMORY = 512 << 20
"""What a WebAssembly runner may have for itself, above all to compile a large module."""

_RUN_SCRIPTS = ("-P", "-m", "skerry.runners.worker")
"""-P: nothing in the working directory takes the place of a module."""


def log_path(data_dir: Path, workload: str) -> Path:
    """The current log file of a workload."""
    return data_dir / "logs" / workload / "current.log"


def log_rules(logs: Logs, environment: Mapping[str, str]) -> LogRules:
    """What holds for the log of a workload with this environment."""
    return LogRules(
        logs.max_size,
        logs.files,
        logs.max_age,
        known=logs.redact_secrets,
        patterns=logs.redact,
        secrets=secrets_of(environment) if logs.redact_secrets else (),
    )


class Values(Protocol):
    """The secrets of this node (`secrets.on_demand`)."""

    def values(self, assignment: Assignment) -> Mapping[str, bytes] | None:
        """By name; None: they are not open."""
        ...

    def masked(self, workload: str) -> Sequence[str]:
        """What must not stand in the log of this workload."""
        ...


class NativeContract(msgspec.Struct, frozen=True):
    """Makes launches for the workloads of one node. `interpreter` is what «python» stands for.

    `secrets_at` says where the files of an instance's secrets lie: (workload, instance).
    """

    data_dir: Path
    run_dir: Path
    node: str
    interpreter: str
    secrets: Values
    secrets_at: Callable[[str, str], Path]

    def launch_for(self, assignment: Assignment, instance: str) -> Launch:
        """The launch of one instance; makes the workload's own directories. Raises Transient or InvalidInput when it cannot."""
        name, spec = assignment.workload, assignment.spec
        inside = spec.container is not None
        place = container_socket if inside else workload_socket
        socket = checked_socket_path(place(self.run_dir, name))
        self._own_directory("logs", name)
        values = self.secrets.values(assignment)
        own = spec.env | _secret_variables(spec, values or {})
        files = {} if values is None else files_of(spec, values)
        secrets = self.secrets_at(name, instance) if files else None
        environment = {
            **({} if inside else self._surroundings(name)),
            **(own if spec.wasm is None else _for_module(own)),
            "SKERRY_SOCKET": SOCKET_INSIDE if inside else str(socket),
            "SKERRY_WORKLOAD": name,
            "SKERRY_NODE": self.node,
            "SKERRY_INSTANCE": instance,
            **_scripts(spec.worker, inside=inside),
        }
        models = (
            view_of(models_root(self.data_dir), assignment.models) if assignment.models else None
        )
        if models is not None:
            environment["SKERRY_MODELS"] = MODELS_INSIDE if inside else str(models)
        if secrets is not None:
            environment["SKERRY_SECRETS"] = SECRETS_INSIDE if inside else str(secrets)
        rules = log_rules(spec.logs, environment)
        common = Launch(
            instance=instance,
            workload=name,
            environment=environment,
            strict=spec.isolation == "strict",
            log=log_path(self.data_dir, name),
            log_rules=rules.with_secrets([*self.secrets.masked(name), *rules.secrets]),
            models=models,
            secrets=secrets,
            secret_files=files,
            lacks="" if values is not None else "its secrets are not open yet",
        )
        if spec.container is not None:
            return ContainerLaunch(
                **msgspec.structs.asdict(common),
                spec=_with_scripts(spec.container, spec.worker),
                resources=spec.resources,
                socket=socket,
            )
        if spec.wasm is not None:
            return self._wasm(common, spec.wasm, spec, socket)
        return self._process(common, spec, socket)

    def _process(self, common: Launch, spec: WorkloadSpec, socket: Path) -> ProcessLaunch:
        home = self._own_directory("workloads", common.workload)
        directory = spec.process.directory if spec.process else None
        return ProcessLaunch(
            **msgspec.structs.asdict(common),
            command=self._command(spec),
            directory=Path(directory) if directory else home,
            limits=_limits(spec.resources),
            resources=spec.resources,
            allow=spec.allow,
            home=home,
            socket=socket,
            shown=(Path(spec.worker.scripts),) if spec.worker else (),
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
            **msgspec.structs.asdict(common),
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

    def _command(self, spec: WorkloadSpec) -> tuple[str, ...]:
        if spec.process is None:
            assert spec.worker is not None  # noqa: S101 - the spec's rules want one of the two
            worker = spec.worker
            return (self.interpreter, *_RUN_SCRIPTS, worker.scripts, worker.pattern)
        words = spec.process.command
        return (self.interpreter, *words[1:]) if words[:1] == ["python"] else tuple(words)

    def _own_directory(self, kind: str, workload: str) -> Path:
        path = self.data_dir / kind / workload
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise Transient(f"cannot make directory {path}: {error.strerror}") from error
        return path


def _secret_variables(spec: WorkloadSpec, values: Mapping[str, bytes]) -> dict[str, str]:
    if not values:
        return {}
    try:
        return environment_of(spec, values)
    except ValueError as error:
        raise InvalidInput(
            f"cannot start workload «{spec.name}»: secret «{error}» is no text, so it cannot be a variable: use «file»"
        ) from error


def _for_module(env: dict[str, str]) -> dict[str, str]:
    """Behind a prefix: the runner hands these on and heeds none of them itself."""
    return {f"{VARIABLE}{name}": value for name, value in env.items()}


def _with_directories(allow: Allow, directories: list[str]) -> Allow:
    """A module's directories need no grant of their own."""
    reads = [each.partition(":")[0] for each in directories if each.endswith(":ro")]
    writes = [each.partition(":")[0] for each in directories if not each.endswith(":ro")]
    return msgspec.structs.replace(allow, read=[*allow.read, *reads], write=[*allow.write, *writes])


def _scripts(worker: WorkerSpec | None, *, inside: bool) -> dict[str, str]:
    if worker is None:
        return {}
    return {"SKERRY_SCRIPTS": SCRIPTS_INSIDE if inside else worker.scripts}


def _with_scripts(container: ContainerSpec, worker: WorkerSpec | None) -> ContainerSpec:
    if worker is None:
        return container
    mounted = f"{worker.scripts}:{SCRIPTS_INSIDE}:ro"
    return msgspec.structs.replace(container, volumes=[*container.volumes, mounted])


def _limits(resources: Resources) -> dict[str, int]:
    """What is a limit of each process; those of the whole workload are the runtime's."""
    limits = {
        "RLIMIT_NOFILE": resources.open_files,
        # Its directory is measured now and then; no single file passes the limit in between.
        "RLIMIT_FSIZE": resources.storage,
    }
    return {name: value for name, value in limits.items() if value is not None}
