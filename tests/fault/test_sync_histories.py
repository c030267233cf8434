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
STEPS = st.integers(1, 30)
LANES = st.sampled_from(["keep", "keep", "event"])


class Histories(RuleBasedStateMachine):
    """Between two rules no time passes; `talk` lets the node run for a while."""

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

    @rule(lane=LANES, count=st.integers(1, 30))
    def publish(self, lane: Lane, count: int) -> None:
        self.run(self.node.publish(self.session, self.counter + 1, count, lane))
        new = {(self.session, self.counter + n) for n in range(1, count + 1)}
        self.counter += count
        self.owed |= new
        self.accepted |= new

    @rule(workload=st.sampled_from(["a", "b", "c"]))
    def report(self, workload: str) -> None:
        self.reports += 1
        self.run(self.node.report(workload, self.reports))

    @rule(lane=LANES, count=st.integers(1, 30), steps=STEPS)
    def live(self, lane: Lane, count: int, steps: int) -> None:
        self.publish(lane, count)
        self.talk(steps)

    @rule(steps=STEPS)
    def talk(self, steps: int) -> None:
        async def work() -> None:
            if not self.node.is_syncing:
                self.node.sync_on()
            for _ in range(steps):
                await asyncio.sleep(0.001)

        self.run(work())

    @rule(calls=st.integers(1, 8), applied=st.booleans())
    def lose_an_answer(self, calls: int, applied: bool) -> None:
        self.hub.fail_at = self.hub.calls + calls
        self.hub.applied = applied

    @rule(reachable=st.booleans())
    def cut_or_heal(self, reachable: bool) -> None:
        self.hub.reachable = reachable
        self.run_now(self.hub.cut)

    @precondition(lambda self: len(self.hub_copies) < 3)
    @rule()
    def copy_hub(self) -> None:
        self.hub_copies.append(self.hub.snapshot())

    @precondition(lambda self: self.hub_copies)
    @rule(data=st.data(), calls=st.integers(0, 5))
    def put_hub_back(self, data: st.DataObject, calls: int) -> None:
        """At once, or just before one of the next calls, which may be in the middle of an exchange."""
        index = data.draw(st.integers(0, len(self.hub_copies) - 1))
        del self.hub_copies[index + 1 :]
        copy = self.hub_copies[index]
        if calls == 0:
            self.run_now(lambda: self.hub.restore(copy))
        else:
            self.hub.surprises[self.hub.calls + calls] = lambda: self.hub.restore(copy)

    @precondition(lambda self: len(self.node_copies) < 3)
    @rule()
    def copy_node(self) -> None:
        async def work() -> None:
            await self.node.stop()
            copy = self.scratch / f"copy-{len(self.node_copies)}"
            self.node.copy_to(copy)
            self.node_copies.append((copy, set(self.owed)))
            await self.restart()

        self.run(work())

    @precondition(lambda self: self.node_copies)
    @rule(data=st.data())
    def put_node_back(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.node_copies) - 1))
        del self.node_copies[index + 1 :]
        copy, owed = self.node_copies[index]
        self.owed = set(owed)

        async def work() -> None:
            await self.node.stop()
            self.node.put_back(copy)
            await self.restart()

        self.run(work())

    @rule()
    def kill_node(self) -> None:
        async def work() -> None:
            await self.node.crash(self.scratch / "crash")
            await self.restart()

        self.run(work())

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
        if not self.node.is_syncing:
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
        max_examples=40,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
