"""One request for what the state's loop and the rows' loop ask at the same moment: most rounds bring nothing, and cost a request.

`pull.PullLoop` says when it is about to ask; a question after rows that comes meanwhile waits for that, and goes along.
The state waits for no answer. Whatever one half meets, the other is then asked for itself. Loaded with the first shared entity.
"""

from __future__ import annotations

import asyncio

import msgspec

from skerry.kit.errors import InvalidInput, Refused
from skerry.node.ports import RoundHub, RowHub, Uplink
from skerry.wire.shared import (
    Buckets,
    BucketsReply,
    Round,
    RowsPage,
    RowsPart,
    RowsPull,
    RowsWanted,
)
from skerry.wire.sync import Pull, PullReply


class _Waiting(msgspec.Struct, frozen=True):
    """A question after rows; `answer` None: it is to be asked for itself."""

    question: RowsPull
    answer: asyncio.Future[RowsPage | None]

    def tell(self, answer: RowsPage | None) -> None:
        """Whoever asked may have gone."""
        if not self.answer.done():
            self.answer.set_result(answer)


class Together:
    """Implements `RowHub` for one row loop, and `pull.Company` for the state's."""

    def __init__(self, uplink: Uplink, rows: RowHub, both: RoundHub) -> None:
        self._uplink = uplink
        self._rows = rows
        self._both = both
        self._is_coming = False
        self._waiting: _Waiting | None = None

    def coming(self) -> None:
        """The state's question comes in a moment."""
        self._is_coming = True

    def gone(self) -> None:
        """It does not come any more."""
        self._is_coming = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.tell(None)

    async def pull(self, pull: Pull) -> PullReply:
        """As `Uplink.pull`, with what waits."""
        await asyncio.sleep(0)  # the row loop was woken by the same ring, after this one
        self._is_coming = False
        waiting, self._waiting = self._waiting, None
        if waiting is None or waiting.answer.done():
            return await self._uplink.pull(pull)
        rows: RowsPage | None = None
        try:
            reply = await self._both.round(Round(pull, waiting.question))
            rows = reply.rows
        except (Refused, InvalidInput):
            waiting.tell(None)
            return await self._uplink.pull(pull)
        finally:
            waiting.tell(rows)
        return reply.state

    async def rows(self, pull: RowsPull) -> RowsPage:
        """As `RowHub`, and so are the next two."""
        page = None
        if self._is_coming and self._waiting is None:
            self._waiting = _Waiting(pull, asyncio.get_running_loop().create_future())
            page = await self._waiting.answer
        return await self._rows.rows(pull) if page is None else page

    async def buckets(self, sums: Buckets) -> BucketsReply:
        return await self._rows.buckets(sums)

    async def wanted(self, wanted: RowsWanted) -> RowsPart:
        return await self._rows.wanted(wanted)
