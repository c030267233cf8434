"""From a driver's plan to its assignment, and from that to the launch of one instance.

An assignment holds all that a start is made of but the instance's token, so it tells by itself whether what runs is what
is wanted: the same after a restart of the agent, another with another image, option, address or child.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from skerry.core.cyberwave.run_options import RunOptions
from skerry.kit.errors import InvalidInput, Transient
from skerry.kit.own_hosts import LOOPBACK
from skerry.node.contracts.cyberwave import (
    CONFIG_INSIDE,
    LISTENING,
    MEMORY_INSIDE,
    DriverFacts,
    Surroundings,
    bus_inside,
    driver_environment,
    has_own_memory,
)
from skerry.node.drivers.device import Body, Device
from skerry.node.drivers.limits import DriverLimits
from skerry.node.drivers.plans import DriverPlan
from skerry.node.drivers.views import CREDENTIALS, LIBRARY, Views
from skerry.node.ports import ContainerExtras, ContainerLaunch, Launch, ProcessLaunch
from skerry.node.twin_ports import Grant, Tokens
from skerry.wire.codec import decode
from skerry.wire.workload import (
    Assignment,
    ContainerSpec,
    Generation,
    LocalIntent,
    Logs,
    ProcessSpec,
    Restart,
    Stop,
    WorkloadSpec,
)

log = logging.getLogger(__name__)

GENERATION = Generation(0, 1)
"""Of every assignment that is made here: what counts is what it holds."""

STOP_SECONDS = 5

RESTART = Restart(delay=0.5, max_delay=30.0, reset_after=10.0, attempts=1000, window=60.0)
"""The engine's own way, for what no engine restarts; who fails too often is `flapping`'s affair."""

PREFIX = "cyberwave-driver-"
"""What every driver's workload and container is called first."""

_INSIDE = "/app"


