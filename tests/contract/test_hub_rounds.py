"""A round, which asks after states and rows at once, is answered as both questions are alone; and a node asks so when it can."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Connection
from tests.hub_rig import HubRig
from tests.rows_site import RowsSite, SiteNode, rows_site
from tests.shared_rows import RowNode, put

from skerry.core.cursors import Position, set_digest, sign
from skerry.hub.store import changes
from skerry.hub.sync import row_cursors
from skerry.hub.sync.row_cursors import Place
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.shared import Declaration, Round, RowsPull
from skerry.wire.sync import Pull, PullReply

ENTITIES = ("recipe", "menu", "nothing")


async def asked(hub: HubRig, round_: Round) -> tuple[PullReply, list[object]]:
    """What a round is answered, which must be what both questions are answered alone."""
    reply = await hub.rounds.answer("n", round_)
    state = await hub.feed.answer("n", round_.state)
    rows = await hub.row_feed.answer("n", round_.rows)
    assert msgspec.structs.replace(reply.state, hub_time=state.hub_time) == state
    assert reply.rows.parts == rows.parts
    return reply.state, [part.rows for part in reply.rows.parts]


async def test_a_round_is_answered_as_both_questions_alone(hub: HubRig) -> None:
    writer = RowNode(hub, "a")
    await writer.push("recipe", *(put(f"r{n}", {"n": n}) for n in range(3)))
    begin = Round(Pull(None, ""), RowsPull(dict.fromkeys(ENTITIES, "")))
    _, rows = await asked(hub, begin)
    assert [len(each) for each in rows] == [3, 0, 0]  # type: ignore[arg-type]
    reply = await hub.rounds.answer("n", begin)
    cursors = {part.entity: part.cursor for part in reply.rows.parts}
    known = Round(Pull(reply.state.cursor, set_digest({})), RowsPull(cursors))
    state, rows = await asked(hub, known)
    assert (state.full, rows) == (False, [[], [], []])
    await writer.push("menu", put("m", {"n": 1}))
    _, rows = await asked(hub, known)
    assert [len(each) for each in rows] == [0, 1, 0]  # type: ignore[arg-type]


@pytest.mark.parametrize("half", ["state", "rows"])
async def test_a_round_finds_that_the_hub_was_put_back(hub: HubRig, half: str) -> None:
    """By either half: the cursor is of changes that this hub has never made."""
    await RowNode(hub, "a").push("recipe", put("r", {"n": 1}))
    key = hub.store.facts.cursor_key
    ahead = 10**6
    lost = sign(Position(1, ahead, "gone", "n"), key)
    lost_rows = row_cursors.write(Place(1, ahead, "gone", ahead, 0), "n", "recipe", key)
    round_ = Round(
        Pull(lost if half == "state" else None, ""),
        RowsPull({"recipe": lost_rows if half == "rows" else ""}),
    )
    reply = await hub.rounds.answer("n", round_)
    [part] = reply.rows.parts
    assert part.repair == ("lost" if half == "rows" else "")
    assert reply.state.full
    hello = await hub.rounds.answer("n", Round(Pull(None, ""), RowsPull({})))
    assert hello.state.cursor  # of the epoch that has begun
    assert await _epoch(hub) == 2


async def _epoch(hub: HubRig) -> int:
    return await hub.store.read(lambda connection: changes.read_log(connection).epoch)


async def test_rounds_bring_news_as_pulls_do(hub: HubRig) -> None:
    """Whoever asks in a round is told when rows of these entities change."""
    await hub.rounds.answer("n", Round(Pull(None, ""), RowsPull({"recipe": ""})))
    hub.news.clear()
    await RowNode(hub, "a").push("recipe", put("r", {"n": 1}))
    assert hub.news == ["n"]


class TestANode:
    @pytest.fixture
    async def site(
        self, tmp_path: Path, memory_dir: Path, manual_clock: ManualClock
    ) -> AsyncIterator[RowsSite]:
        url = f"sqlite:///{tmp_path / 'hub.db'}"
        async with rows_site(memory_dir, url, manual_clock) as found:
            yield found

    async def test_asks_after_states_and_rows_at_once(
        self, site: RowsSite, memory_dir: Path, manual_clock: ManualClock
    ) -> None:
        enrolled = await site.hub.enrol("n")
        node = SiteNode(memory_dir / "n", enrolled, manual_clock)
        await site.add(node, together=True)
        await site.share({"recipe": Declaration()})
        await site.edit_at_hub("recipe", [put("r", {"n": 1})])
        await eventually(lambda: _has(node, "r"), "news of rows have come")
        rounds = node.way.calls["round"]

        def asked() -> bool:
            node.sync.connection.check.ring()  # type: ignore[union-attr]  # again: it may be amidst one
            return node.way.calls["round"] > rounds

        await eventually(asked, "a hello is followed by one")
        assert node.way.calls["rows/pull"]  # the rows, of which the news alone were


async def _has(node: SiteNode, row_id: str) -> bool:
    return row_id in await node.dump("recipe")


async def test_a_change_during_the_first_round_is_told(
    hub: HubRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is of a moment before it, so the node must be known as a reader by then."""
    writer, loop = RowNode(hub, "a"), asyncio.get_running_loop()
    is_read, goes_on = asyncio.Event(), threading.Event()
    of_state = hub.feed.answer_within

    def answer(connection: Connection, node_id: str, pull: Pull) -> PullReply | None:
        found = of_state(connection, node_id, pull)
        loop.call_soon_threadsafe(is_read.set)
        goes_on.wait()
        return found

    monkeypatch.setattr(hub.feed, "answer_within", answer)
    first = Round(Pull(None, ""), RowsPull({"recipe": ""}))
    asking = asyncio.create_task(hub.rounds.answer("n", first))
    await is_read.wait()
    hub.news.clear()
    await writer.push("recipe", put("r", {"n": 1}))
    goes_on.set()
    rows = (await asking).rows.parts[0].rows
    assert rows or "n" in hub.news
