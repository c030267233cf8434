"""Workloads as desired (spec, assignment) and as they are (status). Reference: docs/reference/workload.md.

Durations are seconds and sizes are bytes here; `core.specs` turns what people write into these values
and is the only place that fills in names, checks ranges and reports lines.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from skerry.wire.inventory import Inventory
from skerry.wire.models import ModelSpec
from skerry.wire.secrets import SealedSecret, SecretUse

Phase = Literal[
    "pending",    # waits: for a dependency, for the hub's needs, or for its turn
    "starting",   # the process is being made
    "running",    # the process lives
    "stopping",   # asked to end, grace period runs
    "backoff",    # ended, will be started again at next_start_at
    "tripped",    # failed too often; half-opens at next_start_at
    "succeeded",  # ended with code 0 and is not to be started again
    "failed",     # ended otherwise and is not to be started again
    "stopped",    # ended on purpose (on_disconnect, node stop --workloads)
]  # fmt: skip
Dependency = Literal["running", "ready", "succeeded"]
RuntimeName = Literal["process", "container", "wasm"]
Isolation = Literal["standard", "strict"]
Level = Literal["debug", "info", "warning", "error", "critical"]
"""Levels of log lines, the mildest first."""
Shipped = Literal["all", "debug", "info", "warning", "error", "critical"]
StreamClass = Literal["keep", "sample"]


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Common form of the parts of a spec."""


class Selector(_Part, frozen=True):
    """Which nodes: one by name, or all that have every label; neither means every node."""

    node: str | None = None
    labels: dict[str, str] = {}


class ProcessSpec(_Part, frozen=True):
    """A native process. `python` as first word means the node's own interpreter."""

    command: list[str]
    directory: str | None = None


class ContainerSpec(_Part, frozen=True):
    """A container of a Docker or Podman engine. None leaves a thing as the image or the engine has it.

    `volumes` are «SOURCE:/PATH[:ro]», SOURCE an absolute path of the node or a volume's name; `devices` are
    «/dev/NODE[:/dev/INSIDE]». `pull_secret` names a secret «USER:PASSWORD» for the image's registry.
    """

    image: str
    entrypoint: list[str] | None = None
    command: list[str] | None = None
    directory: str | None = None
    pull: Literal["missing", "always", "never"] = "missing"
    network: str | None = None
    user: str | None = None
    read_only: bool = False
    privileged: bool = False
    cap_add: list[str] = []
    cap_drop: list[str] = []
    volumes: list[str] = []
    devices: list[str] = []
    gpus: Literal["all"] | int | None = None
    pull_secret: str | None = None


class WasmSpec(_Part, frozen=True):
    """A WebAssembly module, run by `skerry.runners.wasm`. Reference: docs/reference/wasm.md.

    `module` is absolute, or relative to the workload's own directory; `directories` are
    «/on/the/node:/inside[:ro]». `deadline` is in seconds.
    """

    module: str
    args: list[str] = []
    directories: list[str] = []
    mode: Literal["once", "worker", "on-record"] = "once"
    input: str | None = None
    output: Literal["log", "records"] = "log"
    deadline: float | None = None
    fuel: int | None = None


class WorkerSpec(_Part, frozen=True):
    """A directory of scripts that one process or container runs and that is watched. docs/reference/workers.md.

    `scripts` is an absolute path on the node, `pattern` names its files that count. `reload_delay` is the
    shortest time in seconds between two automatic restarts. `models`: whether it waits for the models that it names also when
    they cannot be had.
    """

    scripts: str
    pattern: str = "*.py"
    reload_delay: float = 10.0
    models: Literal["need", "wish"] = "need"


class Resources(_Part, frozen=True):
    """Limits of one workload. Which of them a runtime enforces: docs/reference/workload.md.

    `memory` and `storage` (of its own directory) are in bytes, `cpu` in processors. `unattended_restart` lets the engine restart a container while
    the agent is away.
    """

    cpu: float | None = None
    memory: int | None = None
    open_files: int | None = None
    pids: int | None = None
    storage: int | None = None
    unattended_restart: bool = False