class Recipe(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a start is made of besides the spec; the files are those of its twins that were there.

    `prefix` is that of the topics that its tokens are good for; `bus` is where it exchanges files; `limits` are a native driver's.
    `at` is the address at which it reaches this device, whatever its variables say; empty: the loopback.
    """

    twin: str
    children: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    environment: str = ""
    host: Body = {}
    config: Body = {}
    prefix: str = ""
    bus: str = ""
    limits: DriverLimits = DriverLimits()
    at: str = ""

    @property
    def twins(self) -> tuple[str, ...]:
        """Its own, and its cameras."""
        return (self.twin, *self.children)


def assignment_of(plan: DriverPlan, device: Device, files: Sequence[str]) -> Assignment:
    """`files` are the paths of the twins' files that are there, the driver's own first."""
    native = bool(plan.driver.command)
    own = next((file for file in files if Path(file).stem == plan.twin), "")
    environment = driver_environment(
        _surroundings(plan, device), _facts(plan, device, own), plan.variables
    )
    options = plan.options
    recipe = Recipe(
        plan.twin,
        plan.children,
        tuple(files),
        device.config.environment,
        {} if native else _host(plan, device, environment),
        {} if native else {**options.config, "StopTimeout": STOP_SECONDS},
        device.topic_prefix,
        str(device.bus) if bus_inside(environment) else "",
        device.limits if native else DriverLimits(),
        "" if device.system != "linux" or plan.host == LOOPBACK else plan.host,
    )
    spec = WorkloadSpec(
        name=plan.name,
        runtime="process" if native else "container",
        process=ProcessSpec(command=list(plan.driver.command)) if native else None,
        container=None if native else _container(plan),
        env={name: value for name, value in environment.items() if name not in _LATE or name in plan.variables},
        restart=RESTART,
        stop=Stop(grace=float(STOP_SECONDS)),
        logs=Logs(ship="all"),
    )  # fmt: skip
    made = msgspec.json.encode(recipe, order="sorted").decode()
    return Assignment(plan.name, GENERATION, spec, local=LocalIntent(recipe=made))


def recipe_of(assignment: Assignment) -> Recipe:
    """Raises InvalidInput for an assignment that was not made here."""
    return decode(assignment.local.recipe.encode(), Recipe, f"driver «{assignment.workload}»")


def grant_of(assignment: Assignment) -> Grant:
    """What the tokens of its instances are good for."""
    recipe = recipe_of(assignment)
    name, environment = assignment.workload, recipe.environment
    return Grant("driver", name, recipe.twins, environment, prefix=recipe.prefix)


class Launches:
    """`usual` makes the launch of any workload. `secrets_at` says where files of an instance lie that only memory holds: (workload, instance).

    `take_log` is told who is about to write in a log: (workload, twin); it raises Transient.
    """

    def __init__(
        self,
        usual: Callable[[Assignment, str], Launch],
        tokens: Tokens,
        views: Views,
        secrets_at: Callable[[str, str], Path],
        take_log: Callable[[str, str], object],
    ) -> None:
        self._usual = usual
        self._tokens = tokens
        self._views = views
        self._secrets_at = secrets_at
        self._take_log = take_log

    def expect(self, assignment: Assignment, held: Assignment | None) -> None:
        """It is wanted from now on, and its log tells of pulls before its launch. `held`: what runs under that name."""
        twin = recipe_of(assignment).twin
        if held is not None and recipe_of(held).twin != twin:
            return  # that one may still write: the log is taken at the launch
        try:
            self._take_log(assignment.workload, twin)
        except Transient as error:
            log.warning("%s; it is tried again at its start", error)

    def launch_for(self, assignment: Assignment, instance: str) -> Launch:
        """The launch of one instance of a driver. Raises Transient or InvalidInput."""
        recipe, base = recipe_of(assignment), self._usual(assignment, instance)
        self._views.check(assignment.workload, recipe.files)
        self._take_log(assignment.workload, recipe.twin)
        token = self._token(assignment, instance)
        own = {"CYBERWAVE_API_KEY": token} | assignment.spec.env
        secrets = self._secrets_at(assignment.workload, instance)
        credentials = _credentials(own)
        rules = base.log_rules
        common = {
            "log_rules": rules.with_secrets([*rules.secrets, token]),
            "secrets": secrets,
            "secret_files": {CREDENTIALS: credentials},
        }
        if isinstance(base, ContainerLaunch):
            extras = ContainerExtras(
                name=assignment.workload,
                otherwise=f"{PREFIX}{recipe.twin}",
                host=self._host(assignment, secrets),
                config=recipe.config,
            )
            # Its token says what it may speak for; Skerry's socket would say more.
            return replace(base, environment=own, extras=extras, socket=None, **common)
        if isinstance(base, ProcessLaunch):
            view = self._views.linked(
                assignment.workload, recipe.files, recipe.twins, secrets / CREDENTIALS
            )
            around = {name: base.environment[name] for name in ("HOME", "PATH", "LANG")}
            environment = around | own | {"CYBERWAVE_EDGE_CONFIG_DIR": str(view)}
            if bus_inside(own):
                environment["CYBERWAVE_DATA_DIR"] = str(self._views.bus())
            limits = recipe.limits
            own_limits = replace(
                base.resources, memory=limits.memory or None, pids=limits.pids or None
            )
            return replace(base, environment=environment, resources=own_limits, **common)
        raise InvalidInput(f"driver «{assignment.workload}» is neither a container nor a process")

    def _token(self, assignment: Assignment, instance: str) -> str:
        try:
            return self._tokens.give(instance, grant_of(assignment))
        except OSError as error:
            raise Transient(
                f"cannot start driver «{assignment.workload}»: its token cannot be written: {error.strerror}"
            ) from error

    def _host(self, assignment: Assignment, secrets: Path) -> Body:
        """With its files mounted; an engine refuses a mount whose source is not there, and makes none."""
        recipe, name = recipe_of(assignment), assignment.workload
        self._views.made(name, recipe.files, recipe.twins)
        own = [file for file in recipe.files if Path(file).stem == recipe.twin]
        mounts = [
            *(_mount(file, f"{_INSIDE}/{Path(file).name}", writable=True) for file in own),
            _mount(str(self._views.place(name)), CONFIG_INSIDE),
            *(_mount(file, f"{CONFIG_INSIDE}/{Path(file).name}") for file in recipe.files),
            _mount(str(secrets / CREDENTIALS), f"{CONFIG_INSIDE}/{CREDENTIALS}"),
        ]
        if _is_so101(assignment):
            library = _mount(
                str(self._views.library(name)), f"{CONFIG_INSIDE}/{LIBRARY}", writable=True
            )
            mounts.append(library)
        if inside := bus_inside(assignment.spec.env):
            mounts.append(_mount(str(self._views.bus()), inside, writable=True))
        return {**recipe.host, "Mounts": [*recipe.host.get("Mounts", []), *mounts]}


_LATE = frozenset({"CYBERWAVE_API_KEY"})
"""Given with each instance."""


def _surroundings(plan: DriverPlan, device: Device) -> Surroundings:
    host = f"[{plan.host}]" if ":" in plan.host else plan.host
    router = f"tcp/{host}:{device.router}" if device.router else ""
    return Surroundings(
        f"http://{host}:{device.rest_port}",
        plan.host,
        device.mqtt_port,
        device.environment,
        device.config.variables,
        router,
        device.system,
    )


def _facts(plan: DriverPlan, device: Device, own: str) -> DriverFacts:
    inside = own if plan.driver.command or not own else f"{_INSIDE}/{plan.twin}.json"
    video = device.config.video_device(plan.twin)
    return DriverFacts(plan.twin, "", plan.children, inside, video)


def _container(plan: DriverPlan) -> ContainerSpec:
    options = plan.options
    gpus = options.gpus
    return ContainerSpec(
        image=plan.driver.image,
        network=plan.network or None,
        privileged=options.privileged,
        gpus=None if not gpus else int(gpus) if gpus.isdecimal() else "all",
        cap_drop=[] if _hears_all(options) else [LISTENING],
    )


def _hears_all(options: RunOptions) -> bool:
    """Whether it asks for what its neighbours say on the network: only one that is trusted comes that far."""
    added = {name.upper().removeprefix("CAP_") for name in options.host.get("CapAdd", ())}
    return options.privileged or bool(added & {LISTENING, "ALL"})


def _host(plan: DriverPlan, device: Device, environment: Mapping[str, str]) -> Body:
    host: dict[str, object] = {
        **plan.options.host,
        **device.limits.beside(plan.options.host),
        "Init": True,
        "RestartPolicy": {"Name": "unless-stopped"},
    }
    shares = environment.get("ZENOH_SHARED_MEMORY") == "true"
    if device.shared is not None and shares and not has_own_memory(host):
        memory = _mount(str(device.shared.path), MEMORY_INSIDE, writable=True)
        host["Mounts"] = [*plan.options.host.get("Mounts", []), memory]
        host["Ulimits"] = [*device.shared.limits, *plan.options.host.get("Ulimits", [])]
    if device.system != "linux":
        more = plan.options.host.get("ExtraHosts", [])
        host["ExtraHosts"] = ["host.docker.internal:host-gateway", *more]
    return host


def _is_so101(assignment: Assignment) -> bool:
    """Cyberwave's own arms: the only drivers that have a directory of the device to write to."""
    container = assignment.spec.container
    return container is not None and "so101" in container.image.lower()


def _mount(source: str, target: str, *, writable: bool = False) -> Body:
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": not writable}


def _credentials(environment: Mapping[str, str]) -> bytes:
    """What a driver that reads the configuration directory finds there: its own token, never the device's."""
    envs = {name: value for name, value in environment.items() if name.startswith("CYBERWAVE_")}
    token = envs.pop("CYBERWAVE_API_KEY")
    return msgspec.json.encode({"token": token, "envs": envs})
