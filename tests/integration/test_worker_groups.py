"""Worker groups on a real store and real directories, with a runtime in memory and time in the test's hand."""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
from tests.workload_cases import wish
from tests.workload_rig import Rig
from tests.workshop import Workshop

from skerry.kit.errors import NotFound
from skerry.node.store.workers import KEPT_RESTARTS, PastRestart, WorkerRow
from skerry.node.workloads.workers import groups as groups_module
from skerry.testing.fake_runtime import FakeRuntime
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.workload import Exit, LocalIntent, Restart


@pytest.fixture
async def shop(
    tmp_path: Path, runtime: FakeRuntime, manual_clock: ManualClock
) -> AsyncIterator[Workshop]:
    rig = Rig(tmp_path, runtime, manual_clock)
    shop = Workshop(rig, runtime, manual_clock)
    rig.launch_for = lambda assignment, instance: rig.plain_launch(
        wish(assignment.workload), instance
    )
    await rig.start()
    yield shop
    await shop.end()
    await rig.stop()


async def test_two_changes_are_ten_seconds_apart_and_what_came_between_is_one(
    shop: Workshop,
) -> None:
    shop.write("1")
    shop.want()
    await shop.starts(1)
    shop.clock.advance(1)
    shop.write("2")
    await shop.starts(2)
    for text in "345":
        shop.clock.advance(1)
        shop.write(text)
        await shop.looks_again()
    shop.write("new", "y.py")
    await shop.waits("at least 10s between automatic restarts")
    await shop.message("changed: x.py, y.py; waits: at least 10s between automatic restarts")
    assert len(shop.runtime.launched) == 2
    shop.clock.advance(7.1)
    await shop.starts(3)
    assert shop.history() == [("reload", "x.py, y.py"), ("reload", "x.py")]
    await eventually(lambda: shop.status().change is None, "nothing waits")
    await shop.message("")


async def test_a_change_that_is_taken_back_restarts_nothing(shop: Workshop) -> None:
    shop.write("1")
    shop.want()
    await shop.starts(1)
    shop.write("2")
    await shop.starts(2)
    shop.write("3")
    await shop.waits("at least")
    shop.write("2")
    await eventually(lambda: shop.status().change is None, "nothing waits")
    shop.clock.advance(60)
    await shop.looks_again()
    assert len(shop.runtime.launched) == 2


async def test_too_many_restarts_suspend_reloads_until_the_window_clears(shop: Workshop) -> None:
    shop.runtime.scripts["a"].extend([Exit(code=1)] * 6)
    shop.write("1")
    shop.want(restart=Restart(delay=1.0, max_delay=1.0, attempts=1000))

    def seventh() -> bool:
        shop.clock.advance(0.5)
        return len(shop.runtime.launched) == 7 and shop.rig.phases() == {"a": "running"}

    await eventually(seventh, "the seventh start lives")
    assert shop.history() == [("crash", "ended: code 1")] * 6
    shop.clock.advance(30)
    shop.write("2")
    await shop.waits("more than 5 automatic restarts within 5m")
    assert shop.status().suspended_until is not None
    await shop.restart_agent()
    await shop.waits("more than 5 automatic restarts within 5m")
    await shop.groups.order("a", "restart", "ann")
    await shop.starts(8)
    assert shop.history()[0] == ("manual", "«skerry worker restart» by ann")
    shop.clock.advance(1)
    shop.write("3")
    await shop.waits("more than 5 automatic restarts within 5m")
    shop.clock.jump_wall(-86400)
    shop.clock.advance(300)

    def ninth() -> bool:
        shop.clock.advance(1)  # the change may be looked at only after the jump
        return len(shop.runtime.launched) == 9

    await eventually(ninth, "the window is over")
    assert shop.history()[0] == ("reload", "x.py")
    assert shop.status().automatic == 1


async def test_a_crash_that_has_read_the_change_already_makes_it_done(shop: Workshop) -> None:
    shop.write("1")
    shop.want()
    await shop.starts(1)
    shop.write("2")
    await shop.starts(2)
    shop.write("3")
    await shop.waits("at least")
    shop.clock.advance(1)
    shop.runtime.end(shop.runtime.instance_of("a"), 1)
    await shop.starts(3)
    await eventually(lambda: shop.status().change is None, "nothing waits")
    shop.clock.advance(60)
    await shop.looks_again()
    assert len(shop.runtime.launched) == 3
    assert [cause for cause, _ in shop.history()] == ["crash", "reload"]


async def test_a_change_while_no_agent_lived_is_applied_by_the_next(shop: Workshop) -> None:
    shop.write("1")
    shop.want()
    await shop.starts(1)
    await shop.restart_agent()
    await shop.looks_again()
    assert len(shop.runtime.launched) == 1
    await shop.end()
    await shop.rig.stop()
    shop.write("2")
    await shop.rig.start()
    await shop.starts(2)


