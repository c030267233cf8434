"""Devices as `/api/devices` shows them, and what hub and node say to each other about orders and about the end.

A device is a node from the moment that somebody means to have it, until after its end. Reference: docs/operate/devices.md.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from skerry.wire.inventory import Inventory, InventoryChange
from skerry.wire.workload import WorkloadStatus

DeviceState = Literal[
    "registered",      # known by name, with a token of its own; nobody has come with it yet
    "authenticated",   # enrolled
    "configured",      # has told about itself
    "deployed",        # has everything that is meant for it
    "active",          # and all of it runs
    "draining",        # gets no more work, ends what runs, sends what it has: on its way out
    "decommissioned",  # its credential is refused for ever
]  # fmt: skip
DEVICE_STATES: tuple[DeviceState, ...] = (
    "registered", "authenticated", "configured", "deployed", "active", "draining", "decommissioned",
)  # fmt: skip

EdgeAction = Literal[
    "twin_command",            # on the twin's topic «command»
    "twin_navigate",           # on «navigate/command»
    "twin_motion",             # on «motion/command»
    "twin_mission",            # on «mission/command»
    "run_workflow",
    "cancel_workflow",
    "start_driver",
    "restart_edge_core",
    "sync_workflows",
    "remove_workflow_worker",
]  # fmt: skip
Action = Literal["restart", "decommission"] | EdgeAction
EDGE_ACTIONS: frozenset[Action] = frozenset(get_args(EdgeAction))
"""What concerns twins, their drivers and workers; only agents that tell `EDGE_ORDERS` are ordered to."""
SAID_TO_DRIVERS: frozenset[Action] = frozenset(
    {"twin_command", "twin_navigate", "twin_motion", "twin_mission"}
)
SAID_TO_WORKERS: frozenset[Action] = frozenset({"run_workflow", "cancel_workflow"})
ABOUT_A_TWIN: frozenset[Action] = SAID_TO_DRIVERS | {"start_driver"}
"""Of these, those that concern one twin."""
EDGE_ORDERS = "edge-orders"
"""Among an inventory's capabilities."""
DRIVER_STARTS = "driver-starts"
"""So, too, for «start_driver»: an older agent that meets an action it does not know does no other order either."""
TOPIC_ORDERS = "topic-orders"
"""So, too, for what is said to drivers and workers on other topics than a twin's «command»."""

CommandState = Literal["queued", "started", "done", "failed", "expired", "unknown"]
ENDED: frozenset[CommandState] = frozenset({"done", "failed", "expired", "unknown"})

MAX_MESSAGE = 1000
MAX_REPLY = 16_384
_MAX_LANES = 32
_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Text = Annotated[str, Meta(max_length=MAX_MESSAGE, pattern=r"^[^\x00]*$")]
_Lane = Annotated[str, Meta(max_length=64, pattern=r"^[^\x00]*$")]


def _no_message() -> msgspec.Raw:
    return msgspec.Raw(b"{}")


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """An order to one node. Times are nanoseconds since 1970, of the hub's clock; after `expires_at` it is not begun.

    Those of `EDGE_ACTIONS` have `request`, by which one is known that is given twice, and `payload`, the JSON object that
    Cyberwave documents for such a message, with `workflow_uuid` where it is about a workflow; `twin` is of those of `ABOUT_A_TWIN`.
    """

    id: str
    action: Action
    issued_at: int
    expires_at: int
    issuer: str
    request: str = ""
    twin: str = ""
    payload: msgspec.Raw = msgspec.field(default_factory=_no_message)


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of an order, by the node. «started» is durable there before anything is done.

    `step` is how far it has got, `left` what the hub does not have yet, by lane, `reply` what a twin's driver has answered,
    JSON. Whatever fits these types fits every database's columns, too.
    """

    command: _Text
    state: CommandState
    at: _Int64
    message: _Text = ""
    step: _Text = ""
    left: Annotated[dict[_Lane, _Int64], Meta(max_length=_MAX_LANES)] = {}
    reply: Annotated[str, Meta(max_length=MAX_REPLY, pattern=r"^[^\x00]*$")] = ""


class WipeOrder(msgspec.Struct, frozen=True):
    """The hub's answer to the hello of a device that was decommissioned: erase everything, and say so.

    `receipt` authenticates the certificate of erasure.
    """

    node_id: str
    name: str
    hub_id: str
    receipt: str
    decided_at: int
    reason: str = ""

    def __repr__(self) -> str:
        return f"WipeOrder({self.node_id})"


class Retired(msgspec.Struct, frozen=True):
    """A Problem (status 410) with the order."""

    error: str
    wipe: WipeOrder


class Erasure(msgspec.Struct, frozen=True):
    """What a device says that it has erased. Sizes are in bytes, times nanoseconds since 1970 of its own clock.

    `keys` are the files with keys and credentials that went first. `sealed`: what lay there was encrypted with them.
    `left` is what it could not or must not erase, for people.
    """

    node_id: str
    name: str
    hub_id: str
    begun_at: int
    ended_at: int
    keys: list[str]
    sealed: bool
    files: int
    bytes: int
    places: list[str]
    left: list[str]
    version: str


class ErasureReport(msgspec.Struct, frozen=True):
    """The statement as it was signed (JSON of an `Erasure`), with its HMAC-SHA256 by the order's receipt, in hex."""

    node_id: str
    statement: str
    mac: str


