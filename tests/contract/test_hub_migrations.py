"""A database that an older hub has filled opens with this one: every record is there, once, under its kind."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from tests.hub_rig import INCARNATION, SESSION, HubRig, Lanes, batch, spec

from skerry.core.credentials import secret_hash
from skerry.hub.store import schema
from skerry.hub.store.engine import parse_url, writer_engine
from skerry.kit.errors import Refused
from skerry.testing.manual_clock import ManualClock
from skerry.wire.codec import encode
from skerry.wire.people import Rows
from skerry.wire.sync import Enrol
from skerry.wire.workload import Assignment, Generation, WorkloadStatus

T0 = 1_760_000_000_000_000_000
DAY = 86_400 * 10**9
SECRET = "ab" * 32
USED = "a token"
CHAIN = "cd" * 8
EACH = 50
"""Records of each series, a day apart from the next."""

KINDS = ("measurement", "event", "gap")


TEXTS = {3: ("on", "on"), 4: ('"a\\u0000"', "a\0")}
"""By their type: what was stored, and what it means."""


def put_into(connection: Connection, table: str, **row: object) -> None:
    names, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), row)  # noqa: S608 - our own names


def fill_fleet(connection: Connection) -> None:
    """A node with a workload, as revision 0003 kept them."""
    put, default = partial(put_into, connection), {"fleet_id": "default"}
    put(
        "node", id="n", name="n1", labels='{"site":"lab"}', secret_hash=secret_hash(SECRET), version="0.1",
        enrolled_at=T0, last_seen=T0, **default,
    )  # fmt: skip
    put(
        "workload", name="cam", epoch=1, generation=3, restarts=0, spec=encode(spec("cam")), updated_at=T0, **default,
    )  # fmt: skip
    put(
        "workload_version", name="cam", number=1, epoch=1, generation=3, at=T0, who="ann", change="create",
        spec=encode(spec("cam")), **default,
    )  # fmt: skip
    said = WorkloadStatus(workload="cam", generation=Generation(1, 3), phase="running", since=1)
    put(
        "state", scope="n", entity="status", id="cam", rev=7, hlc=1, origin="n", deleted=False, updated_at=T0,
        body=encode(said), **default,
    )  # fmt: skip
    told = Assignment("cam", Generation(1, 3), spec("cam"))
    put(
        "state", scope="n", entity="assignment", id="cam", rev=6, hlc=1, origin="hub", deleted=False, updated_at=T0,
        body=encode(told), **default,
    )  # fmt: skip
    put(
        "enrolment_token", hash=secret_hash(USED), created_at=T0, expires_at=T0 + 10**19 // 2, used_at=T0, used_by="n", **default,
    )  # fmt: skip
    put("log", epoch=1, seq=7, pruned_through=0, **default)
    put("lane", node_id="n", incarnation=INCARNATION, lane="keep", n=50, chain=CHAIN, updated_at=T0)


def fill_texts(connection: Connection) -> None:
    put_into(
        connection, "series", id=4, fleet_id="default", node_id="n", source="sensors", kind="event", name="door", used_at=T0,
    )  # fmt: skip
    for type_, (stored, _) in TEXTS.items():
        put_into(
            connection, "record", series_id=4, at=T0 + type_, session_id=1, counter=9000 + type_, batch_id=2,
            type=type_, text=stored,
        )  # fmt: skip


def fill(connection: Connection) -> None:
    """As revision 0003 kept them: one series of each kind."""
    put = partial(put_into, connection)
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
    fill_fleet(connection)
    fill_texts(connection)


@pytest.fixture
async def older(empty_database_url: str) -> str:
    engine = writer_engine(parse_url(empty_database_url))
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        fill(connection)
    engine.dispose()
    return empty_database_url


@pytest.mark.guarantee("G1")
async def test_records_of_an_older_hub_stay_and_come_no_second_time(
    older: str, manual_clock: ManualClock
) -> None:
    hub = HubRig(older, manual_clock)
    await hub.start()
    try:
        for kind in KINDS:
            held = await hub.query.records(kind=kind, name=kind, limit=1000)
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
        doors = (await hub.query.records(name="door")).rows
        assert [row.value for row in doors] == [meant for _, meant in TEXTS.values()]
    finally:
        hub.stop()


@pytest.mark.guarantee("G6")
async def test_the_fleet_of_an_older_hub_goes_on(older: str, manual_clock: ManualClock) -> None:
    hub = HubRig(older, manual_clock)
    await hub.start()
    try:
        assert hub.nodes.authenticate(f"n.{SECRET}") == "n"
        [node] = await hub.nodes.list()
        assert (node.name, node.labels) == ("n1", {"site": "lab"})
        [view] = await hub.workloads.list()
        assert (view.spec, view.generation) == (spec("cam"), Generation(1, 3))
        status = view.nodes["n1"].status
        assert status is not None
        assert status.phase == "running"
        assert [version.by for version in await hub.workloads.history("cam")] == ["ann"]
        again = Enrol(USED, "n1", {}, "0.1", secret_hash(SECRET))
        assert (await hub.nodes.enrol(again)).node_id == "n"
        with pytest.raises(Refused, match="unknown, used or expired"):
            await hub.nodes.enrol(Enrol(USED, "n2", {}, "0.1", "0" * 64))
        lanes = Lanes()
        lanes.points["keep"] = (50, CHAIN)
        reply = await hub.push("n", lanes.unit("keep", [batch(1, counter=51)]))
        assert reply.outcome == "ok"
    finally:
        hub.stop()
