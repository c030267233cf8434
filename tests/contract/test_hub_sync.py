"""Hello and push on the hub: repeats, gaps, other histories, conflicts, and bad input."""

import asyncio

import msgspec
import pytest
from sqlalchemy import Connection
from tests.bad_units import BAD, raw_unit, replaced
from tests.hub_rig import (
    INCARNATION,
    HubRig,
    Lanes,
    batch,
    node_info,
    spec,
    status,
)

from skerry.hub.api.problems import status_of
from skerry.hub.sync.hello import MOST_AT_ONCE
from skerry.kit.errors import Busy, InvalidInput, Refused
from skerry.wire.codec import encode
from skerry.wire.records import Batch, Record
from skerry.wire.sync import (
    LANES,
    NO_CHAIN,
    PROTOCOL,
    Hello,
    LanePoint,
    StateFrame,
    StateRow,
)
from skerry.wire.workload import WorkloadStatus

OTHER_INCARNATION = "22" * 16


async def values(hub: HubRig, **filters: str) -> list[object]:
    return [row.value for row in (await hub.query.records(**filters)).rows]


class TestHello:
    async def test_it_says_what_is_held(self, hub: HubRig) -> None:
        lanes = Lanes()
        await hub.push("n", lanes.unit("keep", [batch(1, 2, 3)]))
        reply = await hub.greeter.hello("n", Hello((1, PROTOCOL), INCARNATION, "0.1", "boot-1"))
        assert reply.lanes == {
            **dict.fromkeys(LANES, LanePoint()),
            "keep": LanePoint(*lanes.points["keep"]),
        }
        assert reply.backed_up_through == dict.fromkeys(LANES, 0)
        assert (reply.protocol, reply.epoch, reply.hub_id) == (1, 1, hub.store.facts.hub_id)
        assert reply.hub_time == hub.clock.wall_ns()
        other = await hub.greeter.hello("n", Hello((1, 1), OTHER_INCARNATION, "0.1", "boot-1"))
        assert set(other.lanes.values()) == {LanePoint(0, NO_CHAIN)}

    async def test_without_a_common_protocol_it_says_who_is_late(self, hub: HubRig) -> None:
        assert (
            await hub.greeter.hello("n", Hello((1, 99), INCARNATION, "9", "b"))
        ).protocol == PROTOCOL
        with pytest.raises(Refused, match=r"protocols 50 to 99.*Update the hub"):
            await hub.greeter.hello("n", Hello((50, 99), INCARNATION, "9", "b"))
        with pytest.raises(Refused, match="Update the node"):
            await hub.greeter.hello("n", Hello((0, 0), INCARNATION, "0", "b"))

    async def test_in_a_storm_so_many_are_answered_and_the_others_told_to_come_again(
        self, hub: HubRig
    ) -> None:
        hello = Hello((1, PROTOCOL), INCARNATION, "0.1", "boot-1")
        storm = [hub.greeter.hello(f"n{n}", hello) for n in range(MOST_AT_ONCE + 30)]
        answers = await asyncio.gather(*storm, return_exceptions=True)
        turned_away = [each for each in answers if isinstance(each, Busy)]
        assert len(turned_away) == 30
        assert {status_of(each) for each in turned_away} == {429}
        assert {each.after for each in turned_away} == {1}
        assert all(isinstance(each, Busy) or each.lanes for each in answers)
        assert (await hub.greeter.hello("n", hello)).protocol == PROTOCOL


