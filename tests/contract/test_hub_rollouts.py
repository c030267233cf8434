"""Changes in waves, in the database: apply, restart, failures, orders of people, a hub that starts again."""

from __future__ import annotations

import msgspec
import pytest
from tests.hub_rig import HubRig, Lanes, PullingNode, spec

from skerry.core.cursors import Position, sign
from skerry.kit.errors import NotFound, Refused
from skerry.wire.codec import encode
from skerry.wire.people import UpdateView
from skerry.wire.sync import Pull, StateFrame, StateRow
from skerry.wire.workload import Phase, Update, WorkloadSpec, WorkloadStatus

WAVES = Update(max_unavailable=1, min_healthy=10.0, healthy_within=60.0)


def wave_spec(value: str, **update: object) -> WorkloadSpec:
    return spec("a", env={"X": value}, update=msgspec.structs.replace(WAVES, **update))


class Device(PullingNode):
    """A node that does what it is told, or not."""

    def __init__(self, hub: HubRig, node_id: str) -> None:
        super().__init__(hub, node_id)
        self.lanes = Lanes(node_id.replace("-", ""))
        self.clock = 0

    async def work(self, phase: Phase = "running") -> None:
        """Pulls, and reports its workload in this phase."""
        await self.pull()
        self.hub.nodes.seen(self.node_id, self.hub.clock.wall_ns())
        held = self.assignments()["a"]
        self.clock += 1
        body = WorkloadStatus("a", held.generation, phase, 1, ready=phase == "running")
        row = StateRow("status", "a", 0, self.clock, "node", body=msgspec.Raw(encode(body)))
        await self.hub.push(self.node_id, self.lanes.unit("state", [StateFrame([row])]))

    async def value(self) -> str:
        await self.pull()
        return self.assignments()["a"].spec.env["X"]


class Fleet:
    """Some devices with the first version, at rest."""

    def __init__(self, hub: HubRig, devices: list[Device]) -> None:
        self.hub = hub
        self.devices = devices

    async def values(self) -> str:
        return "".join([await device.value() for device in self.devices])

    async def heard(self) -> None:
        """All give a sign of life, as pings do."""
        for device in self.devices:
            self.hub.nodes.seen(device.node_id, self.hub.clock.wall_ns())

    async def pass_wave(self) -> None:
        """Every device works, for long enough, and the hub looks."""
        for device in self.devices:
            await device.work()
        self.hub.clock.advance(11.0)
        await self.heard()
        await self.hub.rollouts.advance()

    async def work(self) -> None:
        """Every device works; the hub looks."""
        for device in self.devices:
            await device.work()
        await self.hub.rollouts.advance()

    async def update(self) -> UpdateView | None:
        [view] = await self.hub.workloads.list("a")
        return view.update


async def fleet_of(hub: HubRig, count: int) -> Fleet:
    devices = [Device(hub, (await hub.enrol(f"n{n}")).node_id) for n in range(count)]
    fleet = Fleet(hub, devices)
    await hub.apply(wave_spec("1"))
    assert await fleet.values() == "1" * count
    for device in devices:
        await device.work()
    hub.clock.advance(20.0)
    await fleet.heard()
    return fleet


async def test_a_change_goes_from_node_to_node(hub: HubRig) -> None:
    fleet = await fleet_of(hub, 3)
    hub.news.clear()
    await hub.apply(wave_spec("2"))
    assert hub.news == []
    assert await hub.rollouts.advance()
    assert not await hub.rollouts.advance()
    assert hub.news == [fleet.devices[0].node_id]
    assert await fleet.values() == "211"
    update = await fleet.update()
    assert update is not None
    assert (update.state, update.total, update.changed, update.healthy) == ("rolling", 3, 1, 0)
    await fleet.pass_wave()
    assert await fleet.values() == "221"
    await fleet.pass_wave()
    await fleet.pass_wave()
    assert await fleet.values() == "222"
    assert await fleet.update() is None
    assert not await hub.rollouts.advance()


async def test_without_the_section_all_change_at_once(hub: HubRig) -> None:
    fleet = await fleet_of(hub, 3)
    await hub.apply(wave_spec("2", max_unavailable=None))
    assert await fleet.values() == "222"
    assert await fleet.update() is None


async def test_new_nodes_get_the_newest_at_once_and_restarts_go_in_waves(hub: HubRig) -> None:
    fleet = await fleet_of(hub, 2)
    await hub.apply(wave_spec("2"))
    await hub.rollouts.advance()
    late = Device(hub, (await hub.enrol("n9")).node_id)
    assert await late.value() == "2"
    fleet.devices.append(late)
    for _ in range(3):
        await fleet.pass_wave()
    assert await fleet.update() is None
    await hub.workloads.restart("a")
    await hub.rollouts.advance()
    await fleet.values()
    assert [device.assignments()["a"].restarts for device in fleet.devices] == [1, 0, 0]


