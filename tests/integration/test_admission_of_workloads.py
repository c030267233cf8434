"""Workloads wait for memory with a reason, start when there is room, and nobody who runs is ended for it."""

from tests.workload_cases import wish
from tests.workload_rig import Rig

from skerry.testing.fake_runtime import FakeRuntime
from skerry.testing.waiting import eventually
from skerry.wire.workload import Assignment, Exit, Resources, Restart

MB = 1_000_000


def needing(name: str, memory: int, n: int = 1, policy: str = "always") -> Assignment:
    return wish(name, n, resources=Resources(memory=memory * MB), restart=Restart(policy=policy))  # type: ignore[arg-type]


async def limited(rig: Rig) -> None:
    rig.memory_limit = 512 * MB
    await rig.restart()


async def waits(rig: Rig, name: str, words: str) -> None:
    def told() -> bool:
        status = rig.last(name)
        return status is not None and words in status.message

    await eventually(told, f"{name} says «{words}»; {rig.last(name)}")


async def test_it_waits_with_a_reason_and_starts_when_there_is_room(rig: Rig) -> None:
    await limited(rig)
    rig.wishes.want(needing("cam", 200), needing("sensors", 192))
    await rig.until("cam", "running")
    await rig.until("sensors", "running")
    rig.wishes.want(needing("cam", 200), needing("sensors", 192), needing("new", 100))
    await rig.until("new", "pending")
    await waits(rig, "new", "waits for memory: needs 100 MB, 70 MB of 512 MB are free")
    await waits(rig, "new", "(cam 200 MB, sensors 192 MB, the node itself 50 MB)")
    rig.wishes.want(needing("cam", 200), needing("new", 100))
    await rig.until("new", "running")
    await rig.until("cam", "running")


async def test_who_comes_first_by_name_after_a_reboot_gets_the_room(
    rig: Rig, runtime: FakeRuntime
) -> None:
    await limited(rig)
    rig.wishes.want(*(needing(name, 200) for name in "dcba"))
    await rig.until("b", "running")
    assert [launch.workload for launch in runtime.launched] == ["a", "b"]
    await rig.until("c", "pending")
    runtime.end(runtime.instance_of("a"), code=1)  # a failure gives nobody else its place
    await eventually(lambda: len(runtime.launched) == 3, "a is back")
    assert runtime.launched[-1].workload == "a"


async def test_what_has_finished_makes_room(rig: Rig, runtime: FakeRuntime) -> None:
    await limited(rig)
    rig.wishes.want(needing("job", 300, policy="never"), needing("next", 300))
    await rig.until("job", "running")
    await waits(rig, "next", "waits for memory")
    runtime.end(runtime.instance_of("job"), code=0)
    await rig.until("next", "running")


async def test_a_change_without_room_leaves_what_runs(rig: Rig, runtime: FakeRuntime) -> None:
    await limited(rig)
    rig.wishes.want(needing("a", 200), needing("b", 200))
    await rig.until("a", "running")
    await rig.until("b", "running")
    rig.wishes.want(needing("a", 300, n=2), needing("b", 200))
    await waits(rig, "a", "goes on as before: waits for memory: needs 300 MB, 262 MB of 512 MB")
    assert len(runtime.launched) == 2
    rig.wishes.want(needing("a", 262, n=3), needing("b", 200))
    await eventually(lambda: len(runtime.launched) == 3, "the new one is started")
    rig.wishes.want(needing("a", 500, n=4), needing("b", 200))
    await waits(rig, "a", "goes on as before: cannot start: needs 500 MB")
    rig.wishes.want(needing("a", 100, n=5), needing("b", 200), needing("c", 162))
    await rig.until("c", "running")
    assert runtime.signals.count((runtime.instance_of("b"), "SIGTERM")) == 0


async def test_one_that_fails_for_good_leaves_its_room(rig: Rig, runtime: FakeRuntime) -> None:
    await limited(rig)
    runtime.scripts["bad"].extend(Exit(1) for _ in range(3))
    bad = wish("bad", resources=Resources(memory=300 * MB), restart=Restart(attempts=1))
    rig.wishes.want(bad, needing("other", 300))
    await rig.until("other", "running")
    await rig.until("bad", "tripped")


async def test_a_new_agent_knows_what_runs(rig: Rig, runtime: FakeRuntime) -> None:
    await limited(rig)
    rig.wishes.want(needing("b", 400), needing("a", 100))
    await rig.until("a", "running")
    await waits(rig, "b", "waits for memory")
    await rig.restart()
    await waits(rig, "b", "waits for memory: needs 400 MB, 362 MB of 512 MB are free (a 100 MB")
    assert len(runtime.launched) == 1
