"""The hub's API for people and their tools: `skerry get|apply|diff|query`, the page, `/schema`."""

from __future__ import annotations

from typing import Literal

import msgspec

from skerry.wire.models import ModelSpec
from skerry.wire.records import Kind, Meta, Row, Value
from skerry.wire.workload import Generation, WorkloadSpec, WorkloadStatus

Change = Literal["create", "change", "delete", "unchanged"]


LATE_AFTER = 25.0
"""Seconds: a node on a live link gives a sign of life every 20 s. Of one that is silent for longer, the age is told."""


class NodeView(msgspec.Struct, frozen=True):
    """A node as the hub knows it. `age` is seconds since anything was heard of it; online means under 45 s.

    `running` counts by the statuses that the node sent last: while it is offline, they are as old as `age`.
    `problem` is what the hub itself finds wrong with it and what to do; empty when all is well.
    """

    id: str
    name: str
    labels: dict[str, str]
    online: bool
    last_seen: int
    age: float
    version: str
    enrolled_at: int
    workloads: int
    running: int
    problem: str = ""


class InstanceView(msgspec.Struct, frozen=True):
    """A workload on one node: the status that the node sent last (None: none yet), and how old that may be.

    `heard_at` (ns since 1970) is when the node last gave a sign of life, `age` is seconds since then. `status` is
    the present one only while `node_online`; afterwards nobody but the node knows.
    """

    status: WorkloadStatus | None
    node_online: bool
    heard_at: int
    age: float


class NodeDeleted(msgspec.Struct, frozen=True):
    """A node that the hub has forgotten. Its records stay, under its `id`.

    `pinned` are the workloads that are meant for a node of this name, and for no other: they run nowhere now.
    """

    id: str
    name: str
    pinned: list[str]


class UpdateView(msgspec.Struct, frozen=True):
    """A change on its way through the nodes of a workload. `message` is for people.

    Of `total` nodes, `changed` have been given it, `healthy` have proven it, `failed` have not, and `offline` get
    it when they are back.
    """

    state: Literal["rolling", "paused"]
    total: int
    changed: int
    healthy: int
    failed: int
    offline: int
    message: str


class WorkloadView(msgspec.Struct, frozen=True):
    """A workload as desired, and as it is on every node that it is assigned to, by the node's name.

    `update` is there while a change goes through its nodes in waves.
    """

    name: str
    generation: Generation
    spec: WorkloadSpec
    restarts: int
    nodes: dict[str, InstanceView]
    update: UpdateView | None = None


class DeviceWorkload(msgspec.Struct, frozen=True):
    """A workload that devices want by themselves, and nobody has assigned to them, by the nodes' names.

    What it runs only they know: `spec` and `restarts` are those of a `WorkloadView`.
    """

    name: str
    nodes: dict[str, InstanceView]
    spec: None = None
    restarts: None = None
    device: bool = True


class FieldChange(msgspec.Struct, frozen=True):
    """One differing field, by its dotted path; None means absent."""

    path: str
    old: str | None
    new: str | None


class AssignmentView(msgspec.Struct, frozen=True):
    """What one node is told of one workload. `fields` differ from the workload's own spec.

    They do so by overrides, or because the node has not been given the newest version yet.
    """

    node: str
    workload: str
    generation: Generation
    spec: WorkloadSpec
    restarts: int
    fields: list[FieldChange]


class Apply(msgspec.Struct, frozen=True):
    """Desired workloads and models. `prune` deletes workloads (never models) that are not named."""

    workloads: list[WorkloadSpec]
    dry_run: bool = False
    prune: bool = False
    models: list[ModelSpec] = []


class Applied(msgspec.Struct, frozen=True):
    """What happened (or, with dry_run, would happen) to one workload or model."""

    name: str
    change: Change
    fields: list[FieldChange]
    nodes: list[str]


