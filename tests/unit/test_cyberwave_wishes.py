"""What the device wants because of Cyberwave: every source's word is told on, also while no environment is known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tests.workload_cases import wish

from skerry.kit.bell import Bell
from skerry.kit.clock import SystemClock
from skerry.node.cyberwave.wishes import Wishes
from skerry.node.ports import Launch
from skerry.testing.waiting import eventually
from skerry.wire.workload import Assignment


class Source:
    """Wants what it is told."""

    def __init__(self, *names: str) -> None:
        self.told = Bell()
        self.names = names

    def wanted(self) -> Sequence[Assignment]:
        return [wish(name) for name in self.names]

    def launch_for(self, assignment: Assignment, instance: str) -> Launch | None:  # noqa: ARG002 - the usual one
        return None

    def is_local(self, workload: str) -> bool:
        return workload in self.names


async def test_a_broker_that_comes_while_no_environment_is_known_is_told_of() -> None:
    broker, drivers = Source(), Source("driver")
    wishes = Wishes(broker)
    following = asyncio.create_task(wishes.follow(SystemClock()))
    seen: list[str] = []

    async def hear() -> None:
        count = 0
        while True:
            count = await wishes.told.after(count)
            seen[:] = [one.workload for one in wishes.wanted()]

    hearing = asyncio.create_task(hear())
    await asyncio.sleep(0)
    broker.names = ("broker",)
    broker.told.ring()
    await eventually(lambda: seen == ["broker"], "the broker is wanted")
    wishes.serve(drivers)
    await eventually(lambda: seen == ["broker", "driver"], "both are")
    drivers.names = ()
    drivers.told.ring()
    await eventually(lambda: seen == ["broker"], "one is no more")
    wishes.serve()
    drivers.names = ("driver",)
    drivers.told.ring()
    await asyncio.sleep(0)
    assert not wishes.serves(drivers)
    assert not wishes.is_local("driver")
    assert [one.workload for one in wishes.wanted()] == ["broker"]
    for task in (following, hearing):
        task.cancel()
    await asyncio.wait([following, hearing])
