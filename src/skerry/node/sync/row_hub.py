"""The hub's shared rows over HTTP: implements `node.ports.RowHub`. Loaded with the first shared entity."""

from __future__ import annotations

from skerry.node.sync.uplink import HttpUplink
from skerry.wire.shared import Buckets, BucketsReply, RowsPage, RowsPart, RowsPull, RowsWanted

_WHAT = "ask for rows"


class HttpRowHub:
    """One node's questions about rows."""

    def __init__(self, uplink: HttpUplink) -> None:
        self._uplink = uplink

    async def rows(self, pull: RowsPull) -> RowsPage:
        """As `RowHub`, and so are the next two."""
        return await self._uplink.ask("rows/pull", pull, RowsPage, what=_WHAT)

    async def buckets(self, sums: Buckets) -> BucketsReply:
        return await self._uplink.ask("rows/buckets", sums, BucketsReply, what=_WHAT)

    async def wanted(self, wanted: RowsWanted) -> RowsPart:
        return await self._uplink.ask("rows/wanted", wanted, RowsPart, what=_WHAT)
