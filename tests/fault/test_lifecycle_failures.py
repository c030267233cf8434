"""The n-th operation fails, for every n: the node converges all the same, and never runs a workload twice."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from tests.workload_cases import wish
from tests.workload_rig import Rig

from skerry.kit.disk import Disk, RealDisk
from skerry.node.ports import Launch, ProcessIdentity
from skerry.testing.fake_runtime import FakeRuntime
from skerry.testing.faulty_disk import FaultyDisk
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.workload import Assignment, Stop, Update

TOGETHER = 6


class WatchedRuntime(FakeRuntime):
    """Notes when a workload has more living instances than it may: two of one that overlaps, else one."""

    doubles = 0
    overlapping: frozenset[str] = frozenset({"web"})

    async def start(self, launch: Launch) -> ProcessIdentity:
        try:
            return await super().start(launch)
        finally:
            living = Counter(one.workload for one in self.running.values())
            self.doubles += any(
                number > 1 + (name in self.overlapping) for name, number in living.items()
            )


class Life:
    """A short life with everything in it: start with a dependency, crash, change, agent's restart, removal."""

    def __init__(self, directory: Path, runtime: WatchedRuntime, disk: Disk) -> None:
        self.clock = ManualClock()
        self.runtime = runtime
        self.rig = Rig(directory, runtime, self.clock, disk)

    async def live(self) -> None:
        rig, runtime = self.rig, self.runtime
        await rig.start()
        db, app = wish("db"), wish("app", depends_on={"db": "ready"}, stop=Stop(grace=1))
        await self.reach("both run", db, app)
        crashed = runtime.instance_of("db")
        runtime.end(crashed, code=1)
        await self.reach("db is restarted", db, app, but_not=crashed)
        runtime.stubborn.add("app")
        await self.reach("app is replaced", db, wish("app", n=2, command="new"))
        await rig.restart()
        await self.reach("all goes on", db, wish("app", n=2, command="new"))
        await self.reach("nothing is left")
        await self.overlap()
        assert runtime.doubles == 0
        await rig.stop()

    async def overlap(self) -> None:
        """A change beside what runs: one that cannot be started, one whose agent dies halfway, one that takes over."""
        await self.reach("the first version runs", web(1, "first"))
        first = self.runtime.instance_of("web")
        self.runtime.missing.add("wrong")
        self.rig.wishes.want(web(2, "wrong"))
        await eventually(
            lambda: self.passes("failed: cannot start"), "the second cannot be started"
        )
        assert self.runtime.instance_of("web") == first
        self.rig.wishes.want(web(3, "third"))
        await eventually(lambda: self.passes("has to run for"), "the third runs beside it")
        assert first in self.runtime.running
        await self.rig.restart()
        await self.reach("the third has taken over", web(3, "third"))
        await self.reach("nothing of it is left")

    def passes(self, words: str) -> bool:
        """A little time does, and what runs says these words."""
        self.clock.advance(0.01)  # a slow disk must not take a whole attempt's time
        row = self.rig.rows().get("web")
        return row is not None and words in row.message

    async def reach(self, what: str, *desired: Assignment, but_not: str = "") -> None:
        """Wants `desired` and waits, while time passes, until rows and runtime show exactly that."""
        self.rig.wishes.want(*desired)
        wanted = {(one.workload, one.spec.process.command[0]) for one in desired}

        def reached() -> bool:
            self.clock.advance(0.5)
            commands = {launch.instance: launch.command[0] for launch in self.runtime.launched}
            running = self.runtime.running
            rows = self.rig.rows()
            return (
                {(one.workload, commands[one.instance]) for one in running.values()} == wanted
                and {one.instance.id for one in rows.values() if one.instance} == set(running)
                and {name for name, row in rows.items() if row.phase == "running"} == set(rows)
                and len(rows) == len(wanted)
                and but_not not in running
                and not self.runtime.waiting
            )

        await eventually(reached, what)


