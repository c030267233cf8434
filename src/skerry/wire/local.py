"""The node's own API on its admin socket and read-only port: `skerry node|worker|sync|doctor|logs`."""

from __future__ import annotations

from typing import Literal

import msgspec

from skerry.kit.units import format_duration, format_size
from skerry.wire.cyberwave import CyberwaveStatus
from skerry.wire.files import FilesWaiting
from skerry.wire.sync import Lane
from skerry.wire.workload import WorkloadStatus


class LinkStatus(msgspec.Struct, frozen=True):
    """The way to the hub. `since` (ns since 1970) is when it became so; `cause` says why it is not online.

    `unknown`: the hub answers, but does not know this node (any more) or its secret.
    """

    state: Literal["online", "polling", "offline", "standalone"]
    since: int
    hub: str | None = None
    cause: str = ""
    unknown: bool = False


class LaneCounters(msgspec.Struct):
    """What has become of one lane since the agent started.

    `units` and `records` (or frames) are what the hub took; `plain` and `compressed` the bytes of all units that were
    sent, repeats among them, before and after compression; then the refusals by the hub, and tries without an answer.
    """

    units: int = 0
    records: int = 0
    plain: int = 0
    compressed: int = 0
    refusals: int = 0
    cuts: int = 0


class PullCounters(msgspec.Struct, frozen=True):
    """Pulls since the agent started: those that ended well, rows that came, refusals by the hub, tries without an answer."""

    rounds: int = 0
    rows: int = 0
    refusals: int = 0
    cuts: int = 0

    def __add__(self, other: PullCounters) -> PullCounters:
        return PullCounters(
            self.rounds + other.rounds,
            self.rows + other.rows,
            self.refusals + other.refusals,
            self.cuts + other.cuts,
        )


class NetworkStatus(msgspec.Struct, frozen=True):
    """What limits the link. Sizes are in bytes, `max_bandwidth` a second.

    `only_high` says why only high priority goes; empty: everything does. `waiting` are the units that wait for their
    turn, by class. `used` is what has travelled in `month` («2026-11», UTC); it is counted only where there is a `cap`.
    """

    max_bandwidth: int | None = None
    only_high: str = ""
    waiting: dict[str, int] = {}
    month: str = ""
    used: int = 0
    cap: int | None = None


class LaneStatus(msgspec.Struct, frozen=True):
    """Records of one lane: accepted so far, acknowledged by the hub, what waits on disk, and why it is not sent.

    `parked`: the hub has refused its next unit so often that it waits for the next schedule or connection.
    """

    lane: Lane
    head: int
    acknowledged: int
    waiting: int
    bytes_on_disk: int = 0
    problem: str = ""
    counters: LaneCounters = msgspec.field(default_factory=LaneCounters)
    parked: bool = False


class EntityStatus(msgspec.Struct, frozen=True):
    """An entity that this node shares, as it is synced here: `schedule` in seconds, None: at once. `waiting` edits are not at the hub.

    `overruled` names what the settings say of conflicts and the fleet has declared otherwise.
    """

    name: str
    strategy: str
    priority: str
    batch_size: int
    waiting: int
    schedule: float | None = None
    overruled: list[str] = []


class SyncStatus(msgspec.Struct, frozen=True):
    """`result` is «success» only while the last round succeeded; no other field's name holds the word (a monitoring script greps for it).

    `last_synced` is when the hub last took or gave something, in ns since 1970.
    `double` says where another agent with this node's identity speaks to the hub; empty when there is none.
    """

    result: Literal["success", "failing", "never"]
    link: LinkStatus
    lanes: list[LaneStatus]
    incarnation: str
    last_synced: int | None = None
    failures: int = 0
    double: str = ""
    files: FilesWaiting | None = None
    """None: no workload has uploaded any."""
    pulls: PullCounters = PullCounters()
    row_pulls: PullCounters | None = None
    """Those of shared rows. None: this node shares none."""
    network: NetworkStatus | None = None
    """None: the settings limit nothing."""
    entities: list[EntityStatus] = []
    problems: list[str] = []
    """Why something is not synced, lanes and pulls, although the hub answers."""


