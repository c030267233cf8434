"""Records on the hub: each once, read back exactly, found by pattern and time, removed by age."""

import operator

import pytest
from sqlalchemy import Connection, Table, func, select, update
from tests.hub_rig import DAY, HubRig, Lanes, batch, spec, status

from skerry.cli.rows import rows_of
from skerry.hub.store import changes
from skerry.hub.store.tables import batch as batch_table
from skerry.hub.store.tables import change, meta, record, series, session
from skerry.kit.clock import iso
from skerry.kit.errors import InvalidInput
from skerry.wire.people import Columns, MetaRun, SeriesColumns
from skerry.wire.records import Batch, Row
from skerry.wire.sync import StateFrame

T0 = 1_760_000_000_000_000_000


async def put(hub: HubRig, *batches: Batch, node_id: str = "n") -> None:
    def work(connection: object) -> None:
        hub.ingest.ingest(connection, node_id, "boot-1", hub.clock.wall_ns(), batches)()

    await hub.store.write(work)


async def count(hub: HubRig, table: Table) -> int:
    query = select(func.count()).select_from(table)
    return await hub.store.read(lambda connection: connection.execute(query).scalar_one())


def shown(rows: list[Row]) -> list[object]:
    return [row.value for row in rows]


VALUES = [
    True, False, 0, 1, -1, 2**63 - 1, -(2**63), 2**53 + 1, 0.0, 1.0, -2.5, 5e-324,
    1.7976931348623157e308, 0.1, "", "1", "true", "äöü 🏝", "a\0b", "\0", '"quoted"', "line\nline",
]  # fmt: skip


class TestValues:
    async def test_every_type_comes_back_as_it_went_in(self, hub: HubRig) -> None:
        await put(hub, batch(*VALUES))
        rows = (await hub.query.records()).rows
        assert [(type(row.value), row.value) for row in rows] == [(type(v), v) for v in VALUES]

    @pytest.mark.guarantee("G1")
    async def test_many_at_once_are_as_many_one_by_one(self, hub: HubRig) -> None:
        """Of a backlog, bare numbers go another way into the table than all else."""
        batches = [
            batch(*VALUES * 30, name="a"),
            batch(*VALUES * 30, name="a", counter=1000, at=T0 + 1000),
            batch(1, 2.0, name="b", counter=2000, unit="C"),
            batch(*VALUES, name="a", kind="event", counter=3000),
        ]
        await put(hub, *batches)
        await put(hub, *batches)
        for each in batches:
            await put(hub, each, node_id="other")
        columns = [
            column
            for column in record.c
            if column.name not in {"series_id", "session_id", "batch_id", "text"}
        ]
        query = (
            select(
                *columns,
                record.c.text.is_(None),
                series.c.name,
                batch_table.c.kind.label("of_batch"),
            )
            .join(series, series.c.id == record.c.series_id)
            .join(batch_table, batch_table.c.id == record.c.batch_id)
            .order_by(record.c.kind, record.c.counter)
        )

        def held(connection: Connection, node_id: str) -> list[tuple[object, ...]]:
            found = connection.execute(query.where(series.c.node_id == node_id))
            return [tuple(row) for row in found]

        together = await hub.store.read(lambda connection: held(connection, "n"))
        assert len(together) == 61 * len(VALUES) + 2
        assert together == await hub.store.read(lambda connection: held(connection, "other"))

    async def test_meta_comes_back_and_equal_metas_are_one_row(self, hub: HubRig) -> None:
        await put(
            hub,
            batch(1, 2, unit="C", n=1, ok=True, x=1.0),
            batch(3, at=T0 + 10, counter=3, x=1.0, ok=True, n=1, unit="C"),
            batch(4, at=T0 + 20, counter=4),
        )
        rows = (await hub.query.records()).rows
        expected = {"unit": "C", "n": 1, "ok": True, "x": 1.0}
        assert [row.meta for row in rows] == [expected, expected, expected, {}]
        assert [type(value) for value in rows[0].meta.values()] == [int, bool, str, float]
        assert await count(hub, meta) == 1

    @pytest.mark.guarantee("G1")
    async def test_the_same_record_twice_is_one_row(self, hub: HubRig) -> None:
        await put(hub, batch(1, 2), batch(1, 2))
        await put(hub, batch(1, 2, 3))
        assert shown((await hub.query.records()).rows) == [1, 2, 3]

    async def test_another_session_counter_time_or_series_is_another_record(
        self, hub: HubRig
    ) -> None:
        await put(
            hub,
            batch(1),
            batch(1, session="cd" * 16),
            batch(1, counter=2),
            batch(1, at=T0 + 1),
            batch(1, name="other"),
            batch(1, source="other"),
            batch(1, kind="event"),
        )
        await put(hub, batch(1), node_id="other")
        assert len((await hub.query.records()).rows) == 8


