"""Taking this node's unsent data to its hub by hand: writes it as sealed files, learns from the hub's receipts.

Loaded with the first export. The agent goes on meanwhile: segments are immutable, what the hub does not have is never
freed, and an export ends at the records that there were when it began. Neighbours: `stick_files` cuts what comes out of
here into files, `receipts` decides about what comes back; the hub's side is `hub.sync.carrying`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

import msgspec

from skerry.core.credentials import secret_hash
from skerry.core.stick_seal import StickSeal
from skerry.kit.clock import Clock
from skerry.kit.errors import Corrupt, InvalidInput, Refused, SkerryError
from skerry.node.identity import Enrolled
from skerry.node.store.files import FileRow
from skerry.node.store.records import RecordStore
from skerry.node.store.state import NodeStore
from skerry.node.sync.feeds import MAX_ROWS, RecordFeed
from skerry.node.sync.receipts import Verdict, judge
from skerry.node.sync.stick_files import Identity, Opened, Sheaf
from skerry.wire.codec import decode, encode
from skerry.wire.files import FileManifest
from skerry.wire.stick import (
    PROBLEM,
    PROGRESS,
    Block,
    Piece,
    Progress,
    Receipt,
    ReceiptTaken,
    frame,
    read_header,
)
from skerry.wire.sync import RECORD_LANES, Lane, LanePoint, PushUnit

PIECE, _LEAST_PIECE = 1024 * 1024, 32 * 1024
"""Bytes of a file in one block; less where the files of the export or the room are small."""

_FRAMES = 200
_ORDER: tuple[Lane, ...] = ("event", "state", "keep", "sample")


class FilesHere(Protocol):
    """The files that workloads have uploaded (`node.files.carried`)."""

    async def waiting(self) -> list[FileRow]:
        """Those that the hub does not have."""
        ...

    def manifest(self, row: FileRow) -> FileManifest:
        """Reads all of it. Raises Corrupt, OSError."""
        ...

    def read(self, row: FileRow, start: int, size: int) -> bytes: ...

    async def sent(self, sha256s: list[str]) -> int:
        """The hub has all of these; returns how many of them were waiting."""
        ...

    async def lost(self) -> None:
        """The hub was put back: all that it may need again waits."""
        ...


class Acknowledgements(Protocol):
    """How far the hub has each lane, as the running sync knows it (`sync.Sync`)."""

    @property
    def connected(self) -> bool: ...

    async def acknowledged(self) -> Mapping[Lane, LanePoint]: ...

    async def reload(self) -> None:
        """Takes up again what the store says."""
        ...


class Carrying:
    """One node's exports and receipts. `enrolled` None: it belongs to no hub."""

    def __init__(
        self,
        enrolled: Enrolled | None,
        store: NodeStore,
        records: RecordStore,
        files: FilesHere,
        known: Acknowledgements,
        clock: Clock,
    ) -> None:
        self._enrolled = enrolled
        self._store = store
        self._records = records
        self._files = files
        self._known = known
        self._clock = clock
        self._taking = asyncio.Lock()

    def export(self, room: int, part: int) -> AsyncIterator[bytes]:
        """Frames of files (`wire.stick`) of at most `part` bytes each and `room` together, and how far it is.

        Raises Refused when this node cannot seal anything for its hub, or `room` is too little for anything.
        """
        enrolled = self._member()
        who = Identity(
            enrolled.identity.node_id, enrolled.identity.hub_id, secret_hash(enrolled.secret)
        )
        sheaf = Sheaf(who, self._clock, self._store.incarnation, room, part)
        return self._explained(sheaf)

    async def take_receipt(self, data: bytes) -> ReceiptTaken:
        """Learns from a receipt's frames. Raises Refused when it is not this node's, InvalidInput when it is damaged."""
        enrolled = self._member()
        opened = Opened.of(data)
        header = read_header(opened.header)
        if header.kind != "receipt":
            raise InvalidInput("it is no receipt")
        if (header.node, header.hub) != (enrolled.identity.node_id, enrolled.identity.hub_id):
            raise Refused("it is for another node, or from another hub")
        seal = StickSeal(secret_hash(enrolled.secret), header, opened.header)
        try:
            content = seal.open(opened.sealed, 0, last=True)
        except Corrupt as error:
            raise InvalidInput(str(error)) from error
        receipt = decode(content, Receipt, "the receipt")
        async with self._taking:
            return await self._learn(receipt)

    def _member(self) -> Enrolled:
        if self._enrolled is None:
            raise Refused(
                "cannot carry data by hand: this node belongs to no hub, and only a hub's node has a key that the hub "
                "knows. Enrol it once where the hub can be reached: skerry node enroll"
            )
        if not self._enrolled.secret:
            raise Refused(
                "cannot carry data by hand: the node's secret is not there, so nothing can be sealed for its hub. Enrol it "
                "again: skerry node enroll --again"
            )
        return self._enrolled

    async def _explained(self, sheaf: Sheaf) -> AsyncIterator[bytes]:
        """`_export`; an error on the way, when the answer has long begun, is a frame, too."""
        try:
            async for one in self._export(sheaf):
                yield one
        except SkerryError as error:
            yield frame(PROBLEM, str(error).encode())

    async def _export(self, sheaf: Sheaf) -> AsyncIterator[bytes]:
        known = await self._known.acknowledged()
        after = {lane: known[lane] for lane in _ORDER}
        sheaf.after = dict(after)
        files = await self._files.waiting()
        # Read after the files, so that the records that name them are in it.
        heads = {lane: self._records.head(lane).n for lane in RECORD_LANES}
        of_records = sum(max(heads[lane] - after[lane].n, 0) for lane in RECORD_LANES)
        progress = Progress(0, of_records, 0, sum(row.size for row in files))
        yield _told(progress)
        problems: list[str] = []
        async for block, records, size in self._blocks(
            after, heads, files, sheaf.share_of(PIECE, _LEAST_PIECE), problems
        ):
            for one in await asyncio.to_thread(sheaf.add, block, records):
                yield one
            if sheaf.full:
                break
            progress = msgspec.structs.replace(
                progress, records=progress.records + records, bytes=progress.bytes + size
            )
            yield _told(progress)
        for one in sheaf.end():
            yield one
        for words in problems:
            yield frame(PROBLEM, words.encode())
        complete = not sheaf.full and not problems
        yield _told(msgspec.structs.replace(progress, ended=True, complete=complete))

    async def _blocks(
        self,
        after: Mapping[Lane, LanePoint],
        heads: Mapping[Lane, int],
        files: list[FileRow],
        piece: int,
        problems: list[str],
    ) -> AsyncIterator[tuple[Block, int, int]]:
        """Blocks with their numbers of records and bytes of files, in the order in which the hub can take them."""
        for lane in _ORDER:
            units = (
                self._state_units(after[lane])
                if lane == "state"
                else self._record_units(lane, after[lane], heads[lane])
            )
            async for unit, count in units:
                yield Block(unit=encode(unit)), count, 0
        for row in files:
            try:
                manifest = await asyncio.to_thread(self._files.manifest, row)
                yield Block(manifest=manifest), 0, 0
                for start in range(0, row.size, piece):
                    size = min(piece, row.size - start)
                    data = await asyncio.to_thread(self._files.read, row, start, size)
                    yield Block(piece=Piece(row.sha256, start, data)), 0, size
            except (Corrupt, OSError) as error:
                problems.append(f"cannot export file {row.sha256[:12]}…: {error}")

    async def _record_units(
        self, lane: Lane, after: LanePoint, head: int
    ) -> AsyncIterator[tuple[PushUnit, int]]:
        feed = RecordFeed(lane, 0.0, self._records, self._store)
        while after.n < head and (outgoing := await feed.unit(after)) is not None:
            yield outgoing.unit, outgoing.through.n - outgoing.unit.first + 1
            after = outgoing.through

    async def _state_units(self, after: LanePoint) -> AsyncIterator[tuple[PushUnit, int]]:
        while await self._store.freeze(MAX_ROWS):
            pass
        while frames := await self._store.frozen(after.n, _FRAMES):
            yield (
                PushUnit(
                    incarnation=self._store.incarnation,
                    lane="state",
                    first=frames[0].n,
                    previous=frames[0].previous,
                    boot_id=self._clock.boot_id(),
                    frames=[msgspec.Raw(each.body) for each in frames],
                ),
                0,
            )
            after = LanePoint(frames[-1].n, frames[-1].chain)

    async def _learn(self, receipt: Receipt) -> ReceiptTaken:
        if receipt.incarnation != self._store.incarnation:
            return ReceiptTaken(
                note="it is for what this node's store was before: nothing to learn"
            )
        if self._known.connected:
            return ReceiptTaken(
                note="the hub can be reached and says itself what it has", done=receipt.whole
            )
        verdicts = {lane: await self._judge(lane, receipt) for lane in _ORDER}
        if "other" in verdicts.values() or verdicts["state"] == "back":
            await self._begin_again()
            return ReceiptTaken(
                note="the hub knows another history of this node: the next export has all anew"
            )
        before = await self._known.acknowledged()
        files = await self._learn_files(receipt, verdicts, before)
        for lane, verdict in verdicts.items():
            if verdict != "known":
                await self._move(lane, receipt)
        await self._known.reload()
        more = sum(
            max(receipt.lanes[lane].n - before[lane].n, 0)
            for lane in RECORD_LANES
            if verdicts[lane] == "forward"
        )
        lost = "back" in verdicts.values()
        note = "the hub lost some of what it had: the next export has it again" if lost else ""
        return ReceiptTaken(more, files, note, done=receipt.whole and not lost)

    async def _learn_files(
        self,
        receipt: Receipt,
        verdicts: Mapping[Lane, Verdict],
        before: Mapping[Lane, LanePoint],
    ) -> int:
        """Whether files were lost, the lanes tell: a hub that lost records may have lost any file, too.

        A receipt that knows of less than we do is old, and its files may have been lost since.
        """
        if "back" in verdicts.values():
            await self._files.lost()
        elif any(receipt.lanes.get(lane, LanePoint()).n < before[lane].n for lane in _ORDER):
            return 0
        return await self._files.sent(receipt.files)

    async def _judge(self, lane: Lane, receipt: Receipt) -> Verdict:
        hub = receipt.lanes.get(lane, LanePoint())
        began = receipt.after.get(lane, LanePoint())
        own = (await self._known.acknowledged())[lane]
        if lane == "state":
            head = max(own.n, await self._store.last_frozen())
            chain = await self._store.state_chain(hub.n)
            return judge(hub, began, own, base=own.n, head=head, chain=chain)
        chain = await asyncio.to_thread(self._records.point_at, lane, hub.n)
        if chain is None and hub.n == own.n:
            chain = own.chain
        base, head_n = self._records.base(lane).n, self._records.head(lane).n
        return judge(hub, began, own, base=base, head=head_n, chain=chain)

    async def _move(self, lane: Lane, receipt: Receipt) -> None:
        point = receipt.lanes.get(lane, LanePoint())
        if lane == "state":
            await self._store.acknowledge_state(point, receipt.rows)
        else:
            await self._store.set_lane(lane, point)

    async def _begin_again(self) -> None:
        """From the oldest record that is here: without a hub to ask, nothing else is known to be at it."""
        await self._files.lost()
        await self._store.new_incarnation()
        for lane in RECORD_LANES:
            await self._store.set_lane(lane, LanePoint())
        await self._known.reload()


def _told(progress: Progress) -> bytes:
    return frame(PROGRESS, encode(progress))
