"""Many rows at once: as one by one, however many go into one statement."""

import pytest
from sqlalchemy import Connection, select
from tests.hub_rig import HubRig

from skerry.hub.store import bulk
from skerry.hub.store.shared_tables import shared_commit
from skerry.hub.store.tables import FLEET

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
