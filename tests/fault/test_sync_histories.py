"""Whatever happens to node, hub and the way between them: in the end the hub has what the node accepted, once.

Hypothesis chooses what happens. The node is real (segments, SQLite, the whole sync); the hub is the one in memory.
Copies follow one line: putting back an older copy throws the younger ones away, as a machine's backups would be.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.sync_rig import NodeRig, passing

from skerry.testing.fake_hub import FakeHub, HubContents
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.sync import Lane

Identity = tuple[str, int]
STEPS = st.sampled_from([0, 0, 3, 10, 30])
LANES = st.sampled_from(["keep", "event"])
COUNTS = st.integers(1, 30)
WORKLOADS = st.sampled_from(["a", "b"])


class Histories(RuleBasedStateMachine):
    """Between two rules no time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.scratch = Path(tempfile.mkdtemp(prefix="sk-histories-"))
        self.clock = ManualClock()
        self.hub = FakeHub()
        self.node = NodeRig(self.scratch / "node", self.hub, self.clock)
        self.sessions = 0
        self.owed: set[Identity] = set()
        self.accepted: set[Identity] = set()
        self.reports = 0
        self.hub_copies: list[HubContents] = []
        self.node_copies: list[tuple[Path, set[Identity]]] = []

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        async def in_time() -> None:
            time = asyncio.create_task(passing(self.clock))
            try:
                await work
            finally:
                time.cancel()
                await asyncio.wait([time])

        self.loop.run_until_complete(in_time())

    @initialize()
    def begin(self) -> None:
        self.run(self.node.start())
        self.session = self.new_session()

    def new_session(self) -> str:
        """Publishers begin anew whenever the node does, so an identity never has two values."""
        self.sessions += 1
        self.counter = 0
        return f"{self.sessions:032x}"

    async def restart(self) -> None:
        await self.node.start()
        self.session = self.new_session()

    def publish(self, lane: Lane, count: int) -> None:
        self.run(self.node.publish(self.session, self.counter + 1, count, lane))
        new = {(self.session, self.counter + n) for n in range(1, count + 1)}
        self.counter += count
        self.owed |= new
        self.accepted |= new

    @rule(lane=LANES, count=COUNTS, workload=WORKLOADS, steps=STEPS)
    def live(self, lane: Lane, count: int, workload: str, steps: int) -> None:
        """Accepts something, then talks for a while or not at all."""
        self.publish(lane, count)
        self.reports += 1
        self.run(self.node.report(workload, self.reports))

        async def talk() -> None:
            self.node.sync_on()
            for _ in range(steps):
                await asyncio.sleep(0.001)

        if steps:
            self.run(talk())

    @rule(copy_hub=st.booleans(), copy_node=st.booleans())
    def catch_up(self, copy_hub: bool, copy_node: bool) -> None:
        """Talks until all is well; a good moment for a backup."""
        self.run(self.settle())
        if copy_hub:
            self.hub_copies.append(self.hub.snapshot())
        if copy_node:
            self.run(self.copy_node())

    async def copy_node(self) -> None:
        copy = self.scratch / f"copy-{len(self.node_copies)}"
        await self.node.crash(copy)
        self.node_copies.append((copy, set(self.owed)))
        await self.restart()

    @rule(calls=st.integers(1, 8), applied=st.booleans())
    def lose_an_answer(self, calls: int, applied: bool) -> None:
        self.hub.fail_at = self.hub.calls + calls
        self.hub.applied = applied

    @rule(reachable=st.booleans())
    def cut_or_heal(self, reachable: bool) -> None:
        self.hub.reachable = reachable
        self.run_now(self.hub.cut)

    @precondition(lambda self: self.hub_copies)
    @rule(data=st.data(), calls=st.integers(0, 6))
    def put_hub_back(self, data: st.DataObject, calls: int) -> None:
        """At once, or just before one of the next calls, which may be in the middle of an exchange."""
        index = data.draw(st.integers(0, len(self.hub_copies) - 1))
        del self.hub_copies[index + 1 :]
        copy = self.hub_copies[index]
        if calls == 0:
            self.run_now(lambda: self.hub.restore(copy))
        else:
            self.hub.surprises[self.hub.calls + calls] = lambda: self.hub.restore(copy)

    @precondition(lambda self: self.node_copies)
    @rule(data=st.data(), lane=LANES, count=st.integers(0, 40))
    def put_node_back(self, data: st.DataObject, lane: Lane, count: int) -> None:
        """And it accepts something, perhaps more than it once had, before it meets the hub."""
        index = data.draw(st.integers(0, len(self.node_copies) - 1))
        del self.node_copies[index + 1 :]
        copy, owed = self.node_copies[index]
        self.owed = set(owed)

        async def put_back() -> None:
            await self.node.stop()
            self.node.put_back(copy)
            await self.restart()

        self.run(put_back())
        if count:
            self.publish(lane, count)

    @rule()
    def kill_node(self) -> None:
        async def kill() -> None:
            await self.node.crash(self.scratch / "crash")
            await self.restart()

        self.run(kill())

    def run_now(self, work: Any) -> None:
        async def call() -> None:
            work()

        self.loop.run_until_complete(call())

    def teardown(self) -> None:
        try:
            self.run(self.settle())
        finally:
            self.run(self.node.stop())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            shutil.rmtree(self.scratch)

    async def settle(self) -> None:
        """Everything works again: nothing owed is missing, and nothing is there that nobody accepted."""
        self.hub.reachable = True
        self.hub.fail_at = 0
        self.node.sync_on()
        rows = {row.id: bytes(row.body) for row in await self.node.store.rows("status")}

        async def arrived() -> bool:
            held = {row.id: bytes(row.body) for row in self.hub.state.values()}
            return (
                self.owed <= self.hub.records.keys()
                and rows.items() <= held.items()
                and await self.node.store.unsent() == 0
            )

        await eventually(arrived, "the hub has everything that the node accepted")
        assert self.hub.records.keys() <= self.accepted


@pytest.mark.guarantee("G1")
@pytest.mark.timeout(300)
class TestHistories(Histories.TestCase):
    settings = settings(
        max_examples=60,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
