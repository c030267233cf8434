"""The course of series for charts, as each database computes it."""

from tests.hub_rig import HubRig, Lanes, batch

from skerry.hub.data.history import Course, RecordHistory
from skerry.wire.records import Batch

T0 = 1_760_000_000_000_000_000


async def put(hub: HubRig, *batches: Batch) -> str:
    """Pushes as node «n1»; returns its id."""
    node = await hub.enrol("n1")
    await hub.push(node.node_id, Lanes().unit("keep", batches))
    return node.node_id


async def test_means_and_extremes_of_each_series(hub: HubRig) -> None:
    await put(
        hub,
        batch(1, 3.5, 2, name="x", at=T0),
        batch(10, name="x", at=T0 + 39, counter=4),
        batch(-7, name="x", at=T0 + 5, source="other", counter=5),
        batch(99, name="y", at=T0 + 5, counter=6),
    )
    courses = await RecordHistory(hub.store).courses(["x", "z"], T0, T0 + 40, 4)
    assert courses == [
        Course("x", "n1", "other", -7.0, -7.0, [-7.0, None, None, None]),
        Course("x", "n1", "sensors", 1.0, 10.0, [6.5 / 3, None, None, 10.0]),
    ]


async def test_only_numbers_within_the_span_count(hub: HubRig) -> None:
    await put(
        hub,
        batch(1, name="x", at=T0 - 1),
        batch(2, name="x", at=T0 + 40, counter=2),
        batch("text", True, name="x", at=T0 + 3, counter=3),
        batch(4, name="x", at=T0 + 9, counter=5),
    )
    [course] = await RecordHistory(hub.store).courses(["x"], T0, T0 + 40, 2)
    assert (course.low, course.high, course.means) == (4.0, 4.0, [4.0, None])


async def test_no_names_no_courses(hub: HubRig) -> None:
    await put(hub, batch(1, name="x"))
    assert await RecordHistory(hub.store).courses([], T0, T0 + 40, 2) == []


async def test_a_removed_node_is_named_by_its_id(hub: HubRig) -> None:
    node_id = await put(hub, batch(1, name="x"))
    await hub.nodes.delete("n1")
    [course] = await RecordHistory(hub.store).courses(["x"], T0, T0 + 40, 2)
    assert course.node == node_id
