"""What the workloads' sockets answer: each request goes to the feature that it is for (`api.workload.WorkloadServices`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.patterns import matches
from skerry.node.data.publish import Publisher
from skerry.node.data.query import RecordQuery
from skerry.node.data.subscribe import Subscription, Subscriptions
from skerry.node.files.on_demand import FilesOnDemand
from skerry.node.workloads.locks import LockOrder
from skerry.wire.files import StoredFile
from skerry.wire.local import (
    Held,
    HoldUpdates,
    ReleaseUpdates,
)
from skerry.wire.people import Rows
from skerry.wire.records import Publish, Published
from skerry.wire.workload import StreamClass, WorkloadStatus

if TYPE_CHECKING:
    from skerry.node.api.entities import Entities

_TOLD_APART = 2
"""So many instances of a workload live at a time."""


class SeenValues:
    """When each workload's instances last published each name, for readiness by value (`workloads.readiness`)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[tuple[str, str], dict[str, int]] = {}
        self.bell = Bell()

    def note(self, workload: str, request: Publish) -> None:
        """The request was accepted."""
        if request.kind == "measurement":
            now = self._clock.monotonic_ns()
            for name in {record.name for record in request.records}:
                by_instance = self._last.setdefault((workload, name), {})
                by_instance.pop(request.instance, None)
                by_instance[request.instance] = now
                if len(by_instance) > _TOLD_APART:
                    del by_instance[next(iter(by_instance))]
            self.bell.ring()

    def last(self, workload: str, pattern: str, instance: str) -> int | None:
        found = (
            at
            for (who, name), by_instance in self._last.items()
            if who == workload and matches(pattern, name)
            for which, at in by_instance.items()
            if which in {"", instance}
        )
        return max(found, default=None)

    def keep_only(self, workloads: set[str]) -> None:
        """Forgets what workloads published that are not here any more."""
        for key in [key for key in self._last if key[0] not in workloads]:
            del self._last[key]


class WorkloadDesk:
    """Serves the workloads' sockets; implements `api.workload.WorkloadServices`."""

    def __init__(  # noqa: PLR0913 - one argument for each feature behind the socket
        self,
        node_name: str,
        publisher: Publisher,
        files: FilesOnDemand,
        subscriptions: Subscriptions,
        query: RecordQuery,
        *,
        seen: SeenValues,
        streams_of: Callable[[str], Mapping[str, StreamClass]],
        order_lock: Callable[[str, LockOrder], Awaitable[WorkloadStatus]],
        open_entities: Callable[[], Awaitable[Entities]],
    ) -> None:
        self._order_lock = order_lock
        self._open_entities = open_entities
        self.node_name = node_name
        self._streams_of = streams_of
        self._publisher = publisher
        self._files = files
        self._subscriptions = subscriptions
        self._query = query
        self._seen = seen

    async def publish(self, workload: str, request: Publish) -> Published:
        accept = partial(self._publisher.publish, workload, request, self._streams_of(workload))
        if request.kind == "file":
            return await self._files.published(request, accept)
        published = await accept()
        self._seen.note(workload, request)
        return published

    async def put_file(
        self, sha256: str, size: int | None, body: AsyncIterator[bytes]
    ) -> StoredFile:
        return await self._files.put(sha256, size, body)

    async def hold_updates(self, workload: str, request: HoldUpdates) -> Held:
        order = LockOrder(request.seconds, request.reason, request.instance)
        return Held((await self._order_lock(workload, order)).locked_until)

    async def release_updates(self, workload: str, request: ReleaseUpdates) -> Held:
        order = LockOrder(None, instance=request.instance)
        return Held((await self._order_lock(workload, order)).locked_until)

    def subscribe(self, name: str, kind: str | None, cursor: str | None) -> Subscription:
        return self._subscriptions.subscribe(name, kind, cursor)

    async def records(
        self, name: str, kind: str | None, since: int | None, until: int | None, limit: int
    ) -> Rows:
        return await self._query.records(name, kind, since, until, limit)

    async def entities(self) -> Entities:
        return await self._open_entities()