NOT_TAKEN = "cannot take the certificate of erasure"
"""So begins what a hub says that will never take it, and no proxy or stranger."""


class ErasureTaken(msgspec.Struct, frozen=True):
    """The hub keeps the certificate."""

    sha256: str


class ErasureView(msgspec.Struct, frozen=True):
    """A certificate of erasure that the hub keeps; `sha256` is of `statement`, the text that `mac` signs."""

    received_at: int
    sha256: str
    statement: str
    mac: str
    erased: Erasure


class CommandView(msgspec.Struct, frozen=True):
    """An order as people see it."""

    id: str
    action: Action
    state: CommandState
    issued_at: int
    expires_at: int
    issuer: str
    updated_at: int
    message: str = ""
    left: dict[str, int] = {}
    reply: str = ""


class EdgeOrder(msgspec.Struct, frozen=True, omit_defaults=True):
    """What people order of twins, drivers and workers on one device; the words are `Command`'s.

    Given again with the same `request` to the same device it is the same order. Empty: each is one of its own.
    """

    action: EdgeAction
    request: Annotated[str, Meta(max_length=128, pattern=r"^[\x21-\x7e]*$")] = ""
    twin: Annotated[str, Meta(max_length=36)] = ""
    payload: msgspec.Raw = msgspec.field(default_factory=_no_message)


class DeviceView(msgspec.Struct, frozen=True):
    """A device. Times are nanoseconds since 1970, 0: never; `age` is seconds since it was last heard of.

    `state` is of what it told last; `online` says whether that is the present. `reason`, `decided_at` and
    `decided_by` are of the decision to take it out of service. `fingerprint` is as which device Cyberwave's twins know it,
    `told_fingerprint` what it says itself.
    """

    id: str
    name: str
    state: DeviceState
    ip_address: str
    ssh_user: str
    labels: dict[str, str]
    online: bool
    last_seen: int
    age: float | None
    version: str
    registered_at: int
    enrolled_at: int
    workloads: int
    running: int
    decided_at: int = 0
    decided_by: str = ""
    reason: str = ""
    ended_at: int = 0
    erased: bool = False
    machine: str = ""
    python: str = ""
    inventory: Inventory | None = None
    fingerprint: str = ""
    told_fingerprint: str = ""


class DevicePage(msgspec.Struct, frozen=True):
    """Some of the devices that were asked for; `total` is how many there are."""

    devices: list[DeviceView]
    total: int


class DeviceDetail(DeviceView, frozen=True):
    """One device with the newest of its orders, what has changed about it and, after its end, the certificate of erasure.

    `own` are the workloads that it wants by itself, as it has told of them.
    """

    commands: list[CommandView] = []
    history: list[InventoryChange] = []
    erasure: ErasureView | None = None
    own: list[WorkloadStatus] = []


class Provisioned(msgspec.Struct, frozen=True):
    """A device that may enrol at `address` with `token` until `expires_at`; empty when it has enrolled already.

    The token is shown this once; asking again makes another one, and the one before is void.
    """

    id: str
    name: str
    state: DeviceState
    token: str = ""
    expires_at: int = 0
    address: str = ""
