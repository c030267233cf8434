"""Shared rows over a limited link: each class in its turn, in pieces. Time passes for the turns in the test's hand."""

import asyncio
import random
from pathlib import Path

from tests.shared_rig import Fleet, SharingNode, fleet

from skerry.kit.clock import SystemClock
from skerry.node.sync.metering import Month
from skerry.node.sync.on_request import sync_now
from skerry.node.sync.pace import untold
from skerry.node.sync.turns import LinkTurns
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.shared import Declaration

ALARM, NOTES = "alarm", "notes"
DECLARED = {ALARM: Declaration(priority="high"), NOTES: Declaration(priority="low")}


class Facts:
    async def fact(self, _name: str) -> str | None:
        return None

    async def set_fact(self, name: str, value: str, *, durable: bool = True) -> None:
        raise AssertionError(f"{name}={value} ({durable}): without a cap nothing is counted")


class Link:
    """`held` says why only high priority goes."""

    def __init__(self, rate: int | None) -> None:
        self.clock = ManualClock()
        self.held = ""
        month = Month(Facts(), None, self.clock, untold)
        self.turns = LinkTurns(rate, lambda: self.held, month, self.clock)

    @property
    def waiters(self) -> list[str]:
        return [one.priority for one in self.turns._waiters]


async def declared(node: SharingNode) -> None:
    for entity, how in DECLARED.items():
        await node.rows.declare(entity, how)


async def writer_of(found: Fleet, notes: int) -> SharingNode:
    """A node that has written so many notes of 2 kB that do not compress, and an alarm; the hub has them."""
    node = await found.node("writer")
    await declared(node)
    chance = random.Random(1)
    for number in range(notes):
        text = chance.randbytes(1000).hex().encode()
        await node.program.put(NOTES, f"n{number:03}", b'{"t":"%s"}' % text)
    await node.program.put(ALARM, "first", b"{}")
    node.sync_on()
    await eventually(node.sent_all, "the hub has them")
    return node


async def test_critical_only_holds_back_the_rows_of_other_classes(short_dir: Path) -> None:
    link = Link(None)
    link.held = "the test says so"
    async with fleet(short_dir) as found:
        await writer_of(found, 3)
        reader = await found.node("reader", link.turns)
        await declared(reader)
        await reader.program.put(NOTES, "mine", b"{}")
        reader.sync_on()

        async def has_the_alarm() -> bool:
            return list(await reader.dump(ALARM)) == ["first"]

        await eventually(has_the_alarm, "the alarm is there")
        await eventually(lambda: link.waiters.count("low") == 2, "a push and a pull wait")
        assert list(await reader.dump(NOTES)) == ["mine"]
        status = await reader.sync.status()
        assert status.result == "success"
        assert {each.name: each.waiting for each in status.entities} == {ALARM: 0, NOTES: 1}
        link.held = ""
        link.turns._bell.ring()
        assert len(await found.equal(NOTES)) == 4


async def test_a_round_on_request_counts_rows_not_frames(short_dir: Path) -> None:
    async with fleet(short_dir) as found:
        node = await writer_of(found, 5)
        for number in range(7):
            await node.program.put(NOTES, f"m{number}", b"{}")
        done = await sync_now(node.sync, SystemClock(), 30.0)
        assert (done.ok, done.problems, done.waiting["rows-low"]) == (True, [], 0)


async def test_what_has_a_schedule_waits_for_it_or_for_somebody_who_asks(short_dir: Path) -> None:
    async with fleet(short_dir) as found:
        node = await writer_of(found, 1)
        await node.stop()
        node.every = {NOTES: 3600.0}
        await node.start_at(found.hub.address)
        node.sync_on()
        reader = await found.node("reader")
        await declared(reader)
        reader.sync_on()
        await found.equal(NOTES)
        assert (await sync_now(node.sync, SystemClock(), 30.0)).ok
        await eventually(lambda: not node.schedule.may_pull(NOTES), "its time is over")
        await node.shared.frames.freeze("rows-low")
        await node.program.put(NOTES, "mine", b"{}")
        await node.program.put(ALARM, "mine", b"{}")
        await reader.program.put(NOTES, "theirs", b"{}")
        await reader.program.put(ALARM, "theirs", b"{}")
        await eventually(lambda: _has(node, ALARM, "theirs"), "news of the urgent one have come")
        await eventually(lambda: _has(reader, ALARM, "mine"), "so has ours")
        assert await node.rows.unsent(NOTES) == 1
        assert not await _has(node, NOTES, "theirs")
        await eventually(reader.sent_all, "the hub has theirs")
        assert (await sync_now(node.sync, SystemClock(), 30.0)).waiting["rows-low"] == 0
        assert len(await found.equal(NOTES)) == 3


async def _has(node: SharingNode, entity: str, row_id: str) -> bool:
    return await node.program.get(entity, row_id) is not None


async def test_a_high_row_waits_for_no_more_than_a_piece(short_dir: Path) -> None:
    link = Link(100_000)
    piece = link.turns.piece
    async with fleet(short_dir) as found:
        writer = await writer_of(found, 100)
        reader = await found.node("reader", link.turns)
        await declared(reader)
        reader.sync_on()
        await eventually(lambda: link.waiters == ["low"], "the link is used up")
        await writer.program.put(ALARM, "second", b"{}")
        await eventually(writer.sent_all, "the hub has the alarm")
        await eventually(lambda: "high" in reader.asking, "the alarm is asked for")
        before = len(reader.pages)
        while not await reader.program.get(ALARM, "second"):
            if "high" in link.waiters:  # however long its page takes then
                link.clock.advance(0.005)  # far less than a page of the others takes
            await asyncio.sleep(0.005)
        came = [part.entity for page in reader.pages[before:] for part in page.parts if part.rows]
        assert came[: came.index(ALARM)].count(NOTES) <= 1  # others may follow until it is stored
        for page in reader.pages:
            rows = [row for part in page.parts for row in part.rows]
            assert sum(len(bytes(row.body)) for row in rows) <= piece
        assert len(await reader.dump(NOTES)) < 100  # else it proves nothing
