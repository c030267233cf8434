"""Many rows at once: as one by one, however many go into one statement."""

import pytest
from sqlalchemy import Connection, select
from tests.hub_rig import HubRig

from skerry.hub.store import bulk
from skerry.hub.store.shared_tables import shared_commit
from skerry.hub.store.tables import FLEET, batch

Rows = list[tuple[object, ...]]

TABLE = shared_commit


def _rows(numbers: range, tag: str, at: int = 7) -> Rows:
    return [(FLEET, number, -number, f"{tag}{number}", at) for number in numbers]


def _held(connection: Connection) -> Rows:
    return [tuple(row) for row in connection.execute(select(TABLE).order_by(TABLE.c.last))]


@pytest.mark.parametrize("count", [1, 198, 199, 200, 700])
async def test_rows_that_are_there_stay_or_are_replaced(hub: HubRig, count: int) -> None:
    half = range(1, count + 1, 2)

    def work(connection: Connection) -> tuple[Rows, Rows]:
        bulk.insert_new(connection, TABLE, _rows(half, "old"))
        bulk.insert_new(connection, TABLE, _rows(range(1, count + 1), "new"))
        inserted = _held(connection)
        bulk.put(connection, TABLE, _rows(range(1, count + 1), "put", 8), but=["tag"])
        return inserted, _held(connection)

    inserted, replaced = await hub.store.write(work)
    expected = [
        _rows(range(n, n + 1), "old" if n in half else "new")[0] for n in range(1, count + 1)
    ]
    assert inserted == expected
    assert replaced == [(*row[:4], 8) for row in expected]


@pytest.mark.parametrize("count", [1, 249, 250, 251, 700])
async def test_what_is_the_same_in_all_rows_is_said_once(hub: HubRig, count: int) -> None:
    def work(connection: Connection) -> Rows:
        short = [row[:4] for row in _rows(range(1, count + 1), "short")]
        bulk.insert_new(connection, TABLE, _rows(range(1, 2), "there"))
        bulk.insert_new(connection, TABLE, short, fixed={"at": 9})
        return _held(connection)

    expected = [*_rows(range(1, 2), "there"), *_rows(range(2, count + 1), "short", 9)]
    assert await hub.store.write(work) == expected


@pytest.mark.parametrize("count", [1, 142, 700])
async def test_numbers_rise_in_the_order_of_the_rows(hub: HubRig, count: int) -> None:
    rows: Rows = [("event", "boot", number, -number, "synced", 7) for number in range(count)]

    def work(connection: Connection) -> tuple[Rows, Rows]:
        expected: Rows = []
        for _ in range(2):
            numbers = bulk.insert_numbered(connection, batch, rows)
            expected += [(number, *row) for number, row in zip(numbers, rows, strict=True)]
        assert not bulk.insert_numbered(connection, batch, [])
        found = connection.execute(select(batch).order_by(batch.c.id))
        return expected, [tuple(row) for row in found]

    expected, found = await hub.store.write(work)
    assert len({row[0] for row in expected}) == 2 * count
    assert found == expected
