"""The hub's shared rows over HTTP: implements `node.ports.RowHub` and `RoundHub`. Loaded with the first shared entity."""

from __future__ import annotations

import msgspec

from skerry.node.sync.uplink import HttpUplink
from skerry.wire.shared import (
    Buckets,
    BucketsReply,
    Round,
    RoundReply,
    RowsPage,
    RowsPart,
    RowsPull,
    RowsWanted,
)

_WHAT = "ask for rows"


class HttpRowHub:
    """One node's questions about rows, and that after everything. Answers have `most` bytes of rows, where the link is limited."""

    def __init__(self, uplink: HttpUplink, most: int = 0) -> None:
        self._uplink = uplink
        self._most = most

    async def rows(self, pull: RowsPull) -> RowsPage:
        """As `RowHub`, and so are the next two."""
        pull = msgspec.structs.replace(pull, most=self._most)
        return await self._uplink.ask("rows/pull", pull, RowsPage, what=_WHAT)

    async def round(self, asked: Round) -> RoundReply:
        """As `RoundHub`; for a link that is not limited."""
        return await self._uplink.ask("round", asked, RoundReply, what="ask for changes")

    async def buckets(self, sums: Buckets) -> BucketsReply:
        sums = msgspec.structs.replace(sums, most=self._most)
        return await self._uplink.ask("rows/buckets", sums, BucketsReply, what=_WHAT)

    async def wanted(self, wanted: RowsWanted) -> RowsPart:
        wanted = msgspec.structs.replace(wanted, most=self._most)
        return await self._uplink.ask("rows/wanted", wanted, RowsPart, what=_WHAT)