class TestQuery:
    @pytest.fixture
    async def filled(self, hub: HubRig) -> HubRig:
        self.lab = (await hub.enrol("lab")).node_id
        self.field = (await hub.enrol("field")).node_id
        await put(
            hub,
            batch(1, 2, 3, name="env.temperature"),
            batch(10, 20, name="env.humidity", at=T0 + 100),
            batch("hot", name="alarm", kind="event", at=T0 + 2, source="watch"),
            node_id=self.lab,
        )
        await put(hub, batch(7, 8, name="env.temperature", at=T0 + 50), node_id=self.field)
        return hub

    async def test_rows_are_oldest_first_and_complete(self, filled: HubRig) -> None:
        rows = (await filled.query.records(node="lab", name="env.temperature")).rows
        assert rows[0] == Row(
            timestamp=iso(T0), name="env.temperature", value=1, meta={}, node="lab", source="sensors", at=T0
        )  # fmt: skip
        assert shown(rows) == [1, 2, 3]

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({"name": "*"}, [1, 2, "hot", 3, 7, 8, 10, 20]),
            ({"name": "env.*"}, [1, 2, 3, 7, 8, 10, 20]),
            ({"name": "*t*y"}, [10, 20]),
            ({"name": "env"}, []),
            ({"name": "ENV.*"}, []),
            ({"name": "env?temperature*"}, []),
            ({"name": "[e]nv*"}, []),
            ({"name": "env_temp*"}, []),
            ({"name": "%*"}, []),
            ({"node": "field"}, [7, 8]),
            ({"node": "nobody"}, []),
            ({"source": "watch"}, ["hot"]),
            ({"kind": "event"}, ["hot"]),
            ({"kind": "measurement", "node": "lab", "name": "*.humidity"}, [10, 20]),
            ({"since": T0 + 2, "until": T0 + 50}, ["hot", 3]),
            ({"since": T0 + 51}, [8, 10, 20]),
            ({"until": T0 + 1}, [1]),
            ({"since": -(2**80), "until": 2**80}, [1, 2, "hot", 3, 7, 8, 10, 20]),
        ],
    )
    async def test_filters(
        self, filled: HubRig, filters: dict[str, object], expected: list[object]
    ) -> None:
        found = await filled.query.records(**filters)
        assert sorted(map(str, shown(found.rows))) == sorted(map(str, expected))
        assert [row.at for row in found.rows] == sorted(row.at for row in found.rows)
        assert not found.truncated

    async def test_a_node_is_found_by_its_id_too_and_shown_by_it_when_it_is_gone(
        self, filled: HubRig
    ) -> None:
        assert shown((await filled.query.records(node=self.field)).rows) == [7, 8]
        await filled.nodes.delete("field")
        rows = (await filled.query.records(node=self.field)).rows
        assert {row.node for row in rows} == {self.field}

    async def test_times_beyond_any_record_are_no_error(self, filled: HubRig) -> None:
        assert (await filled.query.records(since=2**70)).rows == []
        assert (await filled.query.records(until=-(2**70))).rows == []
        assert len((await filled.query.records(since=-(2**70), until=2**70)).rows) == 8

    async def test_a_limit_keeps_the_newest(self, filled: HubRig) -> None:
        found = await filled.query.records(limit=3)
        assert (shown(found.rows), found.truncated) == ([8, 10, 20], True)
        found = await filled.query.records(limit=8)
        assert (len(found.rows), found.truncated) == (8, False)
        found = await filled.query.records(limit=2, until=T0 + 3)
        assert (found.truncated, [row.at for row in found.rows]) == (True, [T0 + 2, T0 + 2])
        for limit in (0, -1, 10**9):
            with pytest.raises(InvalidInput, match="write a limit from 1"):
                await filled.query.records(limit=limit)

    async def test_columns_say_what_rows_say(self, filled: HubRig) -> None:
        await put(
            filled,
            batch(4, True, "x", name="env.humidity", at=T0 + 102, counter=30, unit="C"),
            batch(0.5, name="env.humidity", at=T0 + 105, counter=33),
            batch(5, name="env.humidity", at=T0 + 106, counter=34, unit="C", n=1),
            batch(6, name="env.humidity", at=T0 + 107, counter=35, unit="C"),
            node_id=self.lab,
        )
        for asked in (
            {},
            {"limit": 4},
            {"name": "env.humidity"},
            {"name": "env.humidity", "limit": 3, "until": T0 + 107},
            {"node": "lab", "kind": "measurement", "since": T0 + 1, "limit": 5},
            {"name": "nothing"},
        ):
            rows = await filled.query.records(**asked)
            columns = rows_of(await filled.query.columns(**asked))
            key = operator.attrgetter("at", "node", "source", "name")
            assert sorted(columns.rows, key=key) == sorted(rows.rows, key=key)
            assert columns.truncated == rows.truncated

    async def test_columns_are_arrays_by_series_and_a_meta_stands_where_it_begins(
        self, filled: HubRig
    ) -> None:
        await put(filled, batch(1.5, 2.5, name="alarm", at=T0, unit="C"), batch(3, name="alarm"))
        found = await filled.query.columns(node="lab", limit=5)
        assert found == Columns(
            [
                SeriesColumns("lab", "sensors", "env.humidity", "measurement", [T0 + 100, T0 + 101], [10, 20]),
                SeriesColumns("lab", "sensors", "env.temperature", "measurement", [T0 + 1, T0 + 2], [2, 3]),
                SeriesColumns("lab", "watch", "alarm", "event", [T0 + 2], ["hot"]),
            ],
            truncated=True,
        )  # fmt: skip
        [alarm] = (await filled.query.columns(node="n", name="alarm")).series
        assert (alarm.at, alarm.value) == ([T0, T0 + 1], [1.5, 2.5])
        assert alarm.metas == [MetaRun(0, {"unit": "C"})]

    async def test_more_series_and_metas_than_one_statement_names(self, hub: HubRig) -> None:
        await put(hub, *(batch(n, name=f"s{n}", n=n, counter=n + 1) for n in range(1100)))
        rows = (await hub.query.records(limit=2000)).rows
        assert sorted((row.name, row.value, row.meta["n"]) for row in rows) == sorted(
            (f"s{n}", n, n) for n in range(1100)
        )

    async def test_latest_is_one_row_a_series(self, filled: HubRig) -> None:
        await put(filled, batch(99, at=T0 - 5, counter=99), node_id=self.lab)
        rows = await filled.query.latest()
        assert [(row.node, row.name, row.value) for row in rows] == [
            ("field", "env.temperature", 8), ("lab", "env.humidity", 20), ("lab", "env.temperature", 3),
        ]  # fmt: skip
        assert [row.node for row in await filled.query.latest("field")] == ["field"]

    async def test_latest_takes_the_later_record_of_equal_times(self, hub: HubRig) -> None:
        await put(hub, batch(1, counter=1), batch(2, counter=2))
        assert shown(await hub.query.latest()) == [2]


