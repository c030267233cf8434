"""The audit log on each database: it grows at its end and nowhere else, by whichever hub, and keeps no secret."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sqlalchemy import Connection, delete, text, update
from sqlalchemy.exc import DBAPIError
from tests.hub_rig import HubRig

from skerry.core.audit_chain import GENESIS, follow
from skerry.core.audit_entries import Deed, shown
from skerry.hub.store import locks
from skerry.hub.store.engine import insert, parse_url, writer_engine
from skerry.hub.store.tables import FLEET, audit
from skerry.hub.trust.audit import AuditLog
from skerry.kit.errors import InvalidInput
from skerry.testing.manual_clock import ManualClock
from skerry.wire.audit import AuditHead


@pytest.fixture
def log(hub: HubRig) -> AuditLog:
    return AuditLog(hub.store, hub.clock)


def deed(number: int = 0, **fields: object) -> Deed:
    return Deed("ann", "admin", f"act_{number}", **fields)  # type: ignore[arg-type]


async def test_entries_are_one_chain_and_come_by_pages(hub: HubRig, log: AuditLog) -> None:
    assert await log.head() == GENESIS
    numbers = await asyncio.gather(*(log.add(deed(number)) for number in range(40)))
    assert sorted(numbers) == list(range(1, 41))
    whole = await log.page(0, 1000)
    assert (whole.hub_id, whole.head.seq, len(whole.entries)) == (hub.store.facts.hub_id, 40, 40)
    assert follow(whole.entries, GENESIS, whole.head) is None
    first, rest = await log.page(0, 15), await log.page(15, 1000)
    assert [*first.entries, *rest.entries] == whole.entries
    assert (first.head, await log.page(40, 1)) == (
        whole.head,
        type(first)(first.hub_id, whole.head, []),
    )
    assert follow(rest.entries, AuditHead(15, first.entries[-1].hash)) is None
    for after, limit in ((-1, 1), (0, 0), (0, 1001)):
        with pytest.raises(InvalidInput, match="«limit» one from 1 to 1000"):
            await log.page(after, limit)


@pytest.mark.parametrize(
    "statement",
    [
        update(audit).values(actor="bob"),
        update(audit).where(audit.c.seq == 2).values(hash="0"),
        delete(audit),
        delete(audit).where(audit.c.seq == 3),
    ],
)
async def test_the_database_refuses_changes(hub: HubRig, log: AuditLog, statement: object) -> None:
    for number in range(3):
        await log.add(deed(number))
    before = await log.page(0, 10)
    engine = writer_engine(parse_url(hub.url))
    try:
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(statement)  # type: ignore[call-overload]
    finally:
        engine.dispose()
    assert await log.page(0, 10) == before


async def test_the_database_refuses_to_replace_or_empty(hub: HubRig, log: AuditLog) -> None:
    for number in range(3):
        await log.add(deed(number))
    before = await log.page(0, 10)
    engine = writer_engine(parse_url(hub.url))
    row = {column.name: "0" for column in audit.columns} | {
        "fleet_id": FLEET, "seq": 2, "version": 1, "at": 1, "status": 0, "of": 0, "count": 1,
    }  # fmt: skip
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                tries = [lambda: connection.execute(audit.insert().prefix_with("OR REPLACE"), row)]
            else:
                put = insert(connection, audit).values(row)
                anew = put.on_conflict_do_update(index_elements=["fleet_id", "seq"], set_={"actor": "x"})  # fmt: skip
                tries = [
                    lambda: connection.execute(anew),
                    lambda: connection.execute(text("TRUNCATE audit")),
                ]
            for each in tries:
                with pytest.raises(DBAPIError, match="append-only"), connection.begin():
                    each()
    finally:
        engine.dispose()
    assert await log.page(0, 10) == before


async def test_two_hubs_write_one_chain(hub: HubRig, manual_clock: ManualClock) -> None:
    if not hub.store.shared:
        return
    other = HubRig(hub.url, manual_clock, hub.encryption)
    await other.start()
    try:
        logs = [AuditLog(each.store, manual_clock) for each in (hub, other)]

        async def fleet(rig: HubRig) -> None:
            await rig.store.write(locks.of_fleet)

        work = [one.add(deed(number)) for number in range(60) for one in logs]
        work += [fleet(rig) for _ in range(60) for rig in (hub, other)]
        await asyncio.gather(*work)
        found = await logs[0].page(0, 1000)
    finally:
        other.stop()
    assert found.head.seq == 120
    assert follow(found.entries, GENESIS, found.head) is None


async def test_the_audit_log_is_locked_after_everything_else(hub: HubRig) -> None:
    order: list[str] = []
    entered, go = threading.Event(), threading.Event()

    def blocking(_: Connection) -> None:
        entered.set()
        go.wait()

    first = asyncio.create_task(hub.store.write(blocking))
    await asyncio.to_thread(entered.wait)
    others = [
        asyncio.create_task(write(lambda _, word=word: order.append(word)))
        for _ in range(3)
        for word, write in (("last", hub.store.write_last), ("job", hub.store.write))
    ]
    await asyncio.sleep(0)  # each is in the writer's queue
    go.set()
    await asyncio.gather(first, *others)
    assert order == ["job"] * 3 + ["last"] * 3


async def test_entries_survive_the_hub(hub: HubRig, log: AuditLog) -> None:
    await log.add(deed(1))
    hub.stop()
    again = HubRig(hub.url, hub.clock, hub.encryption)
    await again.start()
    try:
        other = AuditLog(again.store, hub.clock)
        assert await other.add(deed(2)) == 2
        assert follow((await other.page(0, 9)).entries, GENESIS) is None
    finally:
        again.stop()


async def test_whatever_a_field_holds_is_one_line_and_no_secret(hub: HubRig, log: AuditLog) -> None:
    for wild in ("a\0b\nc", "x" * 10_000, "é\ud800", f"/t/skt_{'ab' * 32}/x", "ab" * 32, "\x1b[2J"):
        await log.add(Deed(wild, wild, "act", wild, wild, detail=wild))
    found = await log.page(0, 100)
    assert follow(found.entries, GENESIS, found.head) is None
    texts = [row.entry.object for row in found.entries]
    assert texts[0] == "a�b�c"
    assert len(texts[1]) == 300
    assert texts[3:5] == ["/t/skt_…/x", "abababababab…"]
    assert shown("recipe/r-1") == "recipe/r-1"
