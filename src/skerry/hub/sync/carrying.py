"""Takes what was carried here by hand, block by block, as if the node had pushed it, and writes the node's receipt.

The seal says which node speaks; `sync.push` admits units and the files' arrivals take bytes, so order, repeats and
overlaps mean what they mean on a live link. No state is kept between blocks: each comes with its file's header, and the
receipt says what the database holds. The node's side is `node.sync.carrying`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, Protocol

import msgspec
from sqlalchemy import Connection, select

from skerry.core.entities import ENTITIES
from skerry.core.stick_seal import StickSeal
from skerry.hub.store import rows
from skerry.hub.store.bodies import Bodies
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import FLEET, node
from skerry.hub.sync import points
from skerry.hub.sync.push import Receiver
from skerry.kit.clock import Clock
from skerry.kit.errors import Corrupt, InvalidInput, NotFound, Refused, StorageFull
from skerry.kit.ids import random_token
from skerry.wire.codec import decode, encode
from skerry.wire.files import FileManifest, FileState
from skerry.wire.records import Batch
from skerry.wire.stick import (
    FORMAT,
    LAST,
    Block,
    BlockTaken,
    Contents,
    Piece,
    Receipt,
    StickHeader,
    read_header,
    split,
    unpack,
    whole_file,
)
from skerry.wire.sync import LanePoint, PushUnit

_NODES_OWN = {entity.name for entity in ENTITIES.values() if entity.writer == "node"}

_EARLIER = "what comes before it is not here. First import the file that was exported before"
_OTHER = "the hub knows another history of this node. Take the receipt back to it and export again"


class FileSink(Protocol):
    """Takes files (`files.arrivals.Arrivals`)."""

    async def state(self, node_id: str, sha256: str) -> FileState: ...

    async def offer(self, node_id: str, manifest: FileManifest) -> FileState: ...

    async def take(self, node_id: str, sha256: str, start: int, data: bytes) -> FileState: ...

    async def held(self, node_id: str, sha256s: Collection[str]) -> list[str]: ...


class _From(NamedTuple):
    """Whose file a block is from."""

    node_id: str
    name: str
    secret_hash: str
    header: StickHeader


class Carrying:
    """Takes blocks. Raises what the store raises; what is wrong with a block alone is said in the answer."""

    def __init__(self, store: HubStore, receiver: Receiver, files: FileSink, clock: Clock) -> None:
        self._store = store
        self._receiver = receiver
        self._files = files
        self._clock = clock

    async def take(self, body: bytes, number: int) -> BlockTaken:
        """Takes block `number` of a file: `body` is the file's header frame and the block's.

        Raises InvalidInput, Refused or Corrupt when it is nothing that a node of this hub has written.
        """
        head, kind, sealed = _parts(body)
        origin = await self._origin(read_header(head))
        seal = StickSeal(origin.secret_hash, origin.header, head)
        try:
            block = unpack(seal.open(sealed, number, last=kind == LAST))
        except Corrupt as error:
            raise InvalidInput(
                f"{error}: the stick is damaged, or node «{origin.name}» was enrolled again since. Export it again"
            ) from error
        try:
            return await self._take(origin, block)
        except StorageFull:
            raise
        except (InvalidInput, Refused, NotFound) as error:
            return BlockTaken(problem=str(error), node=origin.name)

    async def _origin(self, header: StickHeader) -> _From:
        if header.kind != "data":
            raise InvalidInput("it is a receipt, which a node takes, not a hub")
        if header.hub != self._store.facts.hub_id:
            raise Refused("it is for another hub")
        query = select(node.c.name, node.c.secret_hash).where(
            node.c.fleet_id == FLEET, node.c.id == header.node
        )
        found = await self._store.read(lambda connection: connection.execute(query).one_or_none())
        if found is None:
            raise Refused(f"it is from node {header.node}, which this hub does not have (any more)")
        return _From(header.node, found.name, found.secret_hash, header)

    async def _take(self, origin: _From, block: Block) -> BlockTaken:
        if block.unit:
            return await self._take_unit(origin, decode(block.unit, PushUnit, "a unit"))
        if block.manifest is not None:
            return await self._take_manifest(origin, block.manifest)
        if block.piece is not None:
            return await self._take_piece(origin, block.piece)
        if block.contents is not None:
            receipt = await self._receipt(origin, block.contents)
            return BlockTaken(node=origin.name, receipt=receipt)
        raise InvalidInput("cannot read the block: it is empty")

    async def _take_unit(self, origin: _From, unit: PushUnit) -> BlockTaken:
        before = await self._point(origin.node_id, unit)
        reply = await self._receiver.receive(origin.node_id, unit, self._clock.wall_ns())
        if unit.lane == "state":
            count = new = 0
        else:
            count = sum(len(decode(each, Batch, "a batch").records) for each in unit.frames)
            last = min(reply.point.n, unit.first + count - 1)
            new = max(last - max(before.n, unit.first - 1), 0) if reply.outcome == "ok" else 0
        why = {"ok": "", "gap": _EARLIER, "diverged": _OTHER}[reply.outcome]
        problem = f"cannot take records of lane «{unit.lane}»: {why}" if why else ""
        return BlockTaken(count, new, problem=problem, node=origin.name)

    async def _take_manifest(self, origin: _From, manifest: FileManifest) -> BlockTaken:
        before = await self._files.state(origin.node_id, manifest.sha256)
        state = await self._files.offer(origin.node_id, manifest)
        done = state.complete and not before.complete
        return BlockTaken(files=int(done), node=origin.name)

    async def _take_piece(self, origin: _From, piece: Piece) -> BlockTaken:
        end = piece.start + len(piece.data)
        state = await self._files.state(origin.node_id, piece.sha256)
        was_complete = state.complete
        while not state.complete and piece.start <= state.start < end:
            data = piece.data[state.start - piece.start : state.end - piece.start]
            following = await self._files.take(origin.node_id, piece.sha256, state.start, data)
            if following == state:
                break
            state = following
        problem = ""
        if not state.complete and (state.manifest or state.start < piece.start):
            problem = f"cannot take file {piece.sha256[:12]}…: {_EARLIER}"
        done = state.complete and not was_complete
        return BlockTaken(files=int(done), problem=problem, node=origin.name)

    async def _point(self, node_id: str, unit: PushUnit) -> LanePoint:
        def work(connection: Connection) -> LanePoint:
            return points.read(connection, node_id, unit.incarnation)[unit.lane].point

        return await self._store.read(work)

    async def _receipt(self, origin: _From, contents: Contents) -> bytes:
        def work(connection: Connection) -> Receipt:
            query = rows.in_scope(origin.node_id, _NODES_OWN)
            held = points.read(connection, origin.node_id, contents.incarnation)
            bodies = Bodies.of(connection)
            return Receipt(
                stick=origin.header.id,
                incarnation=contents.incarnation,
                hub_time=self._clock.wall_ns(),
                lanes={lane: each.point for lane, each in held.items()},
                after=contents.after,
                rows=[rows.to_wire(bodies, row) for row in connection.execute(query)],
                files=[],
                whole=False,
            )

        receipt = await self._store.read(work)
        files = await self._files.held(origin.node_id, contents.files)
        whole = len(files) == len(contents.files) and all(
            receipt.lanes[lane].n >= last for lane, (_, last) in contents.lanes.items()
        )
        return self._sealed(origin, msgspec.structs.replace(receipt, files=files, whole=whole))

    def _sealed(self, origin: _From, receipt: Receipt) -> bytes:
        of = origin.header
        header = StickHeader(
            FORMAT, "receipt", of.node, of.hub, random_token(), of.export, of.part, receipt.hub_time
        )
        seal = StickSeal(origin.secret_hash, header, encode(header))
        return whole_file(header, seal.seal(encode(receipt), 0, last=True))


def _parts(body: bytes) -> tuple[bytes, bytes, bytes]:
    rest = bytearray(body)
    match [split(rest), split(rest)]:
        case [(b"H", bytes(head)), (b"B" | b"L" as kind, bytes(sealed))] if not rest:
            return head, kind, sealed
        case _:
            raise InvalidInput("it is no block of a file from a stick")