async def test_a_directory_that_goes_and_comes(shop: Workshop) -> None:
    shop.want()
    await shop.message(f"waits for directory {shop.directory}: it is not there")
    shop.write("1")
    await shop.starts(1)
    shutil.rmtree(shop.directory)
    await shop.message(f"waits for directory {shop.directory}: it is not there")
    assert shop.rig.phases() == {"a": "running"}
    shop.write("2")
    await shop.starts(2)
    fresh = shop.directory.with_name("fresh")
    fresh.mkdir()
    (fresh / "x.py").write_text("3")
    shop.clock.advance(20)
    await shop.looks_again()
    shop.directory.rename(shop.directory.with_name("old"))
    fresh.rename(shop.directory)
    await shop.starts(3)
    shop.clock.advance(10)
    await shop.looks_again()
    shop.write("4")
    await shop.starts(4)


async def test_a_reload_waits_for_its_models_while_the_old_worker_goes_on(shop: Workshop) -> None:
    shop.write("model:cat")
    shop.want()
    await shop.message("fetches cat")
    [amended] = await shop.rig.wishes.assignments()
    assert shop.groups.missing(amended) == ""
    early = msgspec.structs.replace(amended, local=LocalIntent())
    assert shop.groups.missing(early) == "its scripts are being read"
    shop.shelf.there.add("cat")
    shop.shelf.changed.ring()
    await shop.starts(1)
    shop.write("model:dog")
    await shop.message("goes on as before: fetches dog")
    shop.write("model:bird")
    await shop.message("goes on as before: fetches bird")
    assert shop.rig.phases() == {"a": "running"}
    assert len(shop.runtime.launched) == 1
    shop.shelf.there.add("bird")
    shop.shelf.changed.ring()
    await shop.starts(2)
    assert shop.history() == [("reload", "x.py")]


async def test_a_start_by_hand_asks_for_a_newer_image_where_the_device_does_and_a_change_does_not(
    shop: Workshop,
) -> None:
    shop.write("1")
    shop.want()
    await shop.starts(1)
    [of_hub] = await shop.rig.wishes.assignments()
    of_device = msgspec.structs.replace(of_hub, local=LocalIntent(refreshes=1, waits="for all"))

    def asked() -> list[int | None]:
        amended = [shop.groups.amended(one) for one in (of_device, of_hub)]
        assert amended[0].local.waits == "for all"
        assert [shop.groups.missing(one) for one in amended] == ["", ""]
        return [one.local.refreshes for one in amended]

    assert asked() == [1, None]
    shop.write("2")
    await shop.starts(2)
    assert asked() == [1, None]
    await shop.groups.order("a", "restart", "ada")
    await shop.starts(3)
    assert asked() == [2, None]


async def test_another_directory_is_a_change_of_the_spec_and_no_reload(shop: Workshop) -> None:
    shop.write("1")
    shop.want()
    await shop.starts(1)
    other = shop.directory.with_name("other")
    other.mkdir()
    (other / "y.py").write_text("2")
    shop.want(2, scripts=other)
    await shop.starts(2)
    await eventually(lambda: shop.status().scripts == ["y.py"], "it has read the other")
    await shop.looks_again()
    assert shop.history() == [("change", "its spec or models have changed")]
    assert len(shop.runtime.launched) == 2


async def test_orders_of_a_person(shop: Workshop) -> None:
    shop.write("1")
    shop.want()
    await shop.starts(1)
    await shop.groups.order("a", "start", "ann")
    assert shop.history() == []
    await shop.groups.order("a", "stop", "ann")
    await eventually(lambda: shop.rig.phases() == {"a": "stopped"}, "it is down")
    shop.write("2")
    await shop.looks_again()
    await shop.restart_agent()
    await shop.message("stopped by hand: «skerry worker start a» starts it")
    assert (shop.status().stopped_by, len(shop.runtime.launched)) == ("ann", 1)
    await shop.groups.order("a", "start", "bob")
    await shop.starts(2)
    assert shop.history() == [("manual", "«skerry worker start» by bob")]
    with pytest.raises(NotFound, match="cannot stop «b»: this node has no such worker group"):
        await shop.groups.order("b", "stop", "ann")
    shop.rig.wishes.want()
    await eventually(lambda: shop.rig.phases() == {}, "it is gone")
    assert (shop.store.row("a"), shop.history()) == (None, [])


async def test_where_nothing_can_be_watched_it_looks(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no watch is left")

    monkeypatch.setattr("ctypes.CDLL", full)
    shop.write("1")
    shop.want()
    await shop.starts(1)
    await eventually(lambda: "every 2s" in shop.status().watched, "it says so")
    assert "no watch is left" in shop.status().watched
    shop.write("2")
    await eventually(_advancing(shop.clock, lambda: len(shop.runtime.launched) == 2), "reloaded")


def _advancing(clock: ManualClock, condition: Callable[[], bool]) -> Callable[[], bool]:
    def check() -> bool:
        clock.advance(groups_module.LOOK_EVERY_BLIND / 10)
        return condition()

    return check


async def test_the_history_is_bounded(shop: Workshop) -> None:
    shop.want()
    for n in range(KEPT_RESTARTS + 5):
        past = PastRestart(n, "boot-1", n, "manual", f"number {n}")
        await shop.store.put(WorkerRow("a"), past, label="worker.restart", durable=False)
        await shop.store.put(WorkerRow("b"), past, label="worker.restart", durable=False)
    found = shop.store.past("a")
    assert [one.at for one in found] == list(range(KEPT_RESTARTS + 4, 4, -1))
    assert msgspec.structs.asdict(found[0])["detail"] == f"number {KEPT_RESTARTS + 4}"