class MemoryUsage(msgspec.Struct, frozen=True):
    """The node's memory against its limit, in bytes: agent and keeper (`own`), and each workload."""

    limit: int
    used: int
    reserved: int
    own: int
    workloads: dict[str, int]

    def __str__(self) -> str:
        """For people: «92 % of 512 MB: cam 210 MB, sensors 190 MB, the node itself 50 MB»."""
        largest = sorted(self.workloads.items(), key=lambda entry: (-entry[1], entry[0]))
        named = [f"{name} {format_size(size)}" for name, size in largest[:5]]
        if len(largest) > 5:
            named.append(f"{len(largest) - 5} more")
        parts = ", ".join([*named, f"the node itself {format_size(self.own)}"])
        return f"{self.used * 100 // self.limit} % of {format_size(self.limit)}: {parts}"


class Growth(msgspec.Struct, frozen=True):
    """How the use of a disk grew within the last `seconds`, at most a day. `by` is the part that grew most.

    `full_in`: seconds until there is no room left for what does not go by itself; None: it does not grow.
    """

    seconds: int
    per_day: int
    full_in: int | None = None
    by: str = ""

    def __str__(self) -> str:
        """For people: «210 MB a day, mostly records unsent; full in 3d 4h»."""
        by = f", mostly {self.by}" if self.by else ""
        full = "" if self.full_in is None else f"; full in {format_duration(self.full_in)}"
        return f"{format_size(self.per_day)} a day{by}{full}"


class StorageUsage(msgspec.Struct, frozen=True):
    """The node's data directory in bytes: by class, and each workload's own directory. `free` is the disk's."""

    limit: int | None
    used: int
    free: int
    classes: dict[str, int]
    workloads: dict[str, int]
    growth: Growth | None = None
    """None: it was not looked at for long enough."""

    def __str__(self) -> str:
        """For people: «1.2 GB, 60 % of 2 GB: records unsent 800 MB, logs 300 MB; 3 GB free on the disk»."""
        largest = sorted(self.classes.items(), key=lambda entry: (-entry[1], entry[0]))[:5]
        parts = ", ".join(f"{name} {format_size(size)}" for name, size in largest)
        of = (
            f", {self.used * 100 // self.limit} % of {format_size(self.limit)}"
            if self.limit
            else ""
        )
        return f"{format_size(self.used)}{of}: {parts}; {format_size(self.free)} free on the disk"


class NodeStatus(msgspec.Struct, frozen=True):
    """What `skerry node status` shows."""

    id: str
    name: str
    labels: dict[str, str]
    version: str
    pid: int
    started_at: int
    data_dir: str
    keeper_pid: int | None
    link: LinkStatus
    workloads: list[WorkloadStatus]
    problems: list[str]
    memory: MemoryUsage | None = None
    """None: no limit is set, or nobody has looked yet."""
    storage: StorageUsage | None = None
    """None: nobody has looked yet."""
    backups: BackupStatus | None = None
    cyberwave: CyberwaveStatus | None = None
    """None: the node serves no twins."""


class CheckResult(msgspec.Struct, frozen=True):
    """One check of `skerry doctor`. `fix` says what to do when it is not ok."""

    name: str
    outcome: Literal["ok", "warning", "failed", "skipped"]
    detail: str
    fix: str = ""


class Doctor(msgspec.Struct, frozen=True):
    """All checks, in the order in which they ran."""

    checks: list[CheckResult]


class KeyView(msgspec.Struct, frozen=True):
    """One key of encryption at rest. `made_at` is ns since 1970; at most `messages` were sealed with it."""

    id: str
    of: str
    algorithm: str
    made_at: int
    messages: int
    retired: bool


class KeyStatus(msgspec.Struct, frozen=True):
    """Encryption at rest: how the keys themselves are sealed (`source`), and whether with a key `beside` the data.

    `plain`: bodies from before it was switched on are still being sealed.
    """

    enabled: bool
    source: str = ""
    beside: bool = False
    keys: list[KeyView] = []
    plain: bool = False
    passphrase_waits: bool = False
    """A new passphrase opens the keys as well as the old one, which ends with the first start by the new one."""

    def __str__(self) -> str:
        """For people: «AES-256-GCM, keys sealed by TPM 2.0 of this device; rotating»."""
        if not self.enabled:
            return "off: whoever has the disk can read it"
        algorithms = ", ".join(sorted({key.algorithm for key in self.keys if not key.retired}))
        busy = "; what was plain is still being sealed" if self.plain else ""
        if any(key.retired for key in self.keys):
            busy = "; keys are being rotated"
        if self.passphrase_waits:
            busy += "; the new passphrase is not in its place yet"
        return f"{algorithms}, keys sealed by {self.source}{busy}"