class TestRetention:
    async def test_records_go_by_kind_when_they_were_here_long_enough(self, hub: HubRig) -> None:
        start = hub.clock.wall_ns()
        await put(hub, batch(1, 2), batch("e", kind="event", name="e"))
        hub.clock.advance(7 * DAY)
        await put(hub, batch(3, at=T0 + 10, counter=3))
        assert await hub.retention.sweep(start + int(7 * DAY) * 10**9) == 0
        assert await hub.retention.sweep(hub.clock.wall_ns() + 1) == 2
        assert shown((await hub.query.records()).rows) == ["e", 3]
        assert await count(hub, batch_table) == 2
        assert await hub.retention.sweep(start + int(31 * DAY) * 10**9) == 2
        assert await count(hub, record) == await count(hub, batch_table) == 0

    async def test_a_wrong_device_clock_loses_nothing(self, hub: HubRig) -> None:
        await put(hub, batch(1, at=0), batch(2, at=2**62, counter=2))
        hub.clock.advance(DAY)
        assert await hub.retention.sweep(hub.clock.wall_ns()) == 0
        hub.clock.advance(7 * DAY)
        assert await hub.retention.sweep(hub.clock.wall_ns()) == 2

    async def test_many_go_in_several_steps(self, hub: HubRig) -> None:
        await put(
            hub, *(batch(*range(60), at=T0 + i * 100, counter=1 + i * 60) for i in range(200))
        )
        await put(hub, *(batch(1, counter=10**6 + i) for i in range(1200)))
        assert await hub.retention.sweep(hub.clock.wall_ns() + int(8 * DAY) * 10**9) == 13_200
        assert await count(hub, record) == await count(hub, batch_table) == 0

    async def test_what_no_record_names_any_more_goes_and_may_come_back(self, hub: HubRig) -> None:
        await put(hub, batch(1, unit="C"))
        hub.clock.advance(20 * DAY)
        await hub.retention.sweep(hub.clock.wall_ns())
        assert [await count(hub, table) for table in (series, session, meta)] == [1, 1, 1]
        hub.clock.advance(22 * DAY)  # records may outlive their age by a partition's time
        await hub.retention.sweep(hub.clock.wall_ns())
        assert [await count(hub, table) for table in (series, session, meta)] == [0, 0, 0]
        await put(hub, batch(2, unit="C"))
        [row] = (await hub.query.records()).rows
        assert (row.value, row.meta) == (2, {"unit": "C"})

    async def test_what_is_in_use_stays_however_long_it_is_cached(self, hub: HubRig) -> None:
        for day in range(40):
            await put(hub, batch(day, at=T0 + day, counter=day + 1, unit="C"))
            hub.clock.advance(DAY)
            await hub.retention.sweep(hub.clock.wall_ns())
        rows = (await hub.query.records()).rows
        assert [row.value for row in rows] == list(range(33, 40))
        assert rows[-1].meta == {"unit": "C"}

    async def test_a_hub_clock_that_went_back_does_not_make_things_unused(
        self, hub: HubRig
    ) -> None:
        await put(hub, batch(1, unit="C"))
        later = hub.clock.wall_ns()
        hub.clock.jump_wall(-100 * DAY)
        await HubRigRestarted(hub).put(batch(2, counter=2, unit="C"))
        used = select(series.c.used_at)
        assert await hub.store.read(lambda c: c.execute(used).scalar_one()) == later

    async def test_superseded_changes_go_after_a_week(self, hub: HubRig) -> None:
        await hub.enrol("n1")
        for n in range(5):
            await hub.apply(spec("a", env={"N": str(n)}))
        hub.clock.advance(8 * DAY)
        await hub.retention.sweep(hub.clock.wall_ns())
        assert await count(hub, change) == 1
        await hub.push("n", Lanes().unit("state", [StateFrame([status("a")])]))
        log = await hub.store.read(changes.read_log)
        assert log.pruned_through > 0


class HubRigRestarted:
    """Ingest with empty caches, as after a restart of the hub."""

    def __init__(self, hub: HubRig) -> None:
        self._hub = hub

    async def put(self, *batches: Batch) -> None:
        hub = HubRig(self._hub.url, self._hub.clock, self._hub.encryption)
        await hub.start()
        await put(hub, *batches)
        hub.stop()


async def test_dictionary_rows_are_refreshed_when_they_are_a_day_old(hub: HubRig) -> None:
    await put(hub, batch(1))
    await hub.store.write(lambda c: c.execute(update(series).values(used_at=0)))
    await put(hub, batch(2, counter=2))
    used = select(series.c.used_at)
    assert await hub.store.read(lambda c: c.execute(used).scalar_one()) == 0
    hub.clock.advance(DAY)
    await put(hub, batch(3, counter=3))
    assert await hub.store.read(lambda c: c.execute(used).scalar_one()) == hub.clock.wall_ns()
