"""A site whose node never reaches its hub again, and a directory that stands for a stick."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

from tests.installation import Installation, Node, installation, sleeper
from tests.ports import free_port
from tests.shell import Ended, Shell

from skerry.testing.waiting import eventually
from skerry.wire.records import PublishedRecord
from skerry.wire.sync import RECORD_LANES

NAME = "deck.depth"


class Site:
    """One hub, one node that is enrolled and cut off, and a stick between them."""

    def __init__(self, shell: Shell, node: Node, stick: Path) -> None:
        self.shell = shell
        self.node = node
        self.stick = stick
        self.published = 0

    async def publish(self, count: int, *, noise: int = 0) -> None:
        """Values 1, 2, 3, … over all calls, each with so many random characters."""
        chance = random.Random(self.published)
        first, self.published = self.published + 1, self.published + count
        entries = [
            PublishedRecord(NAME, value, None, {"noise": chance.randbytes(noise // 2).hex()})
            for value in range(first, first + count)
        ]
        client = self.node.publisher("cam")
        await asyncio.to_thread(client.publish, "measurement", entries, 30)

    async def export(self, stick: Path | None = None, *words: str) -> Ended:
        return await self.shell.run("export", str(stick or self.stick), *words)

    async def bring(self, stick: Path | None = None, *words: str) -> Ended:
        """To the hub."""
        return await self.shell.run("import", str(stick or self.stick), *words)

    async def values(self) -> list[object]:
        """What the hub has, in the order of its time."""
        return [row.value for row in await self.shell.site.hub.rows(NAME)]

    async def has_all_once(self) -> None:
        assert sorted(await self.values()) == list(range(1, self.published + 1))  # type: ignore[type-var]

    async def waiting(self) -> int:
        """Records that the node takes for unacknowledged."""
        lanes = (await self.node.sync()).lanes
        return sum(lane.waiting for lane in lanes if lane.lane in RECORD_LANES)

    def files(self, suffix: str = ".stick") -> list[Path]:
        return sorted(self.stick.glob(f"*{suffix}"))

    async def restart(self, *, url: str | None = None) -> None:
        """The node's agent anew, with its hub there."""
        await self.node.kill()
        self.node.options[-1] = f"hub.url={url or dead_address()}"
        await self.node.start()
        await self.node.ready()
        await eventually(lambda: self.node.runs("cam"), "the workload runs")


def dead_address() -> str:
    return f"https://127.0.0.1:{free_port()}"


@contextlib.asynccontextmanager
async def cut_off_site(directory: Path) -> AsyncIterator[Site]:
    home, stick = directory / "home", directory / "stick"
    home.mkdir()
    stick.mkdir()
    async with installation(directory) as found:
        yield await _site(found, home, stick)


async def _site(found: Installation, home: Path, stick: Path) -> Site:
    site = Site(Shell(found, home), await found.started(sleeper("cam")), stick)
    await eventually(lambda: site.node.link_is("online"), "the node is online")
    await site.restart()
    return site
