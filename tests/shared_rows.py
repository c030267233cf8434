"""What a node does about shared rows, made by hand: it pushes frames of edits, pulls by cursors, and compares buckets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from tests.hub_rig import INCARNATION, HubRig, Lanes

from skerry.core.merging import apply, mark
from skerry.core.row_digests import EMPTY, bucket_of, digest, replaced, unpack
from skerry.wire.codec import encode
from skerry.wire.shared import (
    Declaration,
    Edit,
    EditFrame,
    RowsPart,
    RowsPull,
    SharedRow,
    Strategy,
    judged_of,
)
from skerry.wire.sync import Lane, PushReply, PushUnit


def put(row_id: str, body: object, base: int = 0, hlc: int = 1, *, settles: bool = False) -> Edit:
    return Edit(row_id, base, hlc, "put", msgspec.Raw(encode(body)), settles)


def delete(row_id: str, base: int, hlc: int = 1) -> Edit:
    return Edit(row_id, base, hlc, "delete")


def patch(row_id: str, base: int, steps: bytes, hlc: int = 1, base_body: bytes = b"null") -> Edit:
    return Edit(row_id, base, hlc, "patch", msgspec.Raw(steps), base_body=msgspec.Raw(base_body))


class RowNode:
    """One node: its lanes, and the hub's rows that it holds."""

    def __init__(self, hub: HubRig, node_id: str = "n", incarnation: str = INCARNATION) -> None:
        self.hub = hub
        self.node_id = node_id
        self.lanes = Lanes(incarnation)
        self.rows: dict[str, dict[str, SharedRow]] = {}
        self.cursors: dict[str, str] = {}

    def unit(
        self, entity: str, edits: Sequence[Edit], lane: Lane = "rows-medium", each: int = 1000
    ) -> PushUnit:
        """One unit with frames of up to `each` edits."""
        frames = [
            EditFrame(entity, list(edits[start : start + each]))
            for start in range(0, len(edits), each)
        ]
        return self.lanes.unit(lane, frames)

    async def push(self, entity: str, *edits: Edit) -> PushReply:
        reply = await self.hub.push(self.node_id, self.unit(entity, edits))
        assert reply.outcome == "ok"
        return reply

    async def declare(self, entity: str, strategy: Strategy, **more: str) -> None:
        declared = Declaration(strategy, **more)  # type: ignore[arg-type]  # words of the wire
        await self.push("entity", put(entity, declared))

    async def pull(self, entity: str, limit: int = 1000) -> RowsPart:
        """One answer, taken over: patches are applied to what is held."""
        asked = RowsPull({entity: self.cursors.get(entity, "")}, limit)
        [part] = (await self.hub.row_feed.answer(self.node_id, asked)).parts
        assert part.entity == entity
        self.cursors[entity] = part.cursor
        self.take(entity, part.rows)
        return part

    async def pull_all(self, entity: str, limit: int = 1000) -> RowsPart:
        part = await self.pull(entity, limit)
        while part.more:
            part = await self.pull(entity, limit)
        return part

    def take(self, entity: str, rows: Sequence[SharedRow]) -> None:
        held = self.rows.setdefault(entity, {})
        for row in rows:
            if row.base:
                assert held[row.id].rev == row.base
                body = apply(bytes(held[row.id].body), bytes(row.body))
                whole = msgspec.structs.replace(row, body=msgspec.Raw(body), base=0)
                held[row.id] = whole
            elif row.deleted:
                held.pop(row.id, None)
            else:
                held[row.id] = row

    def bodies(self, entity: str) -> dict[str, object]:
        held = self.rows.get(entity, {})
        return {row_id: msgspec.json.decode(row.body) for row_id, row in sorted(held.items())}

    def sums(self, entity: str) -> list[int]:
        sums = unpack(EMPTY)
        for row in self.rows.get(entity, {}).values():
            bucket = bucket_of(row.id)
            sums[bucket] = replaced(sums[bucket], 0, mark(row.id, row.rev, bytes(row.body)))
        return sums

    def digest(self, entity: str) -> str:
        return digest(self.sums(entity))


Outcome = Literal["merged", "lost", "conflict", "whole"]


def outcomes(reply: PushReply) -> list[tuple[int, Outcome]]:
    return [(judged.index, judged.outcome) for judged in judged_of(reply.judged)]
