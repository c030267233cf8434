"""A database that an older hub has filled opens with this one: every record is there, once, under its kind."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from tests.hub_rig import SESSION, HubRig, batch

from skerry.hub.store import schema
from skerry.hub.store.engine import parse_url, writer_engine
from skerry.testing.manual_clock import ManualClock
from skerry.wire.people import Rows

T0 = 1_760_000_000_000_000_000
DAY = 86_400 * 10**9
EACH = 50
"""Records of each series, a day apart from the next."""

KINDS = ("measurement", "event", "gap")


def fill(connection: Connection) -> None:
    """As revision 0003 kept them: one series of each kind."""

    def put(table: str, **row: object) -> None:
        names, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), row)  # noqa: S608 - our own names

    unit = '{"unit":"C"}'
    put("session", id=1, node_id="n", token=SESSION, used_at=T0)
    put(
        "meta",
        id=1,
        hash=hashlib.blake2b(unit.encode(), digest_size=16).hexdigest(),
        json=unit,
        used_at=T0,
    )
    for code, kind in enumerate(KINDS, 1):
        put(
            "series",
            id=code,
            fleet_id="default",
            node_id="n",
            source="sensors",
            kind=kind,
            name=kind,
            used_at=T0,
        )
        put(
            "batch",
            id=code,
            kind=kind,
            boot_id="b",
            accepted_at=T0,
            monotonic=1,
            quality="synced",
            received_at=T0,
        )
        for number in range(EACH):
            put(
                "record",
                series_id=code,
                at=T0 + number * DAY,
                session_id=1,
                counter=code * 1000 + number,
                batch_id=code,
                meta_id=1 if number % 2 else None,
                type=2,
                integer=None,
                double=number / 2,
                text=None,
            )
    if connection.dialect.name == "postgresql":
        for table in ("session", "meta", "series", "batch"):
            connection.execute(text(f"SELECT setval('{table}_id_seq', 10)"))


@pytest.fixture
async def older(database_url: str) -> str:
    engine = writer_engine(parse_url(database_url))
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        fill(connection)
    engine.dispose()
    return database_url


@pytest.mark.guarantee("G1")
async def test_records_of_an_older_hub_stay_and_come_no_second_time(
    older: str, manual_clock: ManualClock
) -> None:
    hub = HubRig(older, manual_clock)
    await hub.start()
    try:
        for kind in KINDS:
            held = await hub.query.records(kind=kind, limit=1000)
            assert [row.value for row in held.rows] == [number / 2 for number in range(EACH)]
            assert {row.kind for row in held.rows} == {kind}
            assert [row.meta for row in held.rows[:2]] == [{}, {"unit": "C"}]
        again = batch(0.0, name="measurement", at=T0, counter=1000)
        newer = batch(99.5, name="measurement", at=T0 + 1, counter=5000, unit="C")
        await hub.store.write(
            lambda c: hub.ingest.ingest(c, "n", "b", hub.clock.wall_ns(), [again, newer])()
        )
        found: Rows = await hub.query.records(name="measurement", limit=1000)
        assert [row.value for row in found.rows[:3]] == [0.0, 99.5, 0.5]
        assert len(found.rows) == EACH + 1
        await hub.retention.prepare(hub.clock.wall_ns())
        assert await hub.query.records(name="measurement", limit=1000) == found
    finally:
        hub.stop()