async def test_a_failure_pauses_until_somebody_decides(hub: HubRig) -> None:
    fleet = await fleet_of(hub, 3)
    await hub.apply(wave_spec("2"))
    await hub.rollouts.advance()
    await fleet.devices[0].work("tripped")
    assert await hub.rollouts.advance()
    update = await fleet.update()
    assert update is not None
    assert (update.state, update.failed) == ("paused", 1)
    assert update.message.startswith("paused: 1 of 3 nodes failed: n0 tripped; 1 of 3 nodes have")
    for _ in range(2):
        hub.clock.advance(100.0)
        await fleet.heard()
        await hub.rollouts.advance()
    assert await fleet.values() == "211"
    await hub.rollouts.resume("a")
    await hub.rollouts.advance()
    assert await fleet.values() == "221"


async def test_a_paused_change_is_taken_back_or_superseded(hub: HubRig) -> None:
    fleet = await fleet_of(hub, 3)
    await hub.apply(wave_spec("2"))
    await hub.rollouts.advance()
    await hub.rollouts.pause("a")
    assert not await hub.rollouts.advance()
    await hub.workloads.abort("a", "ben")
    await fleet.work()
    assert await fleet.values() == "111"
    newest = (await hub.workloads.history("a"))[-1]
    assert (newest.change, newest.to, newest.by) == ("rollback", 1, "ben")
    with pytest.raises(Refused, match="on its way back already"):
        await hub.workloads.abort("a", "ben")
    await fleet.pass_wave()
    assert await fleet.update() is None

    await hub.apply(wave_spec("3"))
    await hub.rollouts.advance()
    await hub.apply(wave_spec("4"))
    await fleet.pass_wave()
    await fleet.pass_wave()
    assert await fleet.values() == "441"
    await hub.workloads.abort("a", "ben")
    await fleet.work()
    assert await fleet.values() == "141"
    await fleet.pass_wave()
    assert await fleet.values() == "111"


async def test_an_aborted_restart_restarts_nobody_else(hub: HubRig) -> None:
    fleet = await fleet_of(hub, 2)
    await hub.workloads.restart("a")
    await hub.rollouts.advance()
    await hub.workloads.abort("a", "ben")
    for _ in range(3):
        await fleet.pass_wave()
    assert [device.assignments()["a"].restarts for device in fleet.devices] == [0, 0]
    assert len(await hub.workloads.history("a")) == 1


async def test_taking_back_asks_nothing_of_nodes_without_the_change(hub: HubRig) -> None:
    """Neither of those that are offline, nor of those that had their own trouble all the time."""
    fleet = await fleet_of(hub, 3)
    await hub.apply(wave_spec("2"))
    await hub.rollouts.advance()
    await hub.workloads.abort("a", "ben")
    hub.clock.advance(100.0)
    await fleet.devices[0].work()
    await fleet.devices[1].work("tripped")
    await hub.rollouts.advance()
    await fleet.devices[0].work()
    hub.clock.advance(11.0)
    hub.nodes.seen(fleet.devices[0].node_id, hub.clock.wall_ns())
    await hub.rollouts.advance()
    assert await fleet.update() is None
    assert await fleet.values() == "111"


async def test_orders_need_a_change_under_way(hub: HubRig) -> None:
    with pytest.raises(NotFound, match="cannot pause the update of workload «a»"):
        await hub.rollouts.pause("a")
    await hub.apply(wave_spec("1"))
    for order in (hub.rollouts.pause("a"), hub.rollouts.resume("a"), hub.workloads.abort("a", "b")):
        with pytest.raises(Refused, match="none is under way"):
            await order


async def test_a_new_hub_goes_on_where_the_old_one_stopped(hub: HubRig) -> None:
    fleet = await fleet_of(hub, 3)
    await hub.apply(wave_spec("2"))
    await hub.rollouts.advance()
    again = HubRig(hub.url, hub.clock, hub.encryption)
    await again.start()
    try:
        fleet.hub = again
        for device in fleet.devices:
            device.hub = again
        for _ in range(3):
            await fleet.pass_wave()
        assert await fleet.values() == "222"
        assert await fleet.update() is None
    finally:
        again.stop()


async def test_a_deleted_workload_leaves_no_change_behind(hub: HubRig) -> None:
    await fleet_of(hub, 2)
    await hub.apply(wave_spec("2"))
    await hub.workloads.delete("a", "ann")
    assert not await hub.rollouts.advance()
    await hub.apply(wave_spec("3"))
    [view] = await hub.workloads.list("a")
    assert view.update is None


async def test_a_restored_hub_does_not_skip_the_waves(hub: HubRig) -> None:
    fleet = await fleet_of(hub, 3)
    await hub.apply(wave_spec("2"))
    await hub.rollouts.advance()
    await hub.rollouts.pause("a")
    lost = Position(1, 1_000_000, "tag", fleet.devices[0].node_id)
    await hub.feed.answer(lost.scope, Pull(sign(lost, hub.store.facts.cursor_key), ""))
    assert await fleet.values() == "211"
    assert {device.assignments()["a"].generation.epoch for device in fleet.devices} == {2}
    await hub.rollouts.resume("a")
    for _ in range(3):
        await fleet.pass_wave()
    assert await fleet.values() == "222"
