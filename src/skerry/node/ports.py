"""What the node's features need from outside, in their own words.

Real implementations: `workloads.runtimes.process` (Runtime), `sync.uplink` (Uplink). Fakes: `skerry.testing`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from skerry.keeper.log_rules import LogRules
from skerry.kit.errors import Refused, Transient
from skerry.wire.files import FileManifest, FileState
from skerry.wire.logs import LogQuery
from skerry.wire.sync import Hello, HelloReply, Pull, PullReply, PushReply, PushUnit
from skerry.wire.workload import Allow, ContainerSpec, Exit, Resources

if TYPE_CHECKING:
    from skerry.wire.devices import WipeOrder
    from skerry.wire.shared import (
        Buckets,
        BucketsReply,
        Priority,
        Round,
        RoundReply,
        RowsPage,
        RowsPart,
        RowsPull,
        RowsWanted,
    )


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """What every runtime needs to start one instance; repeating it with the same `instance` is harmless."""

    instance: str
    workload: str
    environment: dict[str, str]
    strict: bool
    """`isolation: strict` was asked: what cannot be had is refused, never left out."""
    log: Path
    """The current log file; rotated ones get the suffixes .1, .2, …"""
    log_rules: LogRules
    models: Path | None = None
    """The directory with its models, to be read only; None: it needs none."""
    secrets: Path | None = None
    """The directory with its secrets, to be read only; None: none of them is a file."""
    secret_files: dict[str, bytes] = {}
    """What is to be in it, by name."""
    lacks: str = ""
    """Why it cannot be started with this, only be taken over; empty: it can."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.workload}, {self.instance})"


def workload_socket(run_dir: Path, name: str) -> Path:
    """The socket of one workload, in a directory of its own that a container can be given."""
    return run_dir / "w" / name / "sock"


_UNLIMITED = Resources()
_NOTHING_GRANTED = Allow()


def container_socket(run_dir: Path, name: str) -> Path:
    """A container's: any user may connect, because its users are not the device's; only the agent enters `run_dir`/c."""
    return run_dir / "c" / name / "sock"


class ProcessLaunch(Launch, frozen=True, kw_only=True):
    """A native process."""

    command: tuple[str, ...]
    directory: Path
    limits: dict[str, int]
    """rlimits by their resource-module names, for example {"RLIMIT_NOFILE": 1024}."""
    resources: Resources = _UNLIMITED
    """What control groups limit."""
    allow: Allow = _NOTHING_GRANTED
    """What a strict one may reach beyond `home` and the directory of its `socket`."""
    home: Path = Path()
    socket: Path = Path()
    shown: tuple[Path, ...] = ()
    """What its program reads besides; a strict one sees it too."""
    given: tuple[Path, ...] = ()
    """Directories of its own besides `home`."""
    sockets: str = ""
    """Name of the listening sockets that it begins with (`HeldSockets`)."""


class WasmLaunch(ProcessLaunch, frozen=True, kw_only=True):
    """A WebAssembly module: `command` is its runner."""

    module: Path
    directories: tuple[Path, ...]
    """Those of the node that the module may see."""


class ContainerExtras(msgspec.Struct, frozen=True):
    """What a contract gives a container and no spec can ask for: parts of «create»'s body as the Engine's API takes them.

    `name` is fixed; empty: workload and instance. `otherwise` is taken where somebody else's container has that name.
    `host` are of its HostConfig, lists in it come after the spec's own.
    """

    name: str = ""
    otherwise: str = ""
    host: Mapping[str, Any] = {}
    config: Mapping[str, Any] = {}


_NO_EXTRAS = ContainerExtras()


class ContainerLaunch(Launch, frozen=True, kw_only=True):
    """A container of the engine on this device."""

    spec: ContainerSpec
    resources: Resources
    socket: Path | None
    """The workload's own socket; its directory is mounted, because an agent that restarts makes a new socket in it. None: it is given none."""
    extras: ContainerExtras = _NO_EXTRAS