class Allow(_Part, frozen=True):
    """What `isolation: strict` grants a native process beyond its own files: absolute paths, and a way out.

    `connect` are TCP ports, `network` is all that the device itself reaches.
    """

    read: list[str] = []
    write: list[str] = []
    connect: list[int] = []
    network: bool = False


class Restart(_Part, frozen=True):
    """What follows an exit. First restart at once, then `delay` × 2ⁿ up to `max_delay`.

    After `attempts` failures within `window` seconds the breaker opens: nothing is started until
    `window` has passed, then one try (half-open). A life of `reset_after` seconds forgets all failures. `counts` says
    whether an exit with code 0 is one, too, for programs that are not meant to end.
    """

    policy: Literal["never", "on-failure", "always"] = "always"
    delay: float = 0.5
    max_delay: float = 300.0
    reset_after: float = 60.0
    attempts: int = 10
    window: float = 600.0
    counts: Literal["failures", "exits"] = "failures"


class Stop(_Part, frozen=True):
    """How a workload is ended: `signal` to the whole group, `grace` seconds, SIGKILL."""

    signal: Literal["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"] = "SIGTERM"
    grace: float = 10.0


class Ready(_Part, frozen=True):
    """When a running workload counts as ready: exactly one of the five probes; `health` is the container's own check."""

    exec: list[str] | None = None
    http: str | None = None
    tcp: int | None = None
    value: str | None = None
    health: bool | None = None
    interval: float = 1.0
    timeout: float = 5.0


class OnDisconnect(_Part, frozen=True):
    """What an outage means: nothing (`stop_after` is None), or stop after so many seconds without the hub."""

    stop_after: float | None = None


class Logs(_Part, frozen=True):
    """Rotation: `files` files of at most `max_size` bytes each, none older than `max_age` seconds.

    `redact` are patterns of what is masked besides secrets; `redact_secrets` masks those (`keeper.masks`).
    `ship`: the lines of this level and above, or all, are sent to the hub as records.
    """

    max_size: int = 10_000_000
    files: int = 3
    max_age: float | None = None
    redact: list[str] = []
    redact_secrets: bool = True
    ship: Shipped | None = None


class Update(_Part, frozen=True):
    """How a change reaches the nodes: `max_unavailable` of them at a time, a number or a share («25%»); None: all at once.

    A node counts as done after `min_healthy` seconds of being as wanted, as failed when that is not so within
    `healthy_within` seconds. A workload may hold an update up for `lock_at_most` seconds; 0: not at all.
    """

    max_unavailable: int | str | None = None
    min_healthy: float = 10.0
    healthy_within: float = 600.0
    pause_on_failure: bool = True
    lock_at_most: float = 600.0
    strategy: Literal["recreate", "overlap"] = "recreate"
    """On each node: the old instance ends before its successor starts, or only once that one is ready."""
    ready_within: float = 300.0
    """With `overlap`, seconds that the successor's probe has to succeed."""


class Override(_Part, frozen=True):
    """What differs on the nodes that `on` means. `fields` are a part of a spec as it travels (seconds, bytes).

    `core.overrides` judges and merges them.
    """

    on: Selector
    fields: dict[str, object] = {}


class WorkloadSpec(_Part, frozen=True):
    """One workload as desired: the section that `runtime` names is there, the others are not.

    `worker` comes besides; with it the section `process` may be left out.
    Field by field: docs/reference/workload.md.
    """

    name: str
    process: ProcessSpec | None = None
    container: ContainerSpec | None = None
    wasm: WasmSpec | None = None
    worker: WorkerSpec | None = None
    on: Selector = Selector()
    runtime: RuntimeName = "process"
    env: dict[str, str] = {}
    resources: Resources = Resources()
    isolation: Isolation = "standard"
    allow: Allow = Allow()
    restart: Restart = Restart()
    stop: Stop = Stop()
    ready: Ready | None = None
    depends_on: dict[str, Dependency] = {}
    on_disconnect: OnDisconnect = OnDisconnect()
    streams: dict[str, StreamClass] = {}
    logs: Logs = Logs()
    models: list[str] = []
    secrets: list[SecretUse] = []
    update: Update = Update()
    overrides: list[Override] = []

    @property
    def probe(self) -> Ready | None:
        """How readiness is judged: a container that says nothing about it, by the health check of its image if it has one."""
        if self.ready is None and self.container is not None:
            return Ready(health=True)
        return self.ready


