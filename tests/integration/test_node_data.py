"""Publishing, following and querying on the node, over real segments."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.record_rig import T0, make_store, submission

from skerry.kit.clock import NS, SystemClock
from skerry.kit.errors import InvalidInput
from skerry.node.data.publish import Publisher
from skerry.node.data.query import RecordQuery
from skerry.node.data.retention import Retention
from skerry.node.data.subscribe import Subscription, Subscriptions
from skerry.node.store.record_jobs import Limits
from skerry.node.store.records import RecordStore
from skerry.testing.manual_clock import ManualClock
from skerry.wire.records import Publish, PublishedRecord, Row


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RecordStore]:
    store = make_store(tmp_path, limits=Limits(segment=2_000, reserve=4096))
    await store.start()
    yield store
    await store.stop()


def publisher(store: RecordStore, clock: SystemClock | ManualClock) -> Publisher:
    return Publisher(store, clock, lambda: "suspect")


async def take(rows: Subscription, count: int) -> list[Row]:
    async with asyncio.timeout(30):
        return [await anext(rows) for _ in range(count)]


async def test_what_is_published_is_stored_with_source_time_and_clock_quality(
    store: RecordStore, manual_clock: ManualClock
) -> None:
    request = Publish(
        [PublishedRecord("a", 1), PublishedRecord("b", 2.5, at=-5), PublishedRecord("c", "x")],
        session="ab" * 16,
        first=8,
    )
    published = await publisher(store, manual_clock).publish("cam", request, {"b": "sample"})
    assert (published.accepted, published.repeated) == (3, 0)
    again = await publisher(store, manual_clock).publish("cam", request, {"b": "sample"})
    assert (again.accepted, again.repeated) == (3, 3)
    found = await RecordQuery(store, "node-1").records("*", None, None, None, 10)
    now = manual_clock.wall_ns()
    assert [(row.name, row.value, row.at) for row in found.rows] == [
        ("b", 2.5, -5), ("a", 1, now), ("c", "x", now),
    ]  # fmt: skip
    assert found.rows[0] == Row(
        "1969-12-31T23:59:59.999999995Z", "b", 2.5, {}, "node-1", "cam", -5, "measurement", None
    )
    frame = next(store.frames("sample", store.segments("sample")[0]))
    assert b'"suspect"' in frame.payload
    assert frame.payload.startswith(b'["measurement","cam","abab')


async def test_one_wrong_record_refuses_the_whole_request(
    store: RecordStore, manual_clock: ManualClock
) -> None:
    request = Publish([PublishedRecord("a", 1), PublishedRecord("b", 2**63)])
    with pytest.raises(InvalidInput, match="record 1 «b»"):
        await publisher(store, manual_clock).publish("cam", request, {})
    assert store.head("keep").n == 0


async def test_a_subscription_from_now_sees_what_comes_and_nothing_before(
    store: RecordStore,
) -> None:
    await store.append(submission(1, "before"))
    rows = Subscriptions(store, "node-1").subscribe("env.*")
    await store.append(submission(2, "after", at=T0))
    await store.append(submission(1, "boom", who=2, lane="event"))
    found = await take(rows, 2)
    assert {(row.value, row.kind, row.name) for row in found} == {
        ("after", "measurement", "env.x"),
        ("boom", "event", "env.x"),
    }


async def test_a_subscription_wakes_for_each_commit(store: RecordStore) -> None:
    rows = Subscriptions(store, "node-1").subscribe()
    for n in range(1, 6):
        waiting = asyncio.create_task(take(rows, 1))
        await asyncio.sleep(0)
        await store.append(submission(n, n))
        assert [row.value for row in await waiting] == [n]


async def test_from_a_cursor_each_row_comes_once_also_inside_a_batch(store: RecordStore) -> None:
    for n in range(1, 61, 3):
        await store.append(submission(n, n, n + 1, n + 2))
        await store.append(submission(n, n, who=2, lane="sample"))
    make = Subscriptions(store, "node-1")
    heads = make.subscribe().cursor
    everything = await take(make.subscribe(cursor="0.0.0"), 80)
    assert everything[-1].cursor == heads
    for place in (0, 1, 2, 40, 78):
        rest = await take(make.subscribe(cursor=everything[place].cursor), 79 - place)
        assert [row.value for row in rest] == [row.value for row in everything[place + 1 :]]


async def test_names_and_kinds_are_filtered(store: RecordStore) -> None:
    rows = Subscriptions(store, "node-1").subscribe("env.x", kind="event")
    await store.append(submission(1, "measured"))
    await store.append(submission(1, "happened", who=2, lane="event"))
    assert [row.value for row in await take(rows, 1)] == ["happened"]


async def test_a_cursor_of_a_store_that_was_put_back_goes_on_at_its_end(
    store: RecordStore,
) -> None:
    await store.append(submission(1, "old"))
    rows = Subscriptions(store, "node-1").subscribe(cursor="ff.ff.ff")
    await store.append(submission(2, "new"))
    assert [row.value for row in await take(rows, 1)] == ["new"]


@pytest.mark.parametrize("cursor", ["x", "1.2", "1.2.3.4", "-1.0.0", "1.2.z", "\n"])
async def test_a_foreign_cursor_is_refused(store: RecordStore, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="use the cursor of a row"):
        Subscriptions(store, "node-1").subscribe(cursor=cursor)


async def test_an_unknown_kind_is_refused(store: RecordStore) -> None:
    with pytest.raises(InvalidInput, match="it is one of measurement, event, gap"):
        Subscriptions(store, "node-1").subscribe(kind="evnt")
    with pytest.raises(InvalidInput, match="it is one of measurement, event, gap"):
        await RecordQuery(store, "node-1").records("*", "evnt", None, None, 10)


@pytest.mark.guarantee("G4")
async def test_a_slow_subscriber_holds_up_neither_publishers_nor_others(
    store: RecordStore,
) -> None:
    make = Subscriptions(store, "node-1")
    slow, quick = make.subscribe(), make.subscribe()
    for n in range(1, 301):
        await store.append(submission(n, n))
    assert [row.value for row in await take(quick, 300)] == list(range(1, 301))
    assert [row.value for row in await take(slow, 300)] == list(range(1, 301))


async def test_queries_choose_by_time_name_and_kind_and_keep_the_newest(
    store: RecordStore,
) -> None:
    query = RecordQuery(store, "node-1")
    for n in range(1, 61):
        await store.append(submission(n, n, at=T0 + n * NS))
    await store.append(submission(1, "boom", who=2, lane="event", at=T0 + 30 * NS))

    async def found(*wanted: object) -> tuple[list[object], bool]:
        rows = await query.records(*wanted)  # type: ignore[arg-type]
        return [row.value for row in rows.rows], rows.truncated

    assert await found("*", "measurement", T0 + 10 * NS, T0 + 13 * NS, 100) == ([10, 11, 12], False)
    assert await found("env.*", None, T0 + 29 * NS, T0 + 32 * NS, 100) == (
        [29, "boom", 30, 31],
        False,
    )
    assert await found("*.x", "event", None, None, 100) == (["boom"], False)
    assert await found("other", None, None, None, 100) == ([], False)
    assert await found("*", "measurement", None, None, 3) == ([58, 59, 60], True)
    assert await found("*", None, None, None, 61) == (
        [*range(1, 30), "boom", *range(30, 61)],
        False,
    )
    for limit in (0, -1, 100_001):
        with pytest.raises(InvalidInput, match="use 1 to 100000"):
            await found("*", None, None, None, limit)


async def test_records_with_times_out_of_order_are_found_and_sorted(store: RecordStore) -> None:
    for n in range(1, 61):
        await store.append(submission(n, n, at=T0 + (n * 37 % 61) * NS))
    rows = (await RecordQuery(store, "node-1").records("*", None, None, None, 5)).rows
    assert [row.at for row in rows] == [T0 + n * NS for n in range(56, 61)]


async def test_a_query_opens_no_file_outside_of_its_time(
    store: RecordStore, tmp_path: Path
) -> None:
    for n in range(1, 61):
        await store.append(submission(n, n, at=T0 + n * NS))
    segments = store.segments("keep")
    outside = segments[0]
    assert outside.last < 30
    outside.path.write_bytes(b"not read")
    rows = (await RecordQuery(store, "node-1").records("*", None, T0 + 30 * NS, None, 100)).rows
    assert len(rows) == 31
    assert store.counters.lost == 0


async def test_retention_frees_what_is_old_and_acknowledged(tmp_path: Path) -> None:
    clock = ManualClock()
    store = make_store(tmp_path, clock=clock, limits=Limits(segment=2_000, reserve=4096))
    await store.start()
    sender = publisher(store, clock)
    for n in range(40):
        await sender.publish("cam", Publish([PublishedRecord("a", n)]), {})
        clock.advance(3600)
    retention = Retention(store, clock, lambda _lane: 0)
    clock.advance(7 * 86_400 - 20 * 3600)  # records 0 to 20 are at least seven days old
    await retention.once()
    assert store.base("keep").n == 0  # the hub has nothing yet
    store.acknowledge("keep", 40)
    await retention.once()
    assert 10 <= store.base("keep").n <= 21
    clock.advance(86_400)
    await retention.once()
    assert store.base("keep").n == 40
    await store.stop()