class ApplyReply(msgspec.Struct, frozen=True):
    """One entry for each model that the request names, and for each workload that it names or prunes."""

    workloads: list[Applied]
    models: list[Applied] = []


class WorkloadVersion(msgspec.Struct, frozen=True):
    """What a workload was told to be. `number` counts each workload's versions from 1; `at` is ns since 1970.

    `by` is who said so, empty when that is not known. `fields` differ from the version before. Of a deletion,
    `spec` is the last one. `to` is the version that a rollback went back to.
    """

    number: int
    at: int
    by: str
    change: Literal["create", "change", "rollback", "delete"]
    generation: Generation
    spec: WorkloadSpec
    fields: list[FieldChange]
    to: int | None = None


class Rollback(msgspec.Struct, frozen=True):
    """Back to version `to`; None: to the newest one that differs from what is."""

    to: int | None = None
    dry_run: bool = False


class RolledBack(msgspec.Struct, frozen=True):
    """What happened (or, with dry_run, would happen) by going back to version `to`."""

    to: int
    workload: Applied


class TokenRequest(msgspec.Struct, frozen=True):
    """An enrolment token that can be used within `ttl` seconds by as many devices as `uses`.

    Nodes get its `labels`, which override their own. With `hardware` only the device with this id may use it; the
    node's name must begin with `name_prefix`.
    """

    ttl: float = 3600.0
    uses: int = 1
    labels: dict[str, str] = {}
    hardware: str = ""
    name_prefix: str = ""


class TokenReply(msgspec.Struct, frozen=True):
    """The token, shown once. `expires_at` is in nanoseconds since 1970.

    Where nodes have certificates it ends with «.» and the fingerprint of the fleet's root, and `address` is where
    nodes enrol; else that is empty: at the hub's own address.
    """

    token: str
    expires_at: int
    address: str = ""


class NodeRevoked(msgspec.Struct, frozen=True):
    """The hub no longer believes the node's key and secret: it takes part again when it has enrolled anew."""

    id: str
    name: str


class LoginCode(msgspec.Struct, frozen=True):
    """Signs one browser in: open `path` at the hub before `expires_at` (ns since 1970). Works once."""

    path: str
    expires_at: int


class Health(msgspec.Struct, frozen=True):
    """The hub answers requests. `problems` are sentences about what it does not do as it should, for people."""

    status: Literal["ok"]
    version: str
    problems: list[str] = []


class BackupView(msgspec.Struct, frozen=True):
    """A backup of the hub that nodes rely on. `path` is empty for one by the user's own tools; `taken_at` in ns since 1970."""

    path: str
    size: int
    taken_at: int


class BackupStatus(msgspec.Struct, frozen=True):
    """The hub's own backups: how often (seconds, 0: never) and where; the last one, and what was wrong with the one after.

    `counting` are the backups that nodes rely on: what is in them they may forget.
    """

    interval: float
    directory: str
    made_at: int | None
    problem: str
    counting: list[BackupView]


class Rows(msgspec.Struct, frozen=True):
    """Records, oldest first. `truncated` says that more matched than `limit` allowed.

    `damaged` so many more match, and are left out, because they are not what was stored.
    """

    rows: list[Row]
    truncated: bool = False
    damaged: int = 0


class MetaRun(msgspec.Struct, frozen=True, array_like=True):
    """From position `first` of a column on, records have this meta; before the first run they have none."""

    first: int
    meta: Meta


class SeriesColumns(msgspec.Struct, frozen=True):
    """One series' records by column, oldest first; `at` in ns since 1970."""

    node: str
    source: str
    name: str
    kind: Kind
    at: list[int]
    value: list[Value]
    metas: list[MetaRun] = []


class Columns(msgspec.Struct, frozen=True):
    """What `Rows` says, by series: by node, source, name and kind."""

    series: list[SeriesColumns]
    truncated: bool = False
    damaged: int = 0


class Problem(msgspec.Struct, frozen=True):
    """Every error answer of hub and node."""

    error: str
