"""The newest records of a few long series: as much work as the answer has records, however many there are."""

import json
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql
from tests.hub_rig import HubRig, batch

from skerry.hub.data.newest import Span, newest
from skerry.kit.errors import InvalidInput
from skerry.wire.records import INT64, Batch

T0 = 1_760_000_000_000_000_000
SERIES, LENGTH, WANTED = 2, 3000, 5


def long_series(node_id: str) -> Batch:
    return batch(*range(LENGTH), at=T0, session=node_id * 32)


async def test_the_plan_walks_each_series_once(hub: HubRig) -> None:
    def fill(connection: Connection) -> None:
        for node_id in "abcdef"[:SERIES]:
            hub.ingest.ingest(connection, node_id, "boot", T0, [long_series(node_id)])()

    def measure(connection: Connection) -> list[dict[str, Any]]:
        query, _ = newest(connection, Span(-INT64, INT64 - 1), WANTED)
        text = query.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {text}".replace("%", "%%")
        found = connection.exec_driver_sql(explain).scalar_one()
        return parts(found[0]["Plan"] if isinstance(found, list) else json.loads(found)[0]["Plan"])

    await hub.store.write(fill)
    rows = (await hub.query.records(WANTED)).rows
    assert [row.value for row in rows] == [
        LENGTH - 3,
        LENGTH - 2,
        LENGTH - 2,
        LENGTH - 1,
        LENGTH - 1,
    ]
    assert [row.value for row in await hub.query.latest()] == [LENGTH - 1] * SERIES
    if not hub.store.shared:
        return
    await hub.store.write(lambda connection: connection.exec_driver_sql("ANALYZE record"))
    plan = await hub.store.read(measure)
    assert max(part["Actual Loops"] for part in plan) <= SERIES
    read = sum(
        part["Actual Rows"] * part["Actual Loops"] for part in plan if "Scan" in part["Node Type"]
    )
    assert read < 10 * SERIES * WANTED


async def test_what_no_name_has_is_found_nowhere_or_refused(hub: HubRig) -> None:
    question = hub.query.records(name="a\0b*")
    if hub.store.shared:
        with pytest.raises(InvalidInput, match="cannot ask for that: .*NUL"):
            await question
    else:
        assert (await question).rows == []


def parts(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(part for below in plan.get("Plans", []) for part in parts(below))]