class NewPassphrase(msgspec.Struct, frozen=True):
    """What the keys of encryption at rest are to be sealed with from now on."""

    passphrase: str

    def __repr__(self) -> str:
        return "NewPassphrase()"


class BackupStatus(msgspec.Struct, frozen=True):
    """The node's backups: where, the newest one (ns since 1970, bytes), and why there is no newer one.

    `rebuilt` tells of a database that had to be replaced, at `rebuilt_at`. `lost_with_node`: what opens them lies in
    the data directory only. `interval` is the time between two, in seconds (0: not known).
    """

    directory: str
    kept: int = 0
    last_at: int | None = None
    last_size: int = 0
    problem: str = ""
    rebuilt: str = ""
    rebuilt_at: int = 0
    lost_with_node: bool = False
    interval: float = 0.0


class StopRequest(msgspec.Struct, frozen=True):
    """Ends the node process; with `workloads`, ends them first."""

    workloads: bool = False


class RunNews(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the answer to `POST /v1/runs`: a new status, a line of output, or, at last, how the run `ended`, or why it was `lost`."""

    status: WorkloadStatus | None = None
    line: str | None = None
    ended: WorkloadStatus | None = None
    lost: str = ""


class ImageLoad(msgspec.Struct, frozen=True):
    """Loads container images from a file of this machine, as `docker save` writes it."""

    path: str


class ImagesLoaded(msgspec.Struct, frozen=True):
    """What the engine says that it has loaded, line by line."""

    lines: list[str]


class HoldUpdates(msgspec.Struct, frozen=True):
    """A workload says «not now» to updates for `seconds`. `instance` is its SKERRY_INSTANCE, where it says so."""

    seconds: float
    reason: str = ""
    instance: str = ""


class ReleaseUpdates(msgspec.Struct, frozen=True):
    """The workload lets updates through again."""

    instance: str = ""


class Held(msgspec.Struct, frozen=True):
    """Updates wait until this time at the latest (ns since 1970); None: they do not."""

    until: int | None


class WorkerOrder(msgspec.Struct, frozen=True):
    """What a person at the device wants of a worker group. `by` is who, for the history."""

    order: Literal["start", "stop", "restart"]
    by: str = ""


class WorkerChange(msgspec.Struct, frozen=True):
    """Files whose content is not what the worker was started with, why that waits, and until when (ns since 1970)."""

    files: list[str]
    reason: str = ""
    until: int | None = None


class WorkerRestart(msgspec.Struct, frozen=True):
    """A restart and why: which files, which exit, who, or what has changed."""

    at: int
    cause: Literal["reload", "crash", "manual", "change"]
    detail: str


class WorkerStatus(msgspec.Struct, frozen=True):
    """A worker group. Times are nanoseconds since 1970.

    `problem` says why nothing can be started from the directory, `watched` how changes are noticed. `automatic` is
    how many automatic restarts there were within the last five minutes; `suspended_until`: that is too many.
    `restarts` are the last 200, newest first. `models` are those that its scripts name, `doubts` the places where only
    running them would tell, `refused` the ids that cannot be a model's, and why. `image` is that of its container; empty: it is a process. `gpus`: it is given some.
    """

    status: WorkloadStatus
    directory: str
    scripts: list[str]
    problem: str
    watched: str
    started_at: int | None
    change: WorkerChange | None
    automatic: int
    suspended_until: int | None
    stopped_at: int | None
    stopped_by: str
    restarts: list[WorkerRestart]
    models: list[str] = []
    doubts: list[str] = []
    image: str = ""
    gpus: bool = False
    refused: dict[str, str] = {}


class Whoami(msgspec.Struct, frozen=True):
    """What a workload's socket says about itself."""

    workload: str
    node: str
