"""Who is ended when a disk runs short, what people hear, and when it is tried again: a real disk, and programs that the test names."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.hidden_files import hidden_files
from tests.small_disk import fill, small_disk

from skerry.kit.errors import Transient
from skerry.node.drivers.disk_use import LATEST, SOONEST
from skerry.node.drivers.disk_watch import KIND, Bus, DiskWatch, Program
from skerry.node.drivers.flapping import PAUSE
from skerry.node.drivers.telling import Notice
from skerry.node.ports import Excess
from skerry.node.twin_ports import Written
from skerry.testing.manual_clock import ManualClock

MB = 1 << 20


class Site:
    """A disk of 64 MB, 16 of which are to be free, and programs that write below it."""

    def __init__(self, disk: Path) -> None:
        self.disk = disk
        self.fixed: Sequence[Path] = [disk, disk / "gone"]
        self.bus: Bus | None = None
        self.running: list[Program] = []
        self.places: Mapping[str, Written] = {}
        self.sizes: Mapping[str, int] = {}
        self.asked: list[str] = []
        self.ended: list[Excess] = []
        self.told: list[Notice] = []
        self.clock = ManualClock()
        self.watch = DiskWatch(self, self, self.clock)

    def program(self, name: str, megabytes: int, **fields: object) -> Program:
        place = self.disk / name
        place.mkdir(exist_ok=True)
        self.write(name, megabytes)
        made = Program(name, f"{name}-1", (f"twin of {name}",), (place,), 0, 10)
        self.running.append(replace(made, **fields))
        return self.running[-1]

    def write(self, name: str, megabytes: int) -> None:
        (self.disk / name / "file").write_bytes(bytes(megabytes * MB))

    def programs(self) -> Sequence[Program]:
        return self.running

    def twins(self) -> Collection[str]:
        return ["t1", "t2"]

    async def written(self, instance: str) -> Written:
        self.asked.append(instance)
        if instance not in self.places:
            raise Transient("no engine answers")
        return self.places[instance]

    async def layer_size(self, instance: str) -> int:
        return self.sizes[instance]

    def end(self, excess: Excess) -> None:
        self.ended.append(excess)
        self.running = [one for one in self.running if one.workload != excess.workload]

    def give(self, *notices: Notice) -> None:
        self.told += notices

    def heard(self) -> list[tuple[str, str]]:
        """What was told since the last time, by whom of."""
        told, self.told = self.told, []
        assert {one.kind for one in told} <= {KIND}
        return [(one.deed, one.twin) for one in told]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with small_disk(tmp_path / "disk", 64) as disk:
        yield Site(disk)


async def test_a_disk_with_room_is_looked_at_and_nothing_is_measured(site: Site) -> None:
    site.program("arm", 40, pid=1)
    site.places = {"arm-1": Written(site.disk / "arm")}
    assert await site.watch.look() == SOONEST
    assert await site.watch.look() == SOONEST
    assert site.asked == ["arm-1"]
    assert not site.ended
    # What an earlier agent may have told is over.
    assert site.heard() == [("resolve_kind", "t1"), ("resolve_kind", "t2")]


async def test_who_holds_most_of_a_disk_that_runs_short_is_ended_and_held(site: Site) -> None:
    site.program("arm", 12)
    site.program("leg", 34)
    site.program("eye", 5)
    changed = site.watch.changed.count
    assert await site.watch.look() == pytest.approx(SOONEST, abs=1)
    [excess] = site.ended
    assert (excess.workload, excess.instance, excess.reason) == ("leg", "leg-1", "storage")
    assert excess.at_once
    assert "35.7 MB of 6.71 MB" in excess.detail
    assert str(site.disk / "leg") in site.watch.held("leg")
    assert site.watch.changed.count == changed + 1
    [alert] = site.told
    assert (alert.twin, alert.metadata["stopped"]) == ("twin of leg", True)
    assert "leg was stopped" in alert.description
    assert (site.watch.held("arm"), site.watch.held("eye")) == ("", "")


async def test_what_several_may_write_to_is_held_against_none_of_them(site: Site) -> None:
    library = site.program("library", 45).places
    site.running = []
    leader = site.program("leader", 3)
    site.running = [replace(leader, places=(*leader.places, *library))]
    site.program("follower", 4, places=library)
    await site.watch.look()
    site.running.pop(0)  # it has crashed
    await site.watch.look()
    assert not site.ended
    site.running = []
    await site.watch.look()
    site.program("arm", 2, places=library)
    await site.watch.look()
    assert [one.workload for one in site.ended] == ["arm"]


async def test_nobody_else_is_ended_before_the_first_has_given_back_what_it_held(
    site: Site,
) -> None:
    site.program("arm", 12)
    leg = site.program("leg", 38)
    await site.watch.look()
    site.running.append(leg)  # it is still there
    await site.watch.look()
    assert [one.workload for one in site.ended] == ["leg"]
    site.running.remove(leg)
    await site.watch.look()
    assert [one.workload for one in site.ended] == ["leg", "arm"]


async def test_it_is_tried_again_once_there_is_room(site: Site) -> None:
    site.program("leg", 50)
    await site.watch.look()
    site.clock.advance(PAUSE + 1)
    await site.watch.look()
    assert site.watch.held("leg"), "what it has left there is still too much"
    site.write("leg", 1)
    site.heard()
    await site.watch.look()
    assert not site.watch.held("leg")
    assert site.heard() == [("resolve_kind", "twin of leg")]


async def test_people_may_start_it_before_that(site: Site) -> None:
    site.program("leg", 50)
    await site.watch.look()
    assert not site.watch.release_twin("another")
    assert site.watch.release_twin("twin of leg")
    assert not site.watch.held("leg")


async def test_a_disk_that_others_have_filled_ends_nobody_and_is_told_once(site: Site) -> None:
    site.program("arm", 6)
    site.program("leg", 3)
    site.program("big", 7, setting=0)
    hog = fill(site.disk)
    await site.watch.look()
    await site.watch.look()
    assert not site.ended
    assert site.heard() == [("tell", "twin of big")]
    hog.unlink()
    assert SOONEST <= await site.watch.look() <= LATEST
    assert site.heard() == [("resolve_kind", "twin of big")]


async def test_what_a_container_writes_counts_wherever_the_engine_has_put_it(site: Site) -> None:
    arm = site.program("arm", 0, pid=1)
    leg = site.program("leg", 0, pid=1)
    for name in ("layer", "volume"):
        (site.disk / name).mkdir()
        (site.disk / name / "file").write_bytes(bytes(12 * MB))
    (site.disk / "hog").write_bytes(bytes(26 * MB))
    site.places = {
        arm.instance: Written(site.disk / "layer", (site.disk / "volume",)),
        leg.instance: Written(),
    }
    site.sizes = {leg.instance: 20 * MB}
    await site.watch.look()
    assert [one.workload for one in site.ended] == ["arm"]
    (site.disk / "layer" / "file").unlink()
    (site.disk / "hog2").write_bytes(bytes(12 * MB))
    await site.watch.look()
    assert [one.workload for one in site.ended] == ["arm", "leg"]


async def test_where_this_node_cannot_look_the_engine_is_asked(site: Site) -> None:
    arm = site.program("arm", 0, pid=1)
    site.places = {arm.instance: Written(site.disk / ("x" * 300))}  # fails as another user's does
    site.sizes = {arm.instance: 20 * MB}
    fill(site.disk)
    await site.watch.look()
    assert [one.workload for one in site.ended] == ["arm"]


async def test_what_a_container_has_removed_on_another_disk_is_not_what_this_one_lacks(
    site: Site, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    fill(site.disk)
    with hidden_files(other) as pid:
        arm = site.program("arm", 0, pid=pid, setting=MB)
        site.places = {arm.instance: Written(other)}
        await site.watch.look()
        assert not site.ended
        site.running = [replace(arm, instance="arm-2")]
        site.places = {"arm-2": Written(site.disk / "arm")}
        await site.watch.look()
        assert [one.workload for one in site.ended] == ["arm"]


async def test_the_data_bus_keeps_its_newest(site: Site) -> None:
    bus = site.disk / "bus"
    site.bus = Bus(bus, 5 * MB)
    await site.watch.look()
    bus.mkdir()
    for number in range(50):
        with contextlib.suppress(OSError):
            (bus / f"{number}.bin").write_bytes(bytes(MB))
    await site.watch.look()
    assert sorted(int(path.stem) for path in bus.iterdir()) == [45, 46, 47, 48, 49]
