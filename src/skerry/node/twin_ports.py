"""What the features for twins and their drivers need of each other, in words that they share.

Real implementations: `broker.link` (Publish), `twins.alerts` (Alerts), `twins.config_dir` (DeviceConfig's reader),
`drivers` (DeviceWorkloads, EdgeRestart), `drivers.workflows` (Workflows), `twin_orders` (EdgeOrders).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from skerry.kit.bell import Bell
from skerry.kit.errors import Transient
from skerry.node.ports import Launch
from skerry.wire.devices import Command
from skerry.wire.workload import Assignment


class Publish(Protocol):
    """The node's own voice at its broker."""

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        """Returns once the broker has it. Raises Transient, Refused."""
        ...


class NotSaid(Transient):
    """The broker could not be reached: nothing was published."""


class LogNews(msgspec.Struct, frozen=True):
    """A line that a workload has printed, and when (wall, ns)."""

    at: int
    text: str


class Ask(Protocol):
    """Asking a twin's driver."""

    async def ask(self, topic: str, payload: bytes, response: str) -> bool:
        """Publishes a request that is to be answered at the topic `response`, once; returns whether anybody has subscribed to it.

        Raises NotSaid, Refused, and Transient where nobody knows whether it was published.
        """
        ...


class NodeAlert(msgspec.Struct, frozen=True):
    """What the node tells of a twin. `kind` is one of `core.cyberwave.alert_kinds`, which says how it is called and how grave it is.

    `force`: a new alert, also where an equal one is active.
    """

    kind: str
    description: str
    metadata: Mapping[str, Any] = {}
    force: bool = False


class Alerts(Protocol):
    """The alerts of this device's twins: durable when a call returns, told to the hub when it is there."""

    async def tell(self, twin: str, alert: NodeAlert) -> str:
        """Returns its UUID: of an active one that is equal, which is counted once more, else of a new one."""
        ...

    async def amend(self, uuid: str, metadata: Mapping[str, Any], description: str = "") -> None:
        """Merges `metadata` into an alert's; an empty description leaves the old one. Nothing happens for one that is gone."""
        ...

    async def resolve(self, uuid: str) -> None:
        """It is over. Nothing happens for one that is gone or over."""
        ...

    async def resolve_kind(self, twin: str, kind: str) -> None:
        """All of this kind that are active for the twin are over."""
        ...


class Written(msgspec.Struct, frozen=True):
    """Where a container writes on this device: its layer (None: its engine does not say), and volumes of the engine's."""

    layer: Path | None = None
    volumes: tuple[Path, ...] = ()


class Grant(msgspec.Struct, frozen=True):
    """What an instance may speak for. `role` is «driver», «worker» or «node»; `prefix` that of its topics."""

    role: str
    workload: str
    twins: tuple[str, ...] = ()
    environment: str = ""
    workflows: tuple[str, ...] = ()
    prefix: str = ""


class Tokens(Protocol):
    """The tokens of the instances that live on this device (`broker.granting`)."""

    def give(self, instance: str, grant: Grant) -> str:
        """The token of an instance, the same at each call; it holds from now on until the instance ends."""
        ...

    def grant_of(self, token: str) -> Grant | None:
        """What its holder may speak for; None: it is no token, or has ended."""
        ...


class EdgeRestart(Protocol):
    """The documented restart of everything that Cyberwave runs on this device."""

    async def restart_edge_core(self, request_id: str, alert: str = "") -> str:
        """Returns when everything runs again, with what was done, for people; `alert` is a UUID that is told of each phase.

        Asked again with the same `request_id`, also by the next agent, it goes on where it was, or tells that it is done.
        During another one it does nothing and says so. Raises Refused, Transient.
        """
        ...


class DriverStarts(Protocol):
    """A person's word that a driver is to be started now."""

    async def start_driver(self, twin: str) -> str:
        """Forgets that it flaps; returns what was done, for people. Raises NotFound, Transient."""
        ...


class Workflows(Protocol):
    """The workers that workflows are compiled to."""

    async def sync_workflows(self) -> str:
        """Writes and removes their files as the hub's rows say, now; returns what was done and what cannot be used, for people. Raises Transient."""
        ...

    async def remove_workflow_worker(self, files: Sequence[str], workflow: str) -> str:
        """Removes these files, and those of the workflow with this UUID (empty: of none). Raises InvalidInput, Transient."""
        ...


class Told(msgspec.Struct, frozen=True):
    """How an order ended. `reply` is what the driver answered, JSON; empty: nothing. `failed`: it has refused."""

    message: str
    reply: str = ""
    failed: bool = False


class EdgeOrders(Protocol):
    """What carries out the hub's orders about twins, their drivers and workers (`wire.devices.EDGE_ACTIONS`)."""

    async def do(self, order: Command) -> Told:
        """Returns when it is done. Raises what a SkerryError says, for people: then it has failed."""
        ...


FORGOTTEN = "address"
"""In the place of a video device: an address that nobody knows any more until its file can be read again."""


class DeviceConfig(msgspec.Struct, frozen=True):
    """What the configuration directory and the agent's own environment say, as `docs/reference/cyberwave.md` has it.

    `variables`: CYBERWAVE_* and ZENOH_*; those of the agent's environment over those of credentials.json. `token` is the
    one in credentials.json, `signed_in` whether there is one, or was when that could last be read. `environment`: a UUID, or empty. `overrides`: images by twin. `video_devices`: by twin, that of
    all others at «»; ask `video_device`. `faults`: what could not be read, for people.
    """

    fingerprint: str
    token: str = ""
    environment: str = ""
    variables: Mapping[str, str] = {}
    overrides: Mapping[str, str] = {}
    video_devices: Mapping[str, str] = {}
    faults: tuple[str, ...] = ()
    signed_in: bool = False

    def video_device(self, twin: str) -> str:
        """What a camera's driver is to open; empty: nothing is said. FORGOTTEN: nobody can tell now."""
        return self.video_devices.get(twin, self.video_devices.get("", ""))

    def __repr__(self) -> str:
        return f"DeviceConfig({self.fingerprint}, {self.environment})"


class DeviceWorkloads(Protocol):
    """Workloads that this device wants by itself, beside the hub's."""

    told: Bell
    """Rings when `wanted` may have changed."""

    def wanted(self) -> Sequence[Assignment]:
        """All of them, each of the same generation for ever: spec and `LocalIntent.recipe` hold all that a start is made of."""
        ...

    def launch_for(self, assignment: Assignment, instance: str) -> Launch | None:
        """A launch of one of them, the same for the same instance; None: the usual one. Raises Transient or InvalidInput."""
        ...

    def is_local(self, workload: str) -> bool:
        """Whether its status is nobody's business but this device's."""
        ...
