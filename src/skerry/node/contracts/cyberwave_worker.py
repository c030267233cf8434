"""The workers of an environment as a workload: image, limits, mounts and variables of the one container, or of the process. Pure.

What edge-core gives its worker container, on a worker group of this node: `<configuration directory>/workers` are its scripts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

from skerry.core.cyberwave.knobs import Knobs
from skerry.core.cyberwave.names import said_prefix, worker_container
from skerry.node.contracts.cyberwave import (
    CONFIG_INSIDE,
    LISTENING,
    MEMORY_INSIDE,
    MODELS_INSIDE,
    STATUS_INSIDE,
    SharedMemory,
    Surroundings,
    WorkerFacts,
    bus_inside,
    worker_environment,
)
from skerry.node.ports import ContainerExtras, ContainerLaunch, Launch, ProcessLaunch
from skerry.wire.workload import (
    ContainerSpec,
    ProcessSpec,
    Resources,
    Restart,
    Stop,
    WorkerSpec,
    WorkloadSpec,
)

REPOSITORY = "cyberwaveos/edge-ml-worker"
GPU_SUFFIX = "-gpu"

STATUS_FILE = "worker-status.json"
CREDENTIALS = "credentials.json"
KEY = "CYBERWAVE_API_KEY"

WORKER_PREFIX = "cyberwave-worker-"
"""What the workload and its container are called first."""

PERIOD = 100_000
"""Microseconds of the period that a limit of processors is a share of."""

BREAKER = Restart(delay=0.5, max_delay=30.0, attempts=7, window=300.0, counts="exits")
"""«More than 5 restarts within 5 minutes»: the sixth is made, the next one waits until the window is over."""

_STOP = Stop(grace=5.0)


class WorkerPlan(msgspec.Struct, frozen=True):
    """What the workers of an environment (its UUID) are to run as: in `image`, or where that is empty by `command`.

    `user` is «UID:GID», `scripts` their directory. `around` is how they reach this node.
    """

    environment: str
    twins: tuple[str, ...]
    scripts: str
    around: Surroundings
    knobs: Knobs
    image: str = ""
    command: tuple[str, ...] = ()
    user: str = ""
    gpu: bool = False

    @property
    def name(self) -> str:
        """The workload's, and the container's."""
        return worker_container(self.environment)


class Places(msgspec.Struct, frozen=True):
    """What of the device an instance is given: a view of the configuration directory, the directory of its status, its credentials.

    `models` is where it looks for models and may put more; `fetched` names those that the node has, with their manifest.
    `files` are those of its twins; in a container they are mounted into the view. `bus`: the data bus, if it is made of files.
    `shared` is the memory that its containers share: the device's own /dev/shm has the node's secrets in it. `limits` of memory
    and processes hold where the spec has none: what it has is a reservation, too.
    """

    view: Path
    status: Path
    credentials: Path
    models: Path
    fetched: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    bus: Path | None = None
    shared: SharedMemory | None = None
    limits: Resources = Resources()


def images(knobs: Knobs, *, gpu: bool) -> tuple[str, ...]:
    """Which images are tried, in their order."""
    image = knobs.worker_image or f"{REPOSITORY}:{knobs.environment or 'latest'}"
    has_one = image.endswith((GPU_SUFFIX, "-jetson"))
    if gpu and image.startswith(f"{REPOSITORY}:") and not has_one:
        return f"{image}{GPU_SUFFIX}", image
    return (image,)


def worker_spec(plan: WorkerPlan) -> WorkloadSpec:
    """The workload. All that a start is made of is in it, but for the instance's token."""
    facts = WorkerFacts(plan.environment, "", plan.twins)
    environment = worker_environment(plan.around, facts)
    native = not plan.image
    if native:
        environment |= {"CYBERWAVE_WORKERS_DIR": plan.scripts}
    cpu = plan.knobs.worker_cpu
    return WorkloadSpec(
        name=plan.name,
        runtime="process" if native else "container",
        process=ProcessSpec(command=list(plan.command)) if native else None,
        container=None if native else _container(plan),
        worker=WorkerSpec(scripts=plan.scripts, models="wish"),
        env=environment,
        resources=Resources(
            cpu=None if cpu is None else cpu / 100,
            memory=plan.knobs.worker_memory,
        ),
        restart=BREAKER,
        stop=_STOP,
    )


