"""State and shared rows asked in one request: what goes along, what goes alone, and that neither half holds the other up."""

import asyncio
from collections.abc import Callable

import pytest

from skerry.kit.errors import Refused, Transient
from skerry.node.sync.together import Together
from skerry.testing.waiting import eventually
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
from skerry.wire.sync import Hello, HelloReply, Pull, PullReply, PushReply, PushUnit

STATE = Pull("here", "digest")
ROWS = RowsPull({"recipe": "here"})


def reply() -> PullReply:
    return PullReply([], "here", more=False, full=False, hub_time=1)


class Asked:
    """A hub that notes what it is asked: implements `Uplink`, `RowHub` and `RoundHub`. `trouble` is for rounds."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.calls: list[str] = []
        self.trouble = trouble

    async def pull(self, pull: Pull) -> PullReply:
        assert pull == STATE
        self.calls.append("pull")
        return reply()

    async def rows(self, pull: RowsPull) -> RowsPage:
        assert pull == ROWS
        self.calls.append("rows")
        return RowsPage([], 2)

    async def round(self, asked: Round) -> RoundReply:
        assert asked == Round(STATE, ROWS)
        self.calls.append("round")
        if self.trouble is not None:
            raise self.trouble
        return RoundReply(reply(), RowsPage([], 3))

    async def hello(self, hello: Hello) -> HelloReply:
        raise NotImplementedError(hello)

    async def push(self, unit: PushUnit) -> PushReply:
        raise NotImplementedError(unit)

    async def buckets(self, sums: Buckets) -> BucketsReply:
        raise NotImplementedError(sums)

    async def wanted(self, wanted: RowsWanted) -> RowsPart:
        raise NotImplementedError(wanted)


def together(hub: Asked) -> Together:
    return Together(hub, hub, hub)


async def waits(asking: "asyncio.Task[RowsPage]") -> None:
    """A few turns of the loop later it still has no answer."""
    for _ in range(5):
        await asyncio.sleep(0)
    assert not asking.done()


async def test_rows_go_along_with_the_states_question() -> None:
    hub = Asked()
    both = together(hub)
    both.coming()
    asking = asyncio.create_task(both.rows(ROWS))
    await waits(asking)
    assert hub.calls == []
    assert await both.pull(STATE) == reply()
    assert await asking == RowsPage([], 3)
    both.gone()
    assert hub.calls == ["round"]


async def test_rows_go_alone_when_no_question_is_coming() -> None:
    hub = Asked()
    both = together(hub)
    assert await both.rows(ROWS) == RowsPage([], 2)
    both.coming()
    await both.pull(STATE)
    assert await both.rows(ROWS) == RowsPage([], 2)  # the state has been asked already
    assert hub.calls == ["rows", "pull", "rows"]


async def test_rows_go_alone_when_the_states_question_does_not_come_after_all() -> None:
    hub = Asked()
    both = together(hub)
    both.coming()
    asking = asyncio.create_task(both.rows(ROWS))
    await waits(asking)
    both.gone()
    assert await asking == RowsPage([], 2)
    assert hub.calls == ["rows"]


@pytest.mark.parametrize("trouble", [Refused("cannot ask: the test"), None], ids=["refused", "no"])
async def test_a_refusal_of_one_half_is_none_of_the_other(trouble: Exception | None) -> None:
    hub = Asked(trouble)
    both = together(hub)
    both.coming()
    asking = asyncio.create_task(both.rows(ROWS))
    await waits(asking)
    assert await both.pull(STATE) == reply()
    await asking
    assert sorted(hub.calls) == (["pull", "round", "rows"] if trouble else ["round"])


async def test_rows_are_asked_when_the_round_had_no_answer() -> None:
    hub = Asked(Transient("cannot reach hub: the test"))
    both = together(hub)
    both.coming()
    asking = asyncio.create_task(both.rows(ROWS))
    await waits(asking)
    with pytest.raises(Transient):
        await both.pull(STATE)
    assert await asking == RowsPage([], 2)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_a_row_loop_that_ends_disturbs_nothing(when: str) -> None:
    hub = Asked()
    both = together(hub)
    both.coming()
    asking = asyncio.create_task(both.rows(ROWS))
    await waits(asking)
    end: Callable[[], object] = asking.cancel
    if when == "before":
        end()
        await asyncio.wait([asking])
    pulling = asyncio.create_task(both.pull(STATE))
    if when == "meanwhile":
        end()
    assert await pulling == reply()
    await eventually(asking.cancelled, "the row loop has ended")
    both.gone()
    assert await both.rows(ROWS) == RowsPage([], 2)
