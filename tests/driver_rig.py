"""Twins with drivers, and a device that serves them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from skerry.core.cyberwave.drivers import Platform
from skerry.kit.bell import Bell
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Refused, Transient
from skerry.node.broker.granting import Granting
from skerry.node.contracts.native import NativeContract, log_path
from skerry.node.drivers.bridging import Run, run_command
from skerry.node.drivers.device import Device, Networks, Served
from skerry.node.drivers.launches import Launches
from skerry.node.drivers.log_owners import LogOwners
from skerry.node.drivers.plans import DriverPlan, Plans, planned
from skerry.node.drivers.views import Views
from skerry.node.drivers.wanted import DriverWorkloads, Sources
from skerry.node.ports import Launch
from skerry.node.twin_ports import DeviceConfig
from skerry.testing.manual_clock import ManualClock
from skerry.testing.no_secrets import no_secrets
from skerry.wire.workload import Assignment

DEVICE = "boat-7-0123456789ab"
ENVIRONMENT = "0e5d0c1e-0000-4000-8000-00000000000e"
ARM = "6f1f0c1e-0000-4000-8000-000000000001"
TWIN_OF_ARM = "6f1f0c1e-0000-4000-8000-0000000000ff"
CAMERA = "7a1f0c1e-0000-4000-8000-000000000002"
OTHER = "8b1f0c1e-0000-4000-8000-000000000003"
IMAGE = "example/arm-driver:1"
HERE = Path("/srv/nowhere")


def driver(image: str = IMAGE, *params: str) -> dict[str, object]:
    """An entry of `metadata.drivers`."""
    return {"docker_image": image, "params": list(params)}


def twin(uuid: str = ARM, *params: str, **metadata: object) -> Served:
    """A twin of this device; without other metadata with one driver that has these params."""
    drivers = {"drivers": {"default": driver(IMAGE, *params)}}
    body = {
        "name": f"twin {uuid[:4]}",
        "metadata": {"edge_fingerprint": DEVICE, **(metadata or drivers)},
    }
    return Served(uuid, body, {"registry_id": "example/arm"})


def camera(uuid: str = CAMERA, parent: str = ARM) -> Served:
    """A camera that is attached to another twin."""
    metadata = {
        "edge_fingerprint": DEVICE,
        "drivers": {"default": driver("example/camera-driver:1")},
    }
    body = {"name": "camera", "attach_to_twin_uuid": parent, "metadata": metadata}
    return Served(uuid, body, {"registry_id": "example/standard-cam"})


def device(directory: Path, *trusted: str, **variables: str) -> Device:
    """A Linux device whose configuration directory is below `directory`."""
    config = DeviceConfig(DEVICE, "cw_fleet", ENVIRONMENT, variables)
    return Device(
        config,
        Platform("Linux", "x86_64"),
        directory / "config",
        directory / "views",
        directory / "bus",
        [directory],
        trusted,
    )


def with_config(device_: Device, **changes: object) -> Device:
    """The device with another configuration."""
    return replace(device_, config=replace(device_.config, **changes))


def write_twins(directory: Path, served: Sequence[Served]) -> None:
    """Their files, as the node writes them."""
    (directory / "config").mkdir(exist_ok=True)
    for one in served:
        (directory / "config" / f"{one.uuid}.json").write_text(f'{{"uuid":"{one.uuid}"}}')


def plans(*served: Served, on: Device | None = None, **hosts: str) -> Plans:
    """A network without an address is one that the engine does not have."""
    known = {name: host for name, host in hosts.items() if host}
    refused = {name: f"has no network «{name}»" for name, host in hosts.items() if not host}
    return planned(served, on or device(HERE), Networks(known, refused))


def only(*served: Served, on: Device | None = None, **hosts: str) -> DriverPlan:
    """The plan of the only driver, about which nothing is to be said."""
    found = plans(*served, on=on, **hosts)
    assert not found.troubles
    (plan,) = found.drivers
    return plan


def trouble(*served: Served, on: Device | None = None, **hosts: str) -> str:
    """All that is to be said."""
    (found,) = plans(*served, on=on, **hosts).troubles
    return f"{found.kind}: {found.text}"


class Rig:
    """The drivers of a device in `directory`, whose twins are `served`; nothing is started."""

    def __init__(self, directory: Path, *served: Served, on: Device | None = None) -> None:
        self.directory = directory
        self.served = list(served)
        self.device = on or device(directory)
        self.gateways: dict[str, str] = {}
        self.reached: list[Collection[str]] = []
        self.engine = True
        self.tokens = Granting(b"secret", directory / "tokens", RealDisk())
        self.started: dict[str, Assignment] = {}
        self.barred = ""
        self.unreadable: set[str] = set()
        self.held: dict[str, str] = {}
        self.waits = self.problem = ""
        self.unreached: dict[str, str] = {}
        self.hold: Callable[[Assignment], str] = lambda wish: self.held.get(wish.workload, "")
        self.changed = Bell()
        self.clock = ManualClock()
        native = NativeContract(
            directory / "data", Path("/r"), "node", "python", no_secrets(), self.secrets_at
        )
        self.owners = LogOwners(partial(log_path, directory / "data"), self.clock, RealDisk())
        views = Views(directory / "views", self.device.directory, self.device.bus, RealDisk())
        self.launches = Launches(
            native.launch_for, self.tokens, views, self.secrets_at, self.owners.take
        )
        self.commands: list[list[str]] = []
        self.run: Run = run_command
        self.workloads = DriverWorkloads(
            self._sources(), self.launches, [self.changed], self.clock, self._run
        )

    def secrets_at(self, workload: str, instance: str) -> Path:
        """In the test's directory, not in memory."""
        return self.directory / "secrets" / workload / instance

    async def look(self) -> dict[str, Assignment]:
        """What is wanted now, whichever agent says so (`refreshes`)."""
        await self.workloads.look()
        return {
            one.workload: replace(one, local=replace(one.local, refreshes=None))
            for one in self.workloads.wanted()
        }

    async def refreshes(self, workload: str) -> int | None:
        """How often a newer image was asked for, now."""
        await self.workloads.look()
        return {one.workload: one for one in self.workloads.wanted()}[workload].local.refreshes

    async def launch(self, instance: str = "i1") -> Launch:
        """Of the only driver that is wanted."""
        (assignment,) = (await self.look()).values()
        launch = self.workloads.launch_for(assignment, instance)
        assert launch is not None
        return launch

    def _sources(self) -> Sources:
        return Sources(
            lambda: self.served,
            lambda: self.device,
            self._write,
            self._file,
            self._gateway,
            lambda hosts: self.reached.append(sorted(hosts)),
            lambda: self.started,
            lambda: self.barred,
            self._held,
            lambda: self.waits,
            lambda: self.problem,
            lambda host: self.unreached.get(host, ""),
        )

    def _file(self, uuid: str) -> Path:
        if uuid in self.unreadable:
            raise OSError(5, "the disk is broken")
        return self.device.directory / f"{uuid}.json"

    async def _run(self, words: Sequence[str]) -> str:
        return await self.run(words)

    def _held(self, assignment: Assignment) -> str:
        return self.hold(assignment)

    async def _write(self) -> None:
        write_twins(self.directory, self.served)

    async def _gateway(self, network: str) -> str:
        if not self.engine:
            raise Transient("the engine is not there")
        if network not in self.gateways:
            raise Refused(f"no network {network}")
        return self.gateways[network]
