"""The live link's WebSocket is closed however its keeping ends."""

import asyncio
import random

from tests.sync_rig import HUB_URL, Logs

from skerry.kit.bell import Bell
from skerry.node.sync.live_link import Bells, LiveLink
from skerry.node.sync.reachability import Reachability
from skerry.testing.fake_hub import FakeHub
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.link import News


class StuckFacts:
    """A store whose commits take for ever."""

    async def fact(self, name: str) -> str | None:
        raise NotImplementedError(name)

    async def set_fact(
        self,
        name: str,  # noqa: ARG002
        value: str,  # noqa: ARG002
        *,
        durable: bool = True,  # noqa: ARG002
    ) -> None:
        await asyncio.Event().wait()


async def test_a_link_that_opens_while_the_sync_ends_is_closed(
    manual_clock: ManualClock, chance: random.Random
) -> None:
    hub = FakeHub()
    reachability = Reachability(StuckFacts(), manual_clock, lambda: HUB_URL)
    bells = Bells(Bell(), Bell(), Bell())
    link = LiveLink(
        hub, Logs(), reachability, manual_clock, chance, bells, run="run-1", services={}
    )
    keeping = asyncio.create_task(link.keep())
    await eventually(lambda: hub.links != [], "the link is open")
    keeping.cancel()
    await asyncio.wait([keeping])
    assert hub.links[0].closed


class KnownFacts(StuckFacts):
    """A store whose commits take no time."""

    async def set_fact(self, name: str, value: str, *, durable: bool = True) -> None:
        """Nothing is kept."""


async def test_news_of_rows_wake_nobody_else(
    manual_clock: ManualClock, chance: random.Random
) -> None:
    hub = FakeHub()
    reachability = Reachability(KnownFacts(), manual_clock, lambda: HUB_URL)
    bells = Bells(Bell(), Bell(), Bell())
    link = LiveLink(
        hub, Logs(), reachability, manual_clock, chance, bells, run="run-1", services={}
    )
    keeping = asyncio.create_task(link.keep())
    await eventually(lambda: hub.links != [], "the link is open")
    hub.links[0].tell(News(rows=True))
    await eventually(lambda: bells.rows.count == 1, "rows are asked for")
    assert bells.news.count == 0
    hub.links[0].tell(News())
    await eventually(lambda: bells.rows.count == 2, "rows are asked for, too")
    assert bells.news.count == 1
    keeping.cancel()
    await asyncio.wait([keeping])