def own_directory_limit(spec: WorkloadSpec) -> int | None:
    """What a workload's own directory may hold. A container has none: what it writes lies with its engine."""
    return spec.resources.storage if spec.container is None else None


class Generation(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Order of intent. `epoch` rises when the hub was restored, `n` with each change; compared in this order."""

    epoch: int
    n: int


class LocalIntent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the device itself adds to an assignment; the hub leaves it empty.

    A higher `reloads` than last time asks for a restart. `stopped`: a person at the device wants it down.
    `models` are those that its scripts load. `held`: why the device itself wants it down, which stands in its status
    then. `recipe` is what a contract of this device makes a start of besides the spec: another one, another instance.
    `waits`: why it is not started yet; what runs goes on. `refreshes`: None: its image is fetched as the spec says; a
    higher number than last time: a newer one is looked for before it is started, and one that is here serves where the
    registry gives none soon.
    """

    reloads: int = 0
    stopped: bool = False
    models: list[str] = []
    held: str = ""
    recipe: str = ""
    waits: str = ""
    refreshes: int | None = None


class Assignment(msgspec.Struct, frozen=True):
    """What the hub wants of one node for one workload. A higher `restarts` than last time asks for a restart.

    `models` and `secrets` are those that the spec names, as they are now: when one changes, the assignment does.
    """

    workload: str
    generation: Generation
    spec: WorkloadSpec
    restarts: int = 0
    models: list[ModelSpec] = []
    secrets: list[SealedSecret] = []
    local: LocalIntent = LocalIntent()


class Exit(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an instance ended. `code` and `signal` None: unknown, because its parent was gone.

    `reason` names what is known besides: "out of memory" by its runtime, "memory of the node" or "storage" when
    the node ended it for a limit.
    """

    code: int | None = None
    signal: int | None = None
    at: int = 0
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Ended by itself with code 0."""
        return self.code == 0 and not self.reason

    def __str__(self) -> str:
        """For people: «code 1», «signal 9 (out of memory)», «unknown»."""
        how = "unknown" if self.code is None else f"code {self.code}"
        if self.signal is not None:
            how = f"signal {self.signal}"
        return f"{how} ({self.reason})" if self.reason else how


class WorkloadStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """A workload as it is on one node. Times are nanoseconds since 1970.

    `restarts` counts the starts that nobody asked for since it was last started on purpose or by a reboot.
    `isolation` says what keeps the running instance from the rest of the device; empty while none runs. Until
    `locked_until` at the latest, the workload itself holds up changes. The change of `failed_generation` was tried beside
    what runs, and failed.
    """

    workload: str
    generation: Generation
    phase: Phase
    since: int
    ready: bool = False
    restarts: int = 0
    pid: int | None = None
    exit: Exit | None = None
    next_start_at: int | None = None
    message: str = ""
    isolation: str = ""
    locked_until: int | None = None
    failed_generation: Generation | None = None


class NodeInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node about itself. `secrets_key` is the public key that its secrets are to be sealed to, once it needs one.

    `fingerprint` is the device's name among Cyberwave's twins; empty: it serves none.
    """

    name: str
    labels: dict[str, str]
    version: str
    machine: str
    system: str
    python: str
    boot_id: str
    started_at: int
    inventory: Inventory | None = None
    secrets_key: bytes = b""
    fingerprint: str = ""