def worker_launch(base: Launch, spec: WorkloadSpec, places: Places, token: str) -> Launch:
    """The launch of an instance, made of the usual one: Cyberwave's variables and mounts in the place of Skerry's."""
    environment = {KEY: token, **spec.env}
    common: dict[str, object] = {
        "log_rules": base.log_rules.with_secrets([*base.log_rules.secrets, token]),
        "secret_files": {CREDENTIALS: _credentials(environment)},
    }
    if isinstance(base, ProcessLaunch):
        own = {name: base.environment[name] for name in ("HOME", "PATH", "LANG")}
        found = {
            "CYBERWAVE_EDGE_CONFIG_DIR": str(places.view),
            "CYBERWAVE_WORKER_STATUS_PATH": str(places.status / STATUS_FILE),
            "CYBERWAVE_MODEL_DIR": str(places.models),
            "PYTHONDONTWRITEBYTECODE": "1",  # what is beside the scripts is their owner's
        }
        if places.bus is not None:
            found["CYBERWAVE_DATA_DIR"] = str(places.bus)
        given = places.credentials.parent
        return replace(
            base,
            environment={**own, **environment, **found},
            resources=_bounded(base.resources, places.limits),
            secrets=given,
            **common,
        )
    if not isinstance(base, ContainerLaunch):
        raise TypeError(f"{base} is neither a process nor a container")
    mounts = [
        _mount(places.view, CONFIG_INSIDE),
        *(_mount(file, f"{CONFIG_INSIDE}/{file.name}") for file in places.files),
        _mount(places.credentials, f"{CONFIG_INSIDE}/{CREDENTIALS}"),
        _mount(places.status, STATUS_INSIDE, writable=True),
        _mount(places.models, MODELS_INSIDE, writable=True),
    ]
    if places.bus is not None:
        mounts.append(_mount(places.bus, bus_inside(environment), writable=True))
    if base.models is not None:
        mounts += [_mount(base.models / name, f"{MODELS_INSIDE}/{name}") for name in places.fetched]
    shared = places.shared if environment.get("ZENOH_SHARED_MEMORY") == "true" else None
    if shared is not None:
        mounts.append(_mount(shared.path, MEMORY_INSIDE, writable=True))
    extras = ContainerExtras(
        name=spec.name,
        otherwise=f"{WORKER_PREFIX}{spec.env['CYBERWAVE_ENVIRONMENT_UUID']}",
        host=_host(spec, mounts, shared.limits if shared else []),
    )
    # Its token says what it may speak for; Skerry's socket would say more.
    return replace(
        base,
        environment=environment,
        extras=extras,
        resources=_bounded(base.resources, places.limits),
        models=None,
        socket=None,
        **common,
    )


def _bounded(said: Resources, limits: Resources) -> Resources:
    return replace(said, memory=said.memory or limits.memory, pids=said.pids or limits.pids)


def prefix_of(spec: WorkloadSpec) -> str:
    """What its topics begin with."""
    return said_prefix(spec.env)


def _container(plan: WorkerPlan) -> ContainerSpec:
    return ContainerSpec(
        image=plan.image,
        network="host",
        user=plan.user or None,
        gpus="all" if plan.gpu else None,
        cap_drop=[LISTENING],
    )


def _mount(source: Path, target: str, *, writable: bool = False) -> dict[str, object]:
    """An engine refuses a mount whose source is not there, and makes none."""
    return {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": not writable}


def _host(
    spec: WorkloadSpec, mounts: list[dict[str, object]], limits: list[dict[str, object]]
) -> dict[str, object]:
    # Until Python has set its handlers, which takes seconds here, the first process of a container would not end.
    host: dict[str, object] = {"Mounts": mounts, "Ulimits": limits, "Init": True}
    if spec.resources.cpu is not None:
        host |= {"CpuPeriod": PERIOD, "CpuQuota": round(spec.resources.cpu * PERIOD)}
    return host


def _credentials(environment: Mapping[str, str]) -> bytes:
    """What a worker that reads the configuration directory finds there: its own token, never the device's."""
    envs = {name: value for name, value in environment.items() if name.startswith("CYBERWAVE_")}
    token = envs.pop(KEY)
    return msgspec.json.encode({"token": token, "envs": envs})