class ProcessIdentity(msgspec.Struct, frozen=True):
    """A process for ever: pids are reused, this triple is not. `start_time` is in clock ticks since boot."""

    boot_id: str
    pid: int
    start_time: int


class RunningInstance(msgspec.Struct, frozen=True):
    """An instance that a runtime has."""

    instance: str
    workload: str
    identity: ProcessIdentity
    moved: bool = False
    """The node's data directory was elsewhere when this one started, and with it its socket, home and log."""
    isolation: str = ""
    """What keeps it from the rest of the device, for people; empty: the runtime does not know any more."""


class Living(msgspec.Struct, frozen=True):
    """An instance that runs, as the node's limits see it. Sizes are in bytes."""

    workload: str
    instance: str
    identity: ProcessIdentity | None
    """None until the runtime has answered."""
    reserved: int
    """Memory that it is counted with."""
    storage: int | None
    """What its own directory may hold."""
    ending: str
    """The limit for which it is being ended already (`Excess.reason`); empty: none."""


class Excess(msgspec.Struct, frozen=True):
    """An instance is over a limit and must end. `reason` becomes that of its exit, `detail` is for people.

    `at_once`: by SIGKILL, without its grace period.
    """

    workload: str
    instance: str
    reason: str
    detail: str
    at_once: bool


class StoredInstance(msgspec.Struct, frozen=True):
    """An instance as the store has it. Of `launch`, only the names and the log settings matter here."""

    launch: Launch
    identity: ProcessIdentity | None
    """None: the agent died after asking for the start and before it could write the answer."""


class InstanceExit(msgspec.Struct, frozen=True):
    """An instance has ended, and with it everything that it started."""

    instance: str
    exit: Exit


class EngineRestart(msgspec.Struct, frozen=True):
    """A container has ended by itself and its engine starts it again: the instance goes on as another process.

    `count` is the engine's, since the container was made or the engine was started; it rises by more than one while no
    agent is there. `identity`: None until it runs again, which is told by a second one of the same count.
    """

    instance: str
    count: int
    exit: Exit
    identity: ProcessIdentity | None = None


InstanceNews = InstanceExit | EngineRestart


class Restarted(msgspec.Struct, frozen=True):
    """For those who listen: a workload has ended by itself, whoever starts it again, its engine or this node.

    `count` is what its status will show as restarts, `more` by how many it rises with this: more than one after a time
    without an agent. `exit` is the last one's, with its time.
    """

    workload: str
    instance: str
    count: int
    more: int
    exit: Exit


class NeedGone(Transient):
    """What a start needs was there and is not any more: nothing was made, and `workloads.needs` says what is missing."""


class Runtime(Protocol):
    """Starts and ends instances, survives the agent, and tells every exit at least once.

    An exit that happens while no agent is connected is kept until `acknowledge`. Calls about an unknown
    instance are harmless. Errors: Refused (the launch itself is wrong: command not found, …), NeedGone, Transient.
    """

    async def connect(self, on_exit: Callable[[InstanceNews], None]) -> list[RunningInstance]:
        """Connects, then returns what runs; exits that wait are told through `on_exit` first, restarts by an engine, too."""
        ...

    async def adopt(self, known: list[StoredInstance]) -> list[RunningInstance]:
        """Finds instances that the store knows but `connect` did not return; returns those that live.

        From then on their output is logged and their exit told, as unknown. Those not returned have
        ended; no exit is told for them.
        """
        ...

    async def start(self, launch: Launch) -> ProcessIdentity:
        """Starts an instance, or returns the identity of the one of that name that runs or waits for `acknowledge`."""
        ...

    def isolation(self, instance: str) -> str:
        """What keeps a started instance from the rest of the device, for people; empty for an unknown one."""
        ...

    async def signal(self, instance: str, name: str) -> None:
        """Sends a signal («SIGTERM», …) to every process of the instance.

        When its first process then ends, the others are left to the signal until SIGKILL is sent.
        """
        ...

    async def acknowledge(self, instance: str) -> None:
        """The exit is durable in the store; the runtime may forget it."""
        ...

    async def close(self) -> None:
        """Disconnects; instances go on."""
        ...

    async def shut_down(self) -> None:
        """Ends the runtime's own helper process. Only when no instance runs."""
        ...


