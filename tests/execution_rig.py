"""A command beside a workload's processes, as `access.executions` uses what a runtime starts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable

from skerry.node.execution_port import Execution
from skerry.wire.executions import STDERR, STDOUT, Ending


class Printed:
    """What an execution passes on, by stream."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.streams: dict[int, bytearray] = {STDOUT: bytearray(), STDERR: bytearray()}
        self.more = asyncio.Event()
        self.reading = asyncio.ensure_future(execution.output(self._take))

    async def _take(self, data: bytes, stream: int) -> None:
        self.streams[stream] += data
        self.more.set()

    @property
    def out(self) -> str:
        return self.streams[STDOUT].decode()

    @property
    def err(self) -> str:
        return self.streams[STDERR].decode()

    async def until(self, words: str) -> None:
        """Returns when these have been printed."""
        async with asyncio.timeout(30):
            while words not in self.out:
                assert not self.reading.done(), (self.out, self.err)
                self.more.clear()
                await asyncio.wait(
                    [self.reading, asyncio.ensure_future(self.more.wait())],
                    return_when=asyncio.FIRST_COMPLETED,
                )

    async def end(self) -> Ending:
        """Returns when it has ended and everything is here."""
        async with asyncio.timeout(60):
            await self.reading
            return await self.execution.ended()


@contextlib.asynccontextmanager
async def executing(beginning: Awaitable[Execution]) -> AsyncIterator[Printed]:
    """A command that runs at most as long as the block."""
    execution = await beginning
    printed = Printed(execution)
    try:
        yield printed
    finally:
        printed.reading.cancel()
        await asyncio.wait([printed.reading])
        await execution.close()
