"""What the hub tells nodes that its backups have: the furthest point of those that count, and never more."""

from __future__ import annotations

import pytest
from tests.hub_rig import INCARNATION, HubRig, Lanes, batch

from skerry.hub.backups import ledger
from skerry.hub.backups.ledger import Entry, Point
from skerry.wire.sync import LANES, Hello, Lane

HOUR = 3600 * 10**9


def entry(name: str, *, taken_at: int = 1, until: int = HOUR) -> Entry:
    return Entry(name, f"/backups/{name}", 10, taken_at, until)


async def told(hub: HubRig, incarnation: str = INCARNATION) -> dict[Lane, int]:
    hello = Hello((1, 1), incarnation, "0.1", "boot-1")
    return (await hub.greeter.hello("n", hello)).backed_up_through


async def take(hub: HubRig, name: str, **times: int) -> None:
    points = await hub.store.read(ledger.read_points)
    await hub.store.write(lambda c: ledger.remember(c, entry(name, **times), points))


@pytest.mark.guarantee("G1")
async def test_nodes_hear_of_a_backup_when_it_is_remembered_and_no_longer_than_it_counts(
    hub: HubRig,
) -> None:
    lanes = Lanes()
    await hub.push("n", lanes.unit("keep", [batch(1, 2, 3)]))
    points = await hub.store.read(ledger.read_points)
    reply = await hub.push("n", lanes.unit("keep", [batch(4, counter=4, at=50)]))
    assert reply.backed_up_through == 0
    await hub.store.write(lambda c: ledger.remember(c, entry("one"), points))
    assert await told(hub) == dict.fromkeys(LANES, 0) | {"keep": 3}
    reply = await hub.push("n", lanes.unit("keep", [batch(5, counter=5, at=60)]))
    assert (reply.outcome, reply.backed_up_through) == ("ok", 3)
    assert await told(hub, "22" * 16) == dict.fromkeys(LANES, 0)
    await take(hub, "two", taken_at=2)
    assert (await told(hub))["keep"] == 5
    await hub.store.write(lambda c: ledger.forget(c, ["two"]))
    assert (await told(hub))["keep"] == 3
    gone = await hub.store.write(lambda c: ledger.forget_overdue(c, HOUR + 1))
    assert [each.id for each in gone] == ["one"]
    assert (await told(hub))["keep"] == 0


async def test_a_backup_that_is_seen_goes_on_counting_and_one_that_is_written_over_does_not(
    hub: HubRig,
) -> None:
    lanes = Lanes()
    await hub.push("n", lanes.unit("keep", [batch(1)]))
    await take(hub, "one")
    await hub.store.write(lambda c: ledger.prolong(c, ["one"], 3 * HOUR))
    assert await hub.store.write(lambda c: ledger.forget_overdue(c, 2 * HOUR)) == []
    await hub.push("n", lanes.unit("keep", [batch(2, counter=2)]))
    points = await hub.store.read(ledger.read_points)
    over = Entry("again", "/backups/one", 10, 2, HOUR)
    await hub.store.write(lambda c: ledger.remember(c, over, points))
    assert [each.id for each in await hub.store.read(ledger.entries)] == ["again"]
    assert (await told(hub))["keep"] == 2


async def test_what_came_out_of_a_backup_is_in_that_one_alone(hub: HubRig) -> None:
    lanes = Lanes()
    await hub.push("n", lanes.unit("keep", [batch(1, 2)]))
    await hub.store.write(
        lambda c: ledger.remember(c, entry("other"), [Point("n", INCARNATION, "keep", 9)])
    )
    points = await hub.store.read(ledger.read_points)
    await hub.store.write(lambda c: ledger.only(c, entry("source"), points))
    assert [each.id for each in await hub.store.read(ledger.entries)] == ["source"]
    assert (await told(hub))["keep"] == 2
