"""The workers of this device's environment as a workload that the device wants by itself: `node.twin_ports.DeviceWorkloads`.

There is one as long as `<configuration directory>/workers` has a script: before that no image is fetched. What happens
when scripts change is the affair of `workloads.workers`, as for any worker group.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from skerry.core.cyberwave.knobs import Knobs, knobs_of
from skerry.core.cyberwave.names import is_uuid, worker_container
from skerry.kit.bell import Bell, Rings
from skerry.kit.clock import NS, Clock
from skerry.kit.directory_watch import DirectoryWatch
from skerry.kit.disk import Disk
from skerry.kit.errors import SkerryError, Transient
from skerry.kit.own_hosts import LOOPBACK
from skerry.node.contracts.cyberwave import SharedMemory, Surroundings, bus_inside
from skerry.node.contracts.cyberwave_worker import (
    CREDENTIALS,
    STATUS_FILE,
    WORKER_PREFIX,
    Places,
    WorkerPlan,
    images,
    prefix_of,
    worker_launch,
    worker_spec,
)
from skerry.node.device_workloads import LaunchFor, own_assignment
from skerry.node.drivers.limits import DriverLimits
from skerry.node.drivers.refreshing import Refreshes
from skerry.node.drivers.views import Views, mode_of
from skerry.node.drivers.worker_models import MANIFEST, linked, mounted
from skerry.node.ports import Launch
from skerry.node.twin_ports import DeviceConfig, Grant, Tokens
from skerry.wire.workload import Assignment, Resources

SCRIPTS = "workers"

LOOK_EVERY = 15.0
"""Seconds, whether or not anything was noticed."""

TRY_AGAIN = 3600.0
"""Seconds after which an image that could not be had is tried again: a registry is away for a day, an image is made later."""

AFTER_RESTART = 60.0
"""Seconds after a restart on purpose: that itself does not wait for a registry."""

GONE_FOR = 5.0
"""Seconds for which there must be no script before the worker is ended: who copies files may remove them first."""

log = logging.getLogger(__name__)


class WorkerSources(msgspec.Struct, frozen=True):
    """Where what is wanted comes from.

    `twins` are those that this device serves, `workflows` those of its twins. `command` is what runs the workers on the
    device itself; empty: a container does. `gpus` asks the engine whether it can give any, `gpu_problem` is why it could not after
    all, `image_problem` why an image cannot be had. `running` are the assignments of this device's workloads as they were started, by name. `barred` says why
    nothing may be started; empty: it may. `router` is the Zenoh router's endpoint on the device; empty: there is none.
    `waits` says why the workers are not started yet, `held` why they are to be down; empty: they are, they are not.
    """

    config: Callable[[], DeviceConfig]
    twins: Callable[[], Sequence[str]]
    workflows: Callable[[], Sequence[str]]
    gpus: Callable[[], Awaitable[bool]]
    image_problem: Callable[[str], str]
    gpu_problem: Callable[[], str]
    running: Callable[[], Mapping[str, Assignment]]
    barred: Callable[[], str]
    router: Callable[[], str] = str
    waits: Callable[[], str] = str
    held: Callable[[], str] = str
    command: tuple[str, ...] = ()


class WorkerPlaces(msgspec.Struct, frozen=True):
    """Where things are. `views` and `models` are each made below a directory of their own; `bus` is where programs exchange files.

    `secrets_at` says where files of an instance lie that only memory holds: (workload, instance). `limits` are what
    it is held to, by the device's variables.
    """

    directory: Path
    status: Path
    views: Path
    models: Path
    bus: Path
    secrets_at: Callable[[str, str], Path]
    rest_port: int
    mqtt_port: int
    system: str = "linux"
    limits: Callable[[Mapping[str, str]], DriverLimits] = lambda _: DriverLimits()
    shared: SharedMemory | None = None


class WorkerWorkloads:
    """`look` comes before anything asks, `follow` runs as long as the agent.

    `changes` are the bells that ring when an answer of `sources` may be another. `usual` makes the launch of any workload.
    """

    def __init__(  # noqa: PLR0913 - everything that it is made of
        self,
        sources: WorkerSources,
        places: WorkerPlaces,
        tokens: Tokens,
        usual: LaunchFor,
        changes: Sequence[Bell],
        *,
        disk: Disk,
        clock: Clock,
    ) -> None:
        self.told = Bell()
        self._sources = sources
        self._places = places
        self._tokens = tokens
        self._usual = usual
        self._changes = changes
        self._disk = disk
        self._clock = clock
        self._wanted: Assignment | None = None
        self._held = ""
        self._told = "", ""
        self._refreshes = Refreshes(sources.running)
        self._bell = Bell()
        self._watch = DirectoryWatch(self._bell)
        self._seen_at: int | None = None
        self._views = Views(places.views, places.directory, places.bus, disk)
        self._gpu: bool | None = None
        self._granted: dict[str, tuple[str, Grant]] = {}
        """By instance, with its token."""
        self._plain: dict[str, int] = {}
        """Images that could not be had, and when that was."""

    async def hold(self, why: str) -> None:
        """The workers are to be down from now on; an empty `why`: not any more. What could not be had is tried again soon."""
        if why:
            self._gpu = None
            self._bell.ring()
            if not self._held:
                self._refreshes.order_all()
        else:
            soon = self._clock.monotonic_ns() - int((TRY_AGAIN - AFTER_RESTART) * NS)
            self._plain = dict.fromkeys(self._plain, soon)
        self._held = why
        self.told.ring()

    def names(self) -> Collection[str]:
        """The workload, if there is one."""
        return [] if self._wanted is None else [self._wanted.workload]

    def wanted(self) -> Sequence[Assignment]:
        if self._wanted is None:
            return []
        held = self._held or self._sources.held()
        local = msgspec.structs.replace(
            self._wanted.local,
            stopped=bool(held),
            held=held,
            waits=self._sources.waits(),  # as it is now: a look at scripts and engine may take a while
            refreshes=self._refreshes.of(self._wanted),
        )
        return [msgspec.structs.replace(self._wanted, local=local)]

    def is_local(self, workload: str) -> bool:  # noqa: ARG002 - people at the hub look after workers
        return False

    def launch_for(self, assignment: Assignment, instance: str) -> Launch | None:
        if not assignment.workload.startswith(WORKER_PREFIX):
            return None
        token = self._admit(assignment, instance)
        base = self._usual(assignment, instance)
        credentials = self._places.secrets_at(assignment.workload, instance) / CREDENTIALS
        files = self._twin_files(assignment)
        names, name = [str(file) for file in files], assignment.workload
        twins = _twins_of(assignment)
        if assignment.spec.container is None:
            view = self._views.linked(name, names, twins, credentials)
        else:
            self._views.made(name, names, twins)
            view = self._views.place(name)
        bus = self._views.bus() if bus_inside(assignment.spec.env) else None
        shared = self._places.shared
        places = Places(
            view,
            self._status_place(assignment),
            credentials,
            *self._models(assignment, base.models),
            files,
            bus,
            shared,
            self._limits(),
        )
        return worker_launch(base, assignment.spec, places, token)

    def status_file(self, workload: str) -> Path:
        """Where the worker says how far it is."""
        return self._places.status / workload / STATUS_FILE

    async def follow(self, more: Sequence[Bell] = ()) -> None:
        """Looks whenever anything may have changed, for ever; `more` bells ring when it may wait for something else."""
        rings = Rings([self._bell, *self._changes, *more])
        try:
            while True:
                rings.note()
                await self._watch.watch([self._places.directory / SCRIPTS])
                await rings.next(self._clock, await self.look())
        finally:
            self._watch.close()

    async def look(self) -> float:
        """Finds out what is wanted now; returns after how many seconds to look again."""
        config, pause = self._sources.config(), LOOK_EVERY
        present = await asyncio.to_thread(_has_scripts, self._places.directory / SCRIPTS)
        now = self._clock.monotonic_ns()
        if present:
            self._seen_at = now
        elif present is not None and self._wanted is not None and self._seen_at is not None:
            left = GONE_FOR - (now - self._seen_at) / NS
            present, pause = left > 0, max(left, 0.01)
        wanted = None
        if present is None:
            wanted = self._known(config)
        elif present and config.environment:
            wanted = await self._decided(config)
        self._renew_grants()
        told = self._sources.waits(), self._sources.held()
        if (wanted, told) != (self._wanted, self._told):
            self._wanted, self._told = wanted, told
            self.told.ring()
        return pause

    async def _decided(self, config: DeviceConfig) -> Assignment | None:
        """None: nothing. While the engine cannot say whether it has GPUs, what runs goes on as it was started."""
        if self._sources.barred():
            return self._sources.running().get(worker_container(config.environment))
        if self._sources.command:
            return self._assignment(config, gpu=False)
        if self._gpu is None:
            try:
                self._gpu = await self._sources.gpus()
            except SkerryError:
                return self._known(config) or self._assignment(config, gpu=False)
        if self._gpu and (problem := self._sources.gpu_problem()):
            log.warning(
                "%s; the workers run without GPUs until the next start of everything", problem
            )
            self._gpu = False
        return self._assignment(config, gpu=self._gpu)

    def _known(self, config: DeviceConfig) -> Assignment | None:
        """What is wanted while it cannot be decided."""
        return self._wanted or self._sources.running().get(worker_container(config.environment))

    def _assignment(self, config: DeviceConfig, *, gpu: bool) -> Assignment:
        sources, places, knobs = self._sources, self._places, knobs_of(config.variables)
        image = "" if sources.command else self._image(knobs, gpu=gpu)
        around = Surroundings(
            f"http://127.0.0.1:{places.rest_port}",
            LOOPBACK,
            places.mqtt_port,
            knobs.environment,
            config.variables,
            sources.router(),
            places.system,
        )
        plan = WorkerPlan(
            config.environment,
            tuple(sorted(sources.twins())),
            str(places.directory / SCRIPTS),
            around,
            knobs,
            image,
            sources.command,
            "" if sources.command else _owner(places.directory),
            gpu,
        )
        spec = worker_spec(plan)
        bus = str(places.bus) if bus_inside(spec.env) else ""
        return own_assignment(spec, bus, str(self._limits()))

    def _limits(self) -> Resources:
        limits = self._places.limits(self._sources.config().variables)
        return Resources(memory=limits.memory or None, pids=limits.pids or None)

    def _image(self, knobs: Knobs, *, gpu: bool) -> str:
        """The first one that can be had, as far as that is known. What runs goes on while another one is tried again."""
        tried, now = images(knobs, gpu=gpu), self._clock.monotonic_ns()
        self._plain = {
            image: since for image, since in self._plain.items() if now - since < TRY_AGAIN * NS
        }
        for image, following in itertools.pairwise(tried):
            if image not in self._plain and (problem := self._sources.image_problem(image)):
                log.warning("%s; the workers run from %s", problem, following)
                self._plain[image] = now
        return next((one for one in tried if one not in self._plain), tried[-1])

    def _admit(self, assignment: Assignment, instance: str) -> str:
        """The instance's token, good for what the assignment says, and for the workflows that there are now."""
        env = assignment.spec.env
        grant = Grant(
            "worker",
            assignment.workload,
            _twins_of(assignment),
            env["CYBERWAVE_ENVIRONMENT_UUID"],
            tuple(self._sources.workflows()),
            prefix_of(assignment.spec),
        )
        try:
            token = self._tokens.give(instance, grant)
        except OSError as error:
            raise Transient(f"cannot write the token of the workers: {error.strerror}") from error
        self._granted[instance] = token, grant
        return token

    def _renew_grants(self) -> None:
        """Workflows come and go while a worker runs; what has ended gets nothing any more."""
        workflows = tuple(self._sources.workflows())
        for instance, (token, grant) in list(self._granted.items()):
            if self._tokens.grant_of(token) is None:
                del self._granted[instance]
            elif grant.workflows != workflows:
                renewed = msgspec.structs.replace(grant, workflows=workflows)
                try:
                    self._granted[instance] = self._tokens.give(instance, renewed), renewed
                except OSError as error:
                    log.warning("cannot tell of workflows, trying again: %s", error)

    def _twin_files(self, assignment: Assignment) -> tuple[Path, ...]:
        twins = filter(is_uuid, _twins_of(assignment))
        files = [self._places.directory / f"{twin}.json" for twin in twins]
        return tuple(file for file in files if stat.S_ISREG(mode_of(file)))

    def _status_place(self, assignment: Assignment) -> Path:
        """A directory of the worker's own, in which its user may write."""
        path, owner = self._places.status / assignment.workload, _user_of(assignment)
        try:
            if not path.is_dir():
                self._disk.make_directory("worker.status", path)
            if owner:
                os.chown(path, *owner, follow_symlinks=False)
        except OSError as error:
            raise Transient(f"cannot make directory {path}: {error.strerror}") from error
        return path

    def _models(self, assignment: Assignment, view: Path | None) -> tuple[Path, tuple[str, ...]]:
        """Where it looks for models, and what the node shows there of its own."""
        place = self._places.models / assignment.workload
        names = tuple(sorted(model.name for model in assignment.models))
        try:
            if assignment.spec.container is None:
                linked(place, names, view, self._disk)
            else:
                mounted(place, names, _user_of(assignment), self._disk)
        except OSError as error:
            raise Transient(f"cannot make directory {place}: {error.strerror}") from error
        return place, (*names, MANIFEST) if names else ()


def _twins_of(assignment: Assignment) -> tuple[str, ...]:
    return tuple(filter(None, assignment.spec.env.get("CYBERWAVE_TWIN_UUIDS", "").split(",")))


def _has_scripts(directory: Path) -> bool | None:
    """None: it cannot be told."""
    try:
        names = [path.name for path in directory.iterdir() if path.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        log.warning("cannot look for workers, what runs goes on: %s", error)
        return None
    return any(name.endswith(".py") and not name.startswith(("_", ".")) for name in names)


def _user_of(assignment: Assignment) -> tuple[int, int] | None:
    """As whom its container runs; None: files for it belong to the agent's user."""
    container = assignment.spec.container
    if container is None or not container.user or os.geteuid():
        return None
    user, _, group = container.user.partition(":")
    return int(user), int(group)


def _owner(directory: Path) -> str:
    found = directory.stat()
    return f"{found.st_uid}:{found.st_gid}"
