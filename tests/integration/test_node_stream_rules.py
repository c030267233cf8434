"""Rules for names on a node: what goes, what never goes, and that it is told."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.record_rig import make_store, session, values

from skerry.core.stream_rules import Rule, Rules
from skerry.node.data.retention import Retention
from skerry.node.store.own_events import OwnEvents
from skerry.node.store.record_jobs import Limits, Submission
from skerry.node.store.records import RecordStore
from skerry.testing.manual_clock import ManualClock
from skerry.wire.codec import decode
from skerry.wire.records import Batch, Record
from skerry.wire.sync import Lane

DAY = 86_400.0
RULES = Rules.of([Rule("cam", keep=DAY), Rule("raw", bytes=40_000)])
TEXT = "x" * 9_000


@dataclass
class Site:
    records: RecordStore
    retention: Retention
    clock: ManualClock
    count: int = 0

    async def put(self, name: str, number: int, lane: Lane = "keep") -> None:
        """Files hold a few of these each."""
        for _ in range(number):
            self.count += 1
            await self.records.append(
                Submission(
                    kind="measurement", source="w", session=session(1), first=self.count,
                    accepted_at=self.clock.wall_ns(), monotonic=self.clock.monotonic_ns(), quality="synced",
                    parts=[(lane, [Record(0, name, self.clock.wall_ns(), TEXT)])],
                )
            )  # fmt: skip

    def acknowledge(self, lane: Lane = "keep") -> None:
        self.records.acknowledge(lane, self.records.head(lane).n)

    async def pass_once(self) -> None:
        await self.retention.once()

    def events(self) -> list[tuple[str, Record]]:
        """(kind, record) of lane «event»."""
        return [
            (batch.kind, record)
            for segment in self.records.segments("event")
            for frame in self.records.frames("event", segment)
            for batch in [decode(frame.payload, Batch, "frame")]
            for record in batch.records
        ]

    def held(self, lane: Lane = "keep") -> int:
        return self.records.head(lane).n - self.records.base(lane).n


@pytest.fixture
async def site(tmp_path: Path, manual_clock: ManualClock) -> AsyncIterator[Site]:
    records = make_store(tmp_path, clock=manual_clock, limits=Limits(segment=20_000, reserve=4096))
    await records.start()
    events = OwnEvents(records, manual_clock, lambda: "synced")
    yield Site(records, Retention(records, manual_clock, lambda _: 0, RULES, events), manual_clock)
    await records.stop()


async def test_by_age_what_the_hub_has_goes_and_an_event_says_so(site: Site) -> None:
    await site.put("cam", 9)
    site.acknowledge()
    site.clock.advance(DAY / 2)
    await site.pass_once()
    assert site.held() == 9
    site.clock.advance(DAY)
    await site.pass_once()
    assert site.held() <= 2  # the file that is being written stays
    [(_, told)] = site.events()
    assert told.name == "skerry.retention.removed"
    assert told.meta == {"rule": "cam: 1d", "lane": "keep", "records": 9 - site.held()}
    assert site.retention.removed["cam: 1d"].records == 9 - site.held()


@pytest.mark.guarantee("G1")
async def test_records_of_class_keep_that_the_hub_lacks_go_by_no_rule(site: Site) -> None:
    await site.put("cam", 9)
    await site.put("raw", 20)
    site.clock.advance(100 * DAY)
    await site.pass_once()
    assert site.held() == 29
    assert site.events() == []
    site.records.acknowledge("keep", 4)
    await site.pass_once()
    assert 25 <= site.held() < 29
    assert len(values(site.records)) == site.held()


async def test_of_a_stream_above_its_bytes_the_oldest_files_go(site: Site) -> None:
    await site.put("raw", 20)
    site.acknowledge()
    await site.pass_once()
    kept = sum(segment.size for segment in site.records.segments("keep"))
    assert 40_000 <= kept <= 40_000 + 3 * 20_000


async def test_samples_go_by_a_rule_though_the_hub_lacks_them_and_the_gap_is_a_record(
    site: Site,
) -> None:
    await site.put("cam", 9, "sample")
    await site.put("env", 5, "sample")
    site.clock.advance(2 * DAY)
    await site.pass_once()
    kinds = [kind for kind, _ in site.events()]
    gaps = [record for kind, record in site.events() if kind == "gap"]
    assert sum(int(gap.value) for gap in gaps) == 14 - site.held("sample")
    assert {gap.meta["cause"] for gap in gaps if gap.meta} == {"retention"}
    assert site.held("sample") >= 5  # of «env» no rule speaks, and its file stays
    assert kinds[-1] == "event"
    held = site.held("sample")
    site.clock.advance(20 * DAY)
    await site.pass_once()
    assert site.held("sample") == held


async def test_a_rule_that_keeps_longer_holds_files_back(site: Site, tmp_path: Path) -> None:
    longer = Retention(site.records, site.clock, lambda _: 10**9, Rules.of([Rule("cam", keep=30 * DAY)]))  # fmt: skip
    await site.put("cam", 9)
    site.acknowledge()
    site.clock.advance(20 * DAY)
    await longer.once()
    assert site.held() == 9
    site.clock.advance(20 * DAY)
    await longer.once()
    assert site.held() <= 2
