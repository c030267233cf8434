"""Restarts by an engine at the supervisor: counted in the store and the status, told to those who listen."""

import contextlib
import sqlite3

import pytest
from tests.workload_cases import wish
from tests.workload_rig import Rig

from skerry.node.ports import EngineRestart, Restarted
from skerry.testing.fake_runtime import FakeRuntime
from skerry.testing.waiting import eventually
from skerry.wire.workload import Exit, Restart, WorkerSpec

CRASH = Exit(code=3, at=5)


@pytest.fixture
async def heard(rig: Rig) -> list[Restarted]:
    found: list[Restarted] = []
    rig.supervisor.on_restart(found.append)
    rig.wishes.want(wish("a"))
    await rig.until("a", "running")
    return found


async def counted(rig: Rig, count: int, *, ready: bool = True) -> None:
    def told() -> bool:
        status = rig.last("a")
        return status is not None and (status.restarts, status.ready) == (count, ready)

    await eventually(told, f"{count} restarts are told; {rig.last('a')}")


async def test_the_same_instance_goes_on(
    rig: Rig, runtime: FakeRuntime, heard: list[Restarted]
) -> None:
    instance = runtime.instance_of("a")
    runtime.start_again(instance, CRASH)
    await counted(rig, 1)
    row = rig.rows()["a"]
    assert row.instance is not None
    assert row.instance.id == instance
    assert row.instance.identity == runtime.running[instance].identity
    assert heard == [Restarted("a", instance, 1, 1, CRASH)]
    assert len(runtime.launched) == 1


async def test_it_is_told_as_it_ends_and_counted_once(
    rig: Rig, runtime: FakeRuntime, heard: list[Restarted]
) -> None:
    instance = runtime.instance_of("a")
    runtime.start_again(instance, CRASH, is_up=False)
    await counted(rig, 1, ready=False)
    status = rig.last("a")
    assert status is not None
    assert status.message == "ended: code 3; its engine starts it again"
    assert len(heard) == 1
    runtime.start_again(instance)
    await counted(rig, 1)
    assert len(heard) == 1


async def test_what_happened_without_an_agent_is_counted_by_the_next(
    rig: Rig, runtime: FakeRuntime, heard: list[Restarted]
) -> None:
    instance = runtime.instance_of("a")
    runtime.start_again(instance, CRASH)
    await counted(rig, 1)
    await rig.stop()
    runtime.start_again(instance, CRASH, CRASH, CRASH)
    await rig.start()
    rig.supervisor.on_restart(heard.append)
    await counted(rig, 4)
    assert [(one.count, one.more) for one in heard] == [(1, 1), (4, 3)]
    await rig.restart()
    await rig.until("a", "running")
    await counted(rig, 4)
    assert len(runtime.launched) == 1


async def test_the_nodes_own_restarts_are_told_alike(
    rig: Rig, runtime: FakeRuntime, heard: list[Restarted]
) -> None:
    first = runtime.instance_of("a")
    runtime.end(first, code=1)
    await counted(rig, 1)
    second = runtime.instance_of("a")
    runtime.start_again(second, CRASH)
    await counted(rig, 2)
    assert [(one.instance, one.count, one.more, one.exit.code) for one in heard] == [
        (first, 1, 1, 1),
        (second, 2, 1, 3),
    ]


async def test_what_was_asked_for_is_told_to_nobody(
    rig: Rig, runtime: FakeRuntime, heard: list[Restarted]
) -> None:
    rig.wishes.want(wish("a", n=2, command="other"))
    await eventually(lambda: len(runtime.launched) == 2, "the new one runs")
    rig.wishes.want()
    await eventually(lambda: "a" in rig.reported.forgotten, "it is gone")
    assert heard == []


async def test_a_workers_history_has_them(
    rig: Rig, runtime: FakeRuntime, heard: list[Restarted]
) -> None:
    rig.wishes.want(wish("w", worker=WorkerSpec(scripts="/w"), restart=Restart()))
    await rig.until("w", "running")
    runtime.start_again(runtime.instance_of("w"), CRASH)

    def noted() -> bool:
        status = rig.last("w")
        return status is not None and status.restarts == 1

    await eventually(noted, "it is counted")
    assert [one.workload for one in heard] == ["w"]
    with contextlib.closing(sqlite3.connect(rig.directory / "node.db")) as database:
        assert database.execute("SELECT workload, cause FROM worker_restart").fetchall() == [
            ("w", "crash")
        ]


async def test_one_that_was_written_off_and_runs_is_let_go(
    rig: Rig, runtime: FakeRuntime, heard: list[Restarted]
) -> None:
    rig.supervisor._board.hear(EngineRestart("lost", 1, CRASH, None))
    await eventually(lambda: runtime.names["acknowledge"] == 1, "its container is removed")
    assert heard == []
