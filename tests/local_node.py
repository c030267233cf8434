"""A node's data side alone: store, publisher, subscriptions and the real local API on one workload's socket.

As a program it is a node that can be killed: `python tests/local_node.py DIR SOCKET [LABEL NTH]` SIGKILLs itself at
the NTH disk operation of that label, and prints a line once it listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from aiohttp import web
from tests.file_rig import RoomLeft
from tests.sync_rig import MIGRATIONS

from skerry.kit.blob_bytes import PlainBytes
from skerry.kit.clock import SystemClock
from skerry.kit.disk import Disk, RealDisk
from skerry.kit.sealing.cipher import NullCipher
from skerry.kit.sqlite import SqliteWriter
from skerry.kit.sqlite_connections import connect
from skerry.kit.tasks import supervised
from skerry.node.api.workload import workload_app
from skerry.node.data.publish import Publisher
from skerry.node.data.query import RecordQuery
from skerry.node.data.subscribe import Subscription, Subscriptions
from skerry.node.files.on_demand import FilesOnDemand
from skerry.node.files.room import FileRoom, named_in
from skerry.node.files.store import FileStore, Lane
from skerry.node.ports import Room
from skerry.node.store.entity_rows import EntityRows
from skerry.node.store.files import FileRows
from skerry.node.store.own_events import OwnEvents
from skerry.node.store.record_jobs import Limits
from skerry.node.store.records import RecordStore
from skerry.testing.faulty_disk import KillingDisk
from skerry.wire.files import StoredFile
from skerry.wire.local import Held, HoldUpdates, ReleaseUpdates
from skerry.wire.people import Rows
from skerry.wire.records import Publish, Published
from skerry.wire.workload import StreamClass

NODE = "node-1"


class Services:
    """What the workload's socket needs, over one record store."""

    node_name = NODE

    def __init__(
        self,
        store: RecordStore,
        streams: dict[str, StreamClass],
        subscribed: list[str],
        held: list[tuple[str, HoldUpdates | ReleaseUpdates]],
        files: FilesOnDemand | None = None,
        entities: EntityRows | None = None,
    ) -> None:
        self._files = files
        self._entities = entities
        self.held = held
        self._streams = streams
        self._subscribed = subscribed
        self._publisher = Publisher(store, SystemClock(), lambda: "synced")
        self._subscriptions = Subscriptions(store, NODE)
        self._query = RecordQuery(store, NODE)

    async def publish(self, workload: str, request: Publish) -> Published:
        accept = partial(self._publisher.publish, workload, request, self._streams)
        if request.kind == "file":
            assert self._files is not None
            return await self._files.published(request, accept)
        return await accept()

    async def put_file(
        self, sha256: str, size: int | None, body: AsyncIterator[bytes]
    ) -> StoredFile:
        assert self._files is not None
        return await self._files.put(sha256, size, body)

    async def hold_updates(self, workload: str, request: HoldUpdates) -> Held:
        self.held.append((workload, request))
        return Held(int(request.seconds))

    async def release_updates(self, workload: str, request: ReleaseUpdates) -> Held:
        self.held.append((workload, request))
        return Held(None)

    def subscribe(self, name: str, kind: str | None, cursor: str | None) -> Subscription:
        self._subscribed.append(name)
        return self._subscriptions.subscribe(name, kind, cursor)

    async def records(
        self, name: str, kind: str | None, since: int | None, until: int | None, limit: int
    ) -> Rows:
        return await self._query.records(name, kind, since, until, limit)

    async def entities(self) -> EntityRows:
        assert self._entities is not None
        return self._entities


@contextlib.asynccontextmanager
async def local_node(
    directory: Path,
    socket: Path,
    *,
    disk: Disk | None = None,
    limits: Limits | None = None,
    streams: dict[str, StreamClass] | None = None,
    subscribed: list[str] | None = None,
    held: list[tuple[str, HoldUpdates | ReleaseUpdates]] | None = None,
    files: int | None = None,
    entities: EntityRows | None = None,
) -> AsyncIterator[RecordStore]:
    """Serves the socket while the block runs. `subscribed` gets the name pattern of each subscription, `held` each order about updates.

    With `files`, it takes so many bytes of files; with `entities`, rows of models.
    """
    store = RecordStore(
        directory / "records",
        disk=disk or RealDisk(),
        clock=SystemClock(),
        cipher=NullCipher(),
        limits=limits or Limits(reserve=4096),
    )
    await store.start()
    heard = [] if subscribed is None else subscribed
    async with contextlib.AsyncExitStack() as ending:
        ending.push_async_callback(store.stop)
        kept = None if files is None else await _files(directory, store, files, disk, ending)
        services = Services(
            store, streams or {}, heard, [] if held is None else held, kept, entities
        )
        async with _served(services, socket):
            yield store


async def _files(
    directory: Path,
    records: RecordStore,
    limit: int,
    disk: Disk | None,
    ending: contextlib.AsyncExitStack,
) -> FilesOnDemand:
    """The node's files, without a hub."""
    clock, disk, chance = SystemClock(), disk or RealDisk(), random.Random(1)
    writer = SqliteWriter(directory / "node.db", MIGRATIONS, disk)
    writer.start()
    ending.callback(writer.stop)
    reader = ending.enter_context(
        contextlib.closing(connect(directory / "node.db", read_only=True))
    )
    rows = FileRows(writer, reader)

    def build(room: Room) -> FileRoom:
        lane = Lane(lambda: records.head("event").n, lambda: 0, lambda: 0)
        store = FileStore(
            directory, limit, rows, PlainBytes(disk), disk, clock, lane=lane, room=room,
            tell=OwnEvents(records, clock, lambda: "synced").tell,
        )  # fmt: skip
        return FileRoom(store, None, partial(named_in, records), clock, chance)

    tasks = await ending.enter_async_context(supervised())
    files = FilesOnDemand(directory, rows, limit, build)
    files.room = RoomLeft()
    files.follow(tasks)
    return files


@contextlib.asynccontextmanager
async def _served(services: Services, socket: Path) -> AsyncIterator[None]:
    app = workload_app(services)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    socket.parent.mkdir(exist_ok=True)
    socket.unlink(missing_ok=True)
    await web.UnixSite(runner, socket).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def _main(directory: str, socket: str, label: str = "", nth: str = "0") -> None:
    disk = KillingDisk(label, int(nth)) if label else RealDisk()
    async with local_node(Path(directory), Path(socket), disk=disk, files=10**9):
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
