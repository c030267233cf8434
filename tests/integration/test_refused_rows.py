"""Shared rows that the hub refuses, and what a node tells of conflicts and repairs: row lanes as every other lane."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.hub_rig import DAY
from tests.rows_site import NEVER, RowsSite, SiteNode, rows_site

from skerry.cli.health import sync_table
from skerry.core.turns import priority_of
from skerry.kit.backoff import Backoff
from skerry.node.sync.on_request import log_page, sync_now
from skerry.node.sync.pace import Pace
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.local import NetworkStatus
from skerry.wire.rows import Resolve
from skerry.wire.shared import Declaration, Edit, Priority
from skerry.wire.sync import Lane

NAME = "recipe"
PACE = Pace(NEVER, attempts=3, refused=Backoff(10.0, 40.0, 2.0, jitter=0.0))
LANES: list[Priority] = ["high", "medium", "low"]


@pytest.fixture
async def site(memory_dir: Path, manual_clock: ManualClock) -> AsyncIterator[RowsSite]:
    async with rows_site(memory_dir, f"sqlite:///{memory_dir / 'hub.db'}", manual_clock) as found:
        yield found


async def sharing(site: RowsSite, declaration: Declaration, *, nodes: int = 1) -> list[SiteNode]:
    found = [await site.node(f"n{number}", PACE) for number in range(nodes)]
    await site.share({NAME: declaration})
    return found


def delays(node: SiteNode, kind: str) -> list[float]:
    """Seconds that the refusals of `kind` have to wait, as the log says."""
    page = log_page(node.store.log, 1000)
    found = [
        json.loads(bytes(e.details))
        for e in page.entries
        if e.operation == "retry" and e.kind == kind
    ]
    return [float(each["next_in"]) for each in found]


@pytest.mark.guarantee("G3")
@pytest.mark.parametrize("priority", LANES)
async def test_edits_that_are_refused_wait_are_parked_told_kept_and_tried_again(
    site: RowsSite, priority: Priority
) -> None:
    lane: Lane = f"rows-{priority}"
    [node] = await sharing(site, Declaration(priority=priority))
    node.way.refusing.add(lane)
    await node.program.put(NAME, "a", b"{}")
    await eventually(lambda: bool(node.heard("skerry.sync.parked")), "parked")
    [parked] = node.heard("skerry.sync.parked")
    assert (parked.meta["lane"], parked.meta["attempts"]) == (lane, 3)
    *waits, last = delays(node, lane)
    assert waits == [10.0, 20.0]
    assert last > 40  # until the schedule
    assert await node.statuses(NAME) == {"failed"}
    status = await node.sync.status()
    assert status.result == "failing"
    [waiting] = [each for each in status.lanes if each.lane == lane]
    assert (waiting.waiting, waiting.counters.refusals, waiting.parked) == (1, 3, True)
    round_ = await sync_now(node.sync, site.clock, NEVER)
    assert (round_.ok, round_.waiting[lane]) == (False, 1)
    assert node.way.calls[lane] >= 4
    node.way.refusing.clear()
    round_ = await sync_now(node.sync, site.clock, NEVER)
    assert (round_.ok, round_.sent[lane], round_.waiting[lane]) == (True, 1, 0)
    await eventually(lambda: bool(node.heard("skerry.sync.resumed")), "resumed")
    assert [told.meta["lane"] for told in node.heard("skerry.sync.resumed")] == [lane]
    assert await site.dump(NAME) == {"a": b"{}"}


@pytest.mark.guarantee("G3")
async def test_one_refused_lane_of_rows_holds_up_no_other(site: RowsSite) -> None:
    [node] = await sharing(site, Declaration(priority="high"))
    await node.rows.declare("other", Declaration(priority="low"))
    node.way.refusing.add("rows-high")
    await node.program.put(NAME, "a", b"{}")
    await node.program.put("other", "b", b"{}")
    await eventually(lambda: _has(site, "other"), "the other lane goes on")
    assert await site.dump(NAME) == {}


async def _has(site: RowsSite, entity: str) -> bool:
    return bool(await site.dump(entity))


@pytest.mark.guarantee("G3")
async def test_a_pull_of_rows_that_is_refused_is_parked_and_tried_on_request(
    site: RowsSite,
) -> None:
    [node] = await sharing(site, Declaration())
    node.way.refusing.add("rows/pull")
    await site.edit_at_hub(NAME, [Edit("a", 0, 0, "put")])
    await eventually(lambda: bool(node.heard("skerry.sync.parked")), "parked")
    [parked] = node.heard("skerry.sync.parked")
    assert parked.words == "pull of rows: cannot rows/pull: refused by the test"
    status = await node.sync.status()
    assert (status.result, status.failures, status.pulls.refusals) == ("failing", 3, 0)
    assert status.problems == ["cannot rows/pull: refused by the test"]
    assert status.problems[0] in sync_table(status, site.clock.wall_ns()).lead[-1].text
    assert status.row_pulls is not None
    assert status.row_pulls.refusals == 3
    assert len(delays(node, "pull")) == 3
    failed = await sync_now(node.sync, site.clock, NEVER)
    assert failed.problems == ["cannot rows/pull: refused by the test"]
    assert node.way.calls["rows/pull"] > status.row_pulls.refusals
    node.way.refusing.clear()
    went = await sync_now(node.sync, site.clock, NEVER)
    assert (went.ok, went.pulled) == (True, 1)
    assert await node.dump() == {"a": b"{}"}
    await eventually(lambda: bool(node.heard("skerry.sync.resumed")), "resumed")
    assert [told.words for told in node.heard("skerry.sync.resumed")] == ["pull of rows"]


@pytest.mark.parametrize(
    ("strategy", "outcome"), [("central_wins", "lost"), ("merge", "merged"), ("manual", "conflict")]
)
async def test_each_conflict_is_an_event(site: RowsSite, strategy: str, outcome: str) -> None:
    [node] = await sharing(site, Declaration(strategy))  # type: ignore[arg-type]  # words of the wire
    await node.program.bulk(NAME, [(f"{n:03}", b"{}") for n in range(103)])
    await eventually(node.sent_all, "the hub has them")
    bases = {row.id: row.rev for row in await node.program.list(NAME)}
    assert node.heard("skerry.sync.conflict") == []
    await node.hold()
    theirs = [Edit(each, base, 0, "put", b'{"theirs":1}') for each, base in bases.items()]  # type: ignore[arg-type]
    await site.edit_at_hub(NAME, theirs)
    await node.program.bulk(NAME, [(each, b'{"ours":1}') for each in bases])
    node.way.may_push.set()
    node.way.may_pull.set()
    await eventually(lambda: len(node.heard("skerry.sync.conflict")) == 101, "told")
    first, *_, last = node.heard("skerry.sync.conflict")
    assert first.meta == {"entity": NAME, "row": "000", "outcome": outcome}
    assert (last.meta["entity"], last.meta[outcome]) == (NAME, 3)


async def test_a_repair_is_an_event(site: RowsSite) -> None:
    node, other = await sharing(site, Declaration(), nodes=2)
    await node.program.bulk(NAME, [(f"{n}", b"{}") for n in range(30)])
    await site.equal()
    await node.sync_off()
    for n in range(3):
        await other.program.delete(NAME, f"{n}")
    await other.program.put(NAME, "new", b"{}")
    await eventually(other.sent_all, "the hub knows it")
    site.clock.advance(31 * DAY)
    await site.hub.retention.sweep(site.clock.wall_ns())
    node.sync_on()
    await site.equal()
    await eventually(lambda: bool(node.heard("skerry.sync.repaired")), "told")
    [told] = node.heard("skerry.sync.repaired")
    assert told.words == f"rows of «{NAME}»: 1 fetched, 3 dropped, 0 sent again"
    assert told.meta == {"entity": NAME, "put_back": False, "dropped": 3, "again": 0, "wanted": 1}


async def test_the_log_tells_of_rows_too(site: RowsSite) -> None:
    [node] = await sharing(site, Declaration("manual"))
    await node.program.put(NAME, "a", b'{"n":0}')
    await eventually(node.sent_all, "the hub has it")
    row = await node.program.get(NAME, "a")
    assert row is not None
    await node.hold()
    put = Edit("a", row.rev, 0, "put", msgspec.Raw(b'{"n":1}'))
    await site.edit_at_hub(NAME, [put, Edit("b", 0, 0, "put")])
    await node.program.put(NAME, "a", b'{"n":2}')
    node.way.may_push.set()
    await eventually(node.in_conflict, "the edit waits")
    node.way.may_pull.set()
    await node.has_pulled()
    await site.hub.shared_rows.resolve(NAME, "a", Resolve("node"))
    await site.equal()
    await eventually(lambda: _is_over(node), "the decision has come")
    await node.sync_off()
    entries = [e for e in log_page(node.store.log, 1000).entries if e.kind in {NAME, "rows-medium"}]
    told = {(e.operation, e.kind, e.name, e.status) for e in entries}
    assert told >= {
        ("conflict", NAME, "a", "waiting"),
        ("resolve", NAME, "a", "success"),
        ("pull", NAME, "", "success"),
        ("push", "rows-medium", "1..1", "success"),
    }
    pulled = [json.loads(bytes(e.details)) for e in entries if e.operation == "pull"]
    assert sum(each["rows"] for each in pulled) >= 2
    assert sum(each["bytes"] for each in pulled) >= len(b'{"n":2}')


async def _is_over(node: SiteNode) -> bool:
    return not await node.in_conflict()


class OnlyHigh:
    """Turns on a link where only high priority goes: what `sync_now` asks of `LinkTurns`."""

    held = "critical only"

    def of_lane(self, lane: str) -> Priority:
        return priority_of(lane)

    async def status(self) -> NetworkStatus:
        return NetworkStatus(only_high=self.held)

    async def save(self) -> None:
        pass


async def test_a_round_on_request_waits_for_no_pull_that_may_not_go(site: RowsSite) -> None:
    node = await site.node("n", PACE, held_back=("medium", "low"))
    await site.share({"urgent": Declaration(priority="high")})
    node.sync.turns = OnlyHigh()  # type: ignore[assignment]
    await node.rows.declare(NAME, Declaration(priority="medium"))
    await site.edit_at_hub("urgent", [Edit("a", 0, 0, "put")])
    went = await sync_now(node.sync, site.clock, NEVER)
    assert (went.ok, went.held) == (True, "critical only")
    assert await node.dump("urgent") == {"a": b"{}"}