class NotKnown(Refused):
    """The hub does not know this node (any more), or not what it shows."""


class OutOfService(NotKnown):
    """The hub at `hub` says that this device was decommissioned, and that it must erase itself."""

    def __init__(self, words: str, order: WipeOrder, hub: str) -> None:
        super().__init__(words)
        self.order = order
        self.hub = hub


class Uplink(Protocol):
    """The way to the hub. Every call raises Transient when no answer came, Refused or InvalidInput when one did.

    NotKnown is the refusal that no later try will change; as an answer to hello, OutOfService is one.
    """

    async def hello(self, hello: Hello) -> HelloReply: ...

    async def push(self, unit: PushUnit) -> PushReply: ...

    async def pull(self, pull: Pull) -> PullReply: ...


class Turn(Protocol):
    """The right to move bytes over the link, until its block ends."""

    def note(self, size: int) -> None:
        """So many bytes have travelled."""
        ...


class Turns(Protocol):
    """Who may use the link next (`sync.turns`). A node without limits has none, and nobody waits."""

    piece: int
    """The most bytes of one turn, unless what is sent cannot be divided."""

    @property
    def held(self) -> str:
        """Why only high priority goes; empty: everything does."""
        ...

    def of_lane(self, lane: str) -> Priority:
        """The class of a lane's units; «tunnels» are the bytes of channels."""
        ...

    def turn(self, priority: Priority, size: int) -> AbstractAsyncContextManager[Turn]:
        """Waits until about `size` bytes may travel; what has travelled is then told to the turn."""
        ...

    def note(self, size: int) -> None:
        """So many bytes have travelled that could not wait."""
        ...


class RowHub(Protocol):
    """The hub's shared rows. Every call raises as those of `Uplink`; edits go by its `push`."""

    async def rows(self, pull: RowsPull) -> RowsPage:
        """Changes of entities."""
        ...

    async def buckets(self, sums: Buckets) -> BucketsReply:
        """Where an entity differs."""
        ...

    async def wanted(self, wanted: RowsWanted) -> RowsPart:
        """Whole rows by their ids."""
        ...


class RoundHub(Protocol):
    """The hub, asked after states and rows at once."""

    async def round(self, asked: Round) -> RoundReply:
        """Raises as the calls of `Uplink`; a refusal may be of either half."""
        ...


class LogSource(Protocol):
    """Reads a workload's log lines for the admin socket and for the hub's log tails."""

    def read(self, workload: str, query: LogQuery) -> AsyncIterator[str]:
        """The lines that are asked for, without `since` the last 100 of them. Raises NotFound at once."""
        ...


class Room(Protocol):
    """Room in the data directory, which somebody watches (`limits.storage_watch`)."""

    def left(self) -> int | None:
        """Bytes that may be added; None: only the disk is a limit."""
        ...

    async def make_room(self, wanted: int) -> None:
        """Lets so many bytes go, as far as they may."""
        ...

    def added(self, size: int) -> None:
        """So many bytes were written since."""
        ...


class FileHub(Protocol):
    """Where files go. Every call raises Transient when no answer came, Refused or InvalidInput when one did."""

    async def file_state(self, sha256: str) -> FileState:
        """What the hub wants to have next of a file."""
        ...

    async def offer_file(self, manifest: FileManifest) -> FileState:
        """Says what a file consists of."""
        ...

    async def send_file(self, sha256: str, start: int, data: bytes) -> FileState:
        """Bytes from `start` on, as far as the hub has asked for them."""
        ...

    async def files_held(self, sha256s: Collection[str]) -> set[str]:
        """Which of these, at most `wire.files.MAX_ASKED`, the hub has whole."""
        ...