def web(n: int, command: str) -> Assignment:
    return wish("web", n, command=command, update=Update(strategy="overlap", min_healthy=2))


async def fail_each(
    directory: Path, make: Callable[[int], tuple[WatchedRuntime, Disk, Callable[[], int]]]
) -> int:
    """Lives once for each operation, which fails; returns how many there were. Lives mostly wait, so several do it together."""

    async def live(n: int) -> bool:
        runtime, disk, operations = make(n)
        place = directory / str(n)
        place.mkdir()
        try:
            await Life(place, runtime, disk).live()
        except AssertionError as error:
            raise AssertionError(f"operation {n}: {error}") from error
        shutil.rmtree(place)
        return operations() >= n

    for first in count(1, TOGETHER):
        failed = await asyncio.gather(*map(live, range(first, first + TOGETHER)))
        if not all(failed):
            return first - 1 + failed.index(False)
    raise AssertionError


@pytest.mark.timeout(120)
@pytest.mark.parametrize("lose_reply", [False, True])
async def test_each_call_of_the_runtime_may_fail(memory_dir: Path, lose_reply: bool) -> None:
    def make(n: int) -> tuple[WatchedRuntime, Disk, Callable[[], int]]:
        runtime = WatchedRuntime(n, lose_reply=lose_reply)
        return runtime, RealDisk(), lambda: runtime.calls

    # 3 agents connect, 7 instances are asked for and acknowledged, 5 asked to end, of which 2 need SIGKILL.
    assert await fail_each(memory_dir, make) >= 24


@pytest.mark.timeout(120)
async def test_each_commit_and_each_point_beside_it_may_fail(memory_dir: Path) -> None:
    """Also right after a commit: then the agent does not know that it has committed."""

    def make(n: int) -> tuple[WatchedRuntime, Disk, Callable[[], int]]:
        disk = FaultyDisk(n)
        return WatchedRuntime(), disk, lambda: disk.operations

    assert await fail_each(memory_dir, make) > 40


async def test_a_slow_disk_does_not_take_the_grace_of_a_stop(tmp_path: Path) -> None:
    """The commit of a stop takes longer than `stop.grace`: the workload is asked to end all the same, and has its time."""
    clock, runtime = ManualClock(), WatchedRuntime()

    class SlowDisk(RealDisk):
        def point(self, label: str) -> None:
            if label.startswith("workload.stopping"):
                clock.advance(60)

    life = Life(tmp_path, runtime, SlowDisk())
    life.clock = life.rig.clock = clock
    await life.rig.start()
    runtime.stubborn.add("a")
    await life.reach("it runs", wish("a", stop=Stop(grace=20)))
    instance = runtime.instance_of("a")
    life.rig.wishes.want()
    await eventually(lambda: bool(runtime.signals), "it is asked to end")
    clock.advance(19)
    await life.rig.until("a", "stopping")
    assert runtime.signals == [(instance, "SIGTERM")]
    await life.reach("it is gone")
    assert runtime.signals == [(instance, "SIGTERM"), (instance, "SIGKILL")]
    await life.rig.stop()


async def test_a_full_disk_delays_a_restart_and_nothing_more(tmp_path: Path) -> None:
    disk = FaultyDisk()
    runtime = WatchedRuntime()
    life = Life(tmp_path, runtime, disk)
    await life.rig.start()
    await life.reach("both run", wish("a"), wish("b"))
    disk._fail_at, disk._persistent = disk.operations + 1, True
    crashed = runtime.instance_of("a")
    runtime.end(crashed, code=1)

    def has_tried() -> bool:
        life.clock.advance(0.5)
        return disk.labels["workload.starting.before-commit"] > 5

    await eventually(has_tried, "it tries again and again")
    assert runtime.instance_of("b") in runtime.running
    assert crashed in runtime.waiting, "nothing is acknowledged that is not written"
    disk.heal()
    await life.reach("both run", wish("a"), wish("b"), but_not=crashed)
    await life.rig.stop()
