"""A hub without HTTP: its store and features, put together as hub/server.py does, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from skerry.core.credentials import random_secret, secret_hash
from skerry.core.cursors import set_digest
from skerry.core.lanes import extend
from skerry.hub.data.ingest import Ingest
from skerry.hub.data.query import RecordQuery
from skerry.hub.data.retention import Ages, Retention
from skerry.hub.files.arrivals import Arrivals
from skerry.hub.files.shelf import Shelf
from skerry.hub.fleet.assignments import Assignments
from skerry.hub.fleet.models import Models
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.fleet.rollouts import Rollouts
from skerry.hub.fleet.safe import Safe
from skerry.hub.fleet.secrets import Secrets
from skerry.hub.fleet.tokens import Tokens
from skerry.hub.fleet.workloads import Workloads
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.keys import Wish
from skerry.hub.sync.epochs import Epochs
from skerry.hub.sync.hello import Greeter
from skerry.hub.sync.model_rows import ModelRows
from skerry.hub.sync.own_edits import OwnEdits
from skerry.hub.sync.pull import Feed
from skerry.hub.sync.push import Receiver
from skerry.hub.sync.readers import Readers
from skerry.hub.sync.rounds import Rounds
from skerry.hub.sync.rows_pull import RowFeed
from skerry.hub.sync.shared_rows import SharedRows
from skerry.kit.disk import RealDisk
from skerry.kit.sqlite_connections import Driver
from skerry.testing.manual_clock import ManualClock
from skerry.testing.memory_blobs import MemoryBlobs
from skerry.testing.running_hub import EnrolledNode
from skerry.wire.codec import encode
from skerry.wire.link import News
from skerry.wire.people import Apply, ApplyReply
from skerry.wire.records import Batch, Kind, Record, Value
from skerry.wire.sync import (
    NO_CHAIN,
    Enrol,
    Lane,
    Pull,
    PullReply,
    PushReply,
    PushUnit,
    StateFrame,
    StateRow,
)
from skerry.wire.workload import (
    Assignment,
    Generation,
    NodeInfo,
    Phase,
    ProcessSpec,
    WorkloadSpec,
    WorkloadStatus,
)

DAY = 86400.0
SESSION = "ab" * 16
INCARNATION = "11" * 16
ALL_NEWS = News()
NO_SAFE = Safe(Path("/proc/no-safe/secrets.key"), RealDisk())


class HubRig:
    """Every feature by name; `news` collects the ids of the nodes that were told, and `tell` hears of each."""

    def __init__(
        self,
        url: str,
        clock: ManualClock,
        encryption: Wish | None = None,
        driver: Driver | None = None,
        *,
        safe: Safe = NO_SAFE,
        tell: Callable[[str, News], None] = lambda _node_id, _news: None,
    ) -> None:
        self._tell = tell
        self.url = url
        self.clock = clock
        self.encryption = encryption
        self.news: list[str] = []
        self.store = HubStore(url, clock, encryption=encryption, driver=driver)
        self.ingest = Ingest(lambda: self.store.facts.index_key)
        assignments = self.assignments = Assignments(clock, safe)
        self.tokens = Tokens(self.store, clock)
        self.nodes = Nodes(self.store, assignments, clock, self._notify)
        self.blobs = MemoryBlobs(clock)
        self.models = Models(self.store, self.blobs, clock)
        self.file_blobs = MemoryBlobs(clock)
        self.arrivals = Arrivals(self.store, self.file_blobs, clock)
        self.shelf = Shelf(self.store, self.file_blobs, self.arrivals, 30 * DAY)
        self.rollouts = Rollouts(self.store, assignments, clock, self._notify, self.nodes.last_seen)
        self.workloads = Workloads(
            self.store,
            assignments,
            self.rollouts,
            clock,
            self._notify,
            self.nodes.last_seen,
            models=self.models,
        )
        self.secrets = Secrets(self.store, self.workloads, safe, clock)
        self.query = RecordQuery(self.store)
        self.retention = Retention(
            self.store, Ages(measurement=7 * DAY, event=30 * DAY, gap=30 * DAY, file=30 * DAY)
        )
        self.greeter = Greeter(self.store, clock)
        self.readers = Readers(self._notify_rows)
        self.receiver = Receiver(
            self.store, self.ingest, self.nodes, self._notify, self.readers.changed
        )
        epochs = Epochs(self.store, assignments, self._notify)
        self.feed = Feed(self.store, epochs, clock)
        self.row_feed = RowFeed(self.store, epochs, self.readers, clock)
        self.rounds = Rounds(self.store, self.feed, self.row_feed)
        own_edits = OwnEdits(self.store, clock, self.readers.changed)
        self.shared_rows = SharedRows(self.store, own_edits)
        self.model_rows = ModelRows(self.store, own_edits)

    def _notify(self, node_id: str, news: News = ALL_NEWS) -> None:
        self.news.append(node_id)
        self._tell(node_id, news)

    def _notify_rows(self, node_id: str) -> bool:
        self._notify(node_id, News(rows=True))
        return True

    async def start(self) -> None:
        self.store.start()
        await self.nodes.start()

    def stop(self) -> None:
        self.store.stop()

    async def enrol(self, name: str = "n1", **labels: str) -> EnrolledNode:
        token = await self.tokens.create(60.0)
        secret = random_secret()
        found = await self.nodes.enrol(Enrol(token.token, name, labels, "0.1", secret_hash(secret)))
        return EnrolledNode(found.node_id, found.name, found.hub_id, secret=secret)

    async def push(self, node_id: str, unit: PushUnit) -> PushReply:
        return await self.receiver.receive(node_id, unit, self.clock.wall_ns())

    async def apply(
        self, *specs: WorkloadSpec, dry_run: bool = False, prune: bool = False
    ) -> ApplyReply:
        return await self.workloads.apply(Apply(list(specs), dry_run=dry_run, prune=prune), "ann")


class PullingNode:
    """The node's side of pulling: keeps its cursor and its set, as a node's store does."""

    def __init__(self, hub: HubRig, node_id: str) -> None:
        self.hub = hub
        self.node_id = node_id
        self.cursor: str | None = None
        self.rows: dict[tuple[str, str], StateRow] = {}

    async def pull(self, limit: int = 500) -> list[PullReply]:
        """Pulls until there is no more; returns the replies."""
        replies: list[PullReply] = []
        while not replies or replies[-1].more:
            digest = set_digest({key: row.rev for key, row in self.rows.items()})
            reply = await self.hub.feed.answer(self.node_id, Pull(self.cursor, digest, limit))
            replies.append(reply)
            self.cursor = reply.cursor
            if reply.full:
                self.rows = {}
            for row in reply.rows:
                if row.deleted:
                    self.rows.pop((row.entity, row.id), None)
                else:
                    self.rows[row.entity, row.id] = row
        return replies

    def assignments(self) -> dict[str, Assignment]:
        return {
            row.id: msgspec.json.decode(row.body, type=Assignment) for row in self.rows.values()
        }


class Lanes:
    """The node's side of one incarnation's lanes: cuts batches and state frames into units."""

    def __init__(self, incarnation: str = INCARNATION) -> None:
        self.incarnation = incarnation
        self.points: dict[Lane, tuple[int, str]] = {}

    def unit(self, lane: Lane, frames: Sequence[Batch | StateFrame]) -> PushUnit:
        """The next unit of `lane`."""
        n, chain = self.points.get(lane, (0, NO_CHAIN))
        payloads = [encode(frame) for frame in frames]
        unit = PushUnit(
            incarnation=self.incarnation,
            lane=lane,
            first=n + 1,
            previous=chain,
            boot_id="boot-1",
            frames=[msgspec.Raw(payload) for payload in payloads],
        )
        for frame, payload in zip(frames, payloads, strict=True):
            n += len(frame.records) if isinstance(frame, Batch) else 1
            chain = extend(chain, payload)
        self.points[lane] = (n, chain)
        return unit


def batch(
    *values: Value,
    name: str = "env.temperature",
    at: int = 1_760_000_000_000_000_000,
    counter: int = 1,
    source: str = "sensors",
    kind: Kind = "measurement",
    session: str = SESSION,
    **meta: Value,
) -> Batch:
    """One batch; record i is at `at` + i."""
    records = [
        Record(index, name, at + index, value, meta or None) for index, value in enumerate(values)
    ]
    return Batch(kind, source, session, counter, at, 5, "synced", records)


def spec(name: str, **fields: object) -> WorkloadSpec:
    return WorkloadSpec(name=name, process=ProcessSpec(command=["sleep", "1"]), **fields)


def status(
    workload: str, phase: Phase = "running", *, hlc: int = 1, rev: int = 0, n: int = 1
) -> StateRow:
    body = WorkloadStatus(workload=workload, generation=Generation(1, n), phase=phase, since=1)
    return StateRow("status", workload, rev, hlc, "node", body=msgspec.Raw(encode(body)))


def node_info(node_id: str, *, hlc: int = 1, rev: int = 0, **labels: str) -> StateRow:
    body = NodeInfo("n1", labels, "0.2", "x86_64", "Linux", "3.11", "boot-1", 1)
    return StateRow("node", node_id, rev, hlc, "node", body=msgspec.Raw(encode(body)))