class TestPushingRecords:
    @pytest.mark.guarantee("G1")
    async def test_a_repeat_is_answered_and_changes_nothing(self, hub: HubRig) -> None:
        lanes = Lanes()
        unit = lanes.unit("keep", [batch(1, 2), batch(3, counter=3, at=10)])
        first = await hub.push("n", unit)
        second = await hub.push("n", unit)
        assert first.outcome == second.outcome == "ok"
        assert first.point == second.point == LanePoint(*lanes.points["keep"])
        assert sorted(await values(hub)) == [1, 2, 3]

    async def test_a_unit_that_overlaps_adds_only_what_is_new(self, hub: HubRig) -> None:
        first, whole = Lanes(), Lanes()
        await hub.push("n", first.unit("keep", [batch(1, 2)]))
        reply = await hub.push("n", whole.unit("keep", [batch(1, 2), batch(3, counter=3, at=10)]))
        assert reply.point == LanePoint(*whole.points["keep"])
        assert sorted(await values(hub)) == [1, 2, 3]

    async def test_a_gap_is_answered_with_the_held_point(self, hub: HubRig) -> None:
        lanes = Lanes()
        await hub.push("n", lanes.unit("keep", [batch(1)]))
        held = LanePoint(*lanes.points["keep"])
        lanes.unit("keep", [batch(2, counter=2)])
        reply = await hub.push("n", lanes.unit("keep", [batch(3, counter=3)]))
        assert (reply.outcome, reply.point) == ("gap", held)
        assert await values(hub) == [1]

    async def test_another_history_under_the_same_numbers_is_seen(self, hub: HubRig) -> None:
        mine, other = Lanes(), Lanes()
        await hub.push("n", mine.unit("keep", [batch(1)]))
        other.unit("keep", [batch(99)])
        reply = await hub.push("n", other.unit("keep", [batch(2, counter=2)]))
        assert (reply.outcome, reply.point) == ("diverged", LanePoint(*mine.points["keep"]))
        assert await values(hub) == [1]

    async def test_lanes_incarnations_and_nodes_are_apart(self, hub: HubRig) -> None:
        for node_id in ("a", "b"):
            for incarnation in (INCARNATION, OTHER_INCARNATION):
                lanes = Lanes(incarnation)
                for lane in ("keep", "sample", "event"):
                    kind = "event" if lane == "event" else "measurement"
                    reply = await hub.push(
                        node_id, lanes.unit(lane, [batch(1, kind=kind, name=f"x.{lane}")])
                    )
                    assert reply.outcome == "ok"
        # what a second incarnation sends again are the same records
        assert len(await values(hub)) == 2 * 3

    async def test_what_a_node_skips_becomes_one_gap_record(self, hub: HubRig) -> None:
        lanes = Lanes()
        await hub.push("n", lanes.unit("sample", [batch(1)]))
        lanes.unit("sample", [batch(2, 3, counter=2)])
        unit = replaced(lanes.unit("sample", [batch(4, counter=4)]), skipped=True)
        assert (await hub.push("n", unit)).outcome == "ok"
        assert (await hub.push("n", unit)).outcome == "ok"
        [gap] = (await hub.query.records(kind="gap")).rows
        assert (gap.name, gap.value, gap.source) == ("sync.sample.skipped", 2, "hub")
        assert gap.meta == {"first": 2, "last": 3, "incarnation": INCARNATION}
        assert sorted(await values(hub, kind="measurement")) == [1, 4]

    async def test_a_restored_store_that_goes_on_where_the_hub_was_leaves_no_gap(
        self, hub: HubRig
    ) -> None:
        old = Lanes()
        await hub.push("n", old.unit("keep", [batch(1, 2, 3)]))
        restored = Lanes(OTHER_INCARNATION)
        restored.points = dict(old.points)
        unit = replaced(restored.unit("keep", [batch(4, counter=4)]), skipped=True)
        assert (await hub.push("n", unit)).outcome == "ok"
        assert await values(hub, kind="gap") == []
        beyond = Lanes("33" * 16)
        beyond.points = {"keep": (10, NO_CHAIN)}
        await hub.push("n", replaced(beyond.unit("keep", [batch(5, counter=5)]), skipped=True))
        assert await values(hub, kind="gap") == [10 - 4]

    async def test_a_failure_after_the_records_undoes_them_and_the_caches_stay_true(
        self, hub: HubRig
    ) -> None:
        def fail(connection: Connection) -> None:
            hub.ingest.ingest(connection, "n", "b", hub.clock.wall_ns(), [batch(1, 2, unit="C")])
            raise Refused("after the records")

        with pytest.raises(Refused):
            await hub.store.write(fail)
        assert await values(hub) == []
        assert (await hub.push("n", Lanes().unit("keep", [batch(1, 2, unit="C")]))).outcome == "ok"
        [row, _] = (await hub.query.records()).rows
        assert (row.value, row.meta, row.name) == (1, {"unit": "C"}, "env.temperature")


class TestPushingState:
    async def test_rows_get_a_revision_and_a_repeat_learns_it_too(self, hub: HubRig) -> None:
        unit = Lanes().unit("state", [StateFrame([status("a"), status("b")])])
        first = await hub.push("n", unit)
        second = await hub.push("n", unit)
        assert [row.id for row in first.rows] == ["a", "b"]
        assert all(row.rev > 0 for row in first.rows)
        assert [(r.id, r.rev, bytes(r.body)) for r in second.rows] == [
            (r.id, r.rev, bytes(r.body)) for r in first.rows
        ]

    async def test_a_loser_is_answered_with_the_winner(self, hub: HubRig) -> None:
        await hub.push("n", Lanes().unit("state", [StateFrame([status("a", "running", hlc=9)])]))
        old = Lanes(OTHER_INCARNATION).unit("state", [StateFrame([status("a", "failed", hlc=5)])])
        [row] = (await hub.push("n", old)).rows
        assert msgspec.json.decode(row.body, type=WorkloadStatus).phase == "running"

    async def test_the_last_version_of_a_unit_wins(self, hub: HubRig) -> None:
        frames = [
            StateFrame([status("a", phase, hlc=hlc)])
            for hlc, phase in enumerate(("starting", "running", "failed"), 1)
        ]
        [row] = (await hub.push("n", Lanes().unit("state", frames))).rows
        assert msgspec.json.decode(row.body, type=WorkloadStatus).phase == "failed"
        assert row.rev == 1

    async def test_frames_that_were_taken_before_are_not_judged_again(self, hub: HubRig) -> None:
        lanes, whole = Lanes(), Lanes()
        first = StateFrame([status("a", "starting", hlc=9)])
        [row] = (await hub.push("n", lanes.unit("state", [first]))).rows
        # the device's clock went back, but the edit is based on what the hub holds
        second = StateFrame([status("a", "running", hlc=5, rev=row.rev)])
        await hub.push("n", lanes.unit("state", [second]))
        overlapping = whole.unit("state", [first, second, StateFrame([status("b")])])
        held = {row.id: row for row in (await hub.push("n", overlapping)).rows}
        assert msgspec.json.decode(held["a"].body, type=WorkloadStatus).phase == "running"
        assert set(held) == {"a", "b"}

    async def test_unknown_fields_of_a_body_survive(self, hub: HubRig) -> None:
        row = status("a")
        body = bytes(row.body)[:-1] + b',"from_the_future":[1,2]}'
        new = msgspec.structs.replace(row, body=msgspec.Raw(body))
        [held] = (await hub.push("n", Lanes().unit("state", [StateFrame([new])]))).rows
        assert bytes(held.body) == body

    async def test_a_clock_that_runs_ahead_is_clamped(self, hub: HubRig) -> None:
        far = (hub.clock.wall_ns() // 1_000_000 + 10**10) << 16
        await hub.push("n", Lanes().unit("state", [StateFrame([status("a", "failed", hlc=far)])]))
        hub.clock.advance(61.0)
        right = (hub.clock.wall_ns() // 1_000_000) << 16
        lanes = Lanes(OTHER_INCARNATION)
        [row] = (
            await hub.push(
                "n", lanes.unit("state", [StateFrame([status("a", "running", hlc=right)])])
            )
        ).rows
        assert msgspec.json.decode(row.body, type=WorkloadStatus).phase == "running"

    @pytest.mark.guarantee("G9")
    async def test_a_node_writes_only_what_is_its_own(self, hub: HubRig) -> None:
        node_id = (await hub.enrol("n1")).node_id
        other = (await hub.enrol("n2")).node_id
        await hub.apply(spec("a"))
        forged = StateRow("assignment", "a", 0, 2**60, "hub", body=msgspec.Raw(b"{}"))
        for row in (forged, StateRow("unknown", "a", 0, 1, "x"), node_info(other, site="x")):
            with pytest.raises(Refused):
                await hub.push(node_id, Lanes().unit("state", [StateFrame([row])]))
        posing = msgspec.structs.replace(status("a"), origin=other)
        [row] = (await hub.push(node_id, Lanes().unit("state", [StateFrame([posing])]))).rows
        assert row.origin == node_id
        [view] = await hub.workloads.list("a")
        assert view.nodes["n2"].status is None

    async def test_a_deleted_status_is_gone_from_the_view(self, hub: HubRig) -> None:
        node_id = (await hub.enrol("n1")).node_id
        await hub.apply(spec("a"))
        lanes = Lanes()
        [row] = (await hub.push(node_id, lanes.unit("state", [StateFrame([status("a")])]))).rows
        gone = StateRow("status", "a", row.rev, 2, node_id, deleted=True)
        await hub.push(node_id, lanes.unit("state", [StateFrame([gone])]))
        [view] = await hub.workloads.list("a")
        assert view.nodes["n1"].status is None


class TestBadInput:
    async def test_it_is_refused_as_a_whole_and_the_lane_goes_on(self, hub: HubRig) -> None:
        for unit in BAD.values():
            with pytest.raises(InvalidInput):
                await hub.push("n", unit)
        assert await values(hub) == []
        assert (await hub.push("n", Lanes().unit("keep", [batch(1)]))).outcome == "ok"

    async def test_wrong_counts_are_a_gap_or_another_history(self, hub: HubRig) -> None:
        lanes = Lanes()
        await hub.push("n", lanes.unit("keep", [batch(1, 2, 3)]))
        honest = lanes.unit("keep", [batch(4, 5, counter=4)])
        for first, outcome in ((5, "gap"), (3, "diverged"), (2, "diverged")):
            reply = await hub.push("n", replaced(honest, first=first))
            assert (first, reply.outcome, reply.point.n) == (first, outcome, 3)
        assert (await hub.push("n", honest)).outcome == "ok"
        assert sorted(await values(hub)) == [1, 2, 3, 4, 5]

    async def test_everything_that_is_allowed_fits(self, hub: HubRig) -> None:
        meta = {f"{'é' * 1000}{i:02}": "\0ü" * 500 for i in range(32)}
        records = [
            Record(0, "a" * 255, -(2**63), "\0" * 65536, meta),
            Record(2**40, "A_9/.-", 2**63 - 1, -(2**63)),
        ]
        unit = raw_unit(
            encode(Batch("event", "é" * 255, "ab" * 32, 1, 2**63 - 1, -(2**63), "suspect", records))
        )
        assert (await hub.push("n", unit)).outcome == "ok"
        first, last = (await hub.query.records()).rows
        assert (first.value, first.meta, first.at) == ("\0" * 65536, meta, -(2**63))
        assert (last.value, last.name, last.at) == (-(2**63), "A_9/.-", 2**63 - 1)
