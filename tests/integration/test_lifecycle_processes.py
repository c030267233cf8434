"""Workloads as real processes under a real keeper: nothing runs twice, nothing is lost from sight."""

import fcntl
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace
from tests.workload_cases import wish
from tests.workload_rig import Rig

from skerry.keeper.procfs import read_stat
from skerry.kit.disk import RealDisk
from skerry.kit.sqlite_connections import connect
from skerry.node.ports import Launch, Runtime
from skerry.node.workloads.runtimes.lazy_containers import LazyContainers
from skerry.node.workloads.runtimes.process import ProcessRuntime
from skerry.node.workloads.runtimes.router import Runtimes
from skerry.testing.container_device import ContainerDevice
from skerry.testing.no_secrets import no_secret_files
from skerry.testing.process_device import ProcessDevice
from skerry.testing.waiting import eventually
from skerry.wire.workload import Assignment, ProcessSpec, Ready, Restart, Stop

SLEEP = ProcessSpec(command=["sleep", "600"])


def sleeper(name: str, n: int = 1, **spec: object) -> Assignment:
    return wish(name, n, process=SLEEP, **spec)


def script(name: str, text: str, **spec: object) -> Assignment:
    return wish(name, process=ProcessSpec(command=["sh", "-c", text]), **spec)


class ProcessRig(Rig):
    """A rig on a `ProcessDevice`; every start of the agent gets a runtime of its own."""

    def __init__(self, device: ProcessDevice) -> None:
        super().__init__(device.directory, device.agent(), device.clock)
        self.device = device
        self.launch_for = self.real_launch
        self.beside: Callable[[ProcessRuntime], Runtime] = lambda processes: processes

    def real_launch(self, assignment: Assignment, instance: str) -> Launch:
        command = assignment.spec.process.command
        launch = self.device.launch(*command, workload=assignment.workload, instance=instance)
        return replace(launch, environment=launch.environment | assignment.spec.env)

    async def start(self) -> None:
        self.runtime = self.beside(self.device.agent())
        await super().start()

    async def pid(self, name: str) -> int:
        status = await self.until(name, "running")
        assert status.pid
        return status.pid

    async def new_pid(self, name: str, old: int) -> int:
        def is_new() -> bool:
            status = self.last(name)
            return status is not None and status.pid not in {old, None}

        await eventually(is_new, f"{name} has a new process")
        return await self.pid(name)

    def processes(self, name: str) -> set[int]:
        """Every living process that this device ever started for the workload."""
        launches = {one.instance for one in self.device._launched if one.workload == name}
        return {pid for instance in launches for pid in self.device.processes(instance)}


@pytest.fixture
async def rig(short_dir: Path) -> AsyncIterator[ProcessRig]:
    device = ProcessDevice(short_dir / "node")
    device.directory.mkdir()
    rig = ProcessRig(device)
    await rig.start()
    yield rig
    await rig.stop()
    await device.end()


@pytest.fixture
async def other(short_dir: Path) -> AsyncIterator[ProcessRig]:
    """A node at another place, which has no directory yet and is not started."""
    other = ProcessRig(ProcessDevice(short_dir / "other"))
    yield other
    if "task" in vars(other) and not other.task.done():
        await other.stop()
    await other.device.end()


async def test_a_killed_process_is_replaced(rig: ProcessRig) -> None:
    rig.wishes.want(sleeper("a"))
    first = await rig.pid("a")
    os.kill(first, signal.SIGKILL)
    second = await rig.new_pid("a", first)
    assert rig.processes("a") == {second}
    status = rig.reported.last["a"]
    assert (str(status.exit), status.restarts) == ("signal 9", 1)


@pytest.mark.guarantee("G4")
async def test_an_engine_that_hangs_holds_up_no_process(rig: ProcessRig, short_dir: Path) -> None:
    """It takes connections and never answers."""
    rig.wishes.want(sleeper("a"))
    first = await rig.pid("a")
    await rig.stop()
    device = ContainerDevice(short_dir, short_dir / "engine.sock", "none")
    patience = (600.0, 600.0)
    opened: list[LazyContainers] = []

    def both(processes: ProcessRuntime) -> Runtimes:
        engine = SimpleNamespace(runtime=device.agent(patience))
        opened.append(LazyContainers(lambda _: engine, known=True))  # type: ignore[arg-type,return-value]
        return Runtimes(processes, opened[-1], short_dir, no_secret_files())

    rig.beside = both
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(device.socket))
        mute.listen()
        await rig.start()
        await eventually(lambda: rig.runtime.keeper_pid is not None, "the keeper answers")  # type: ignore[attr-defined]
        assert [one.workload for one in rig.supervisor.statuses()] == ["a"]
        await rig.stop()
        patience = (0.05, 0.05)
        await rig.start()
        os.kill(first, signal.SIGKILL)
        await rig.new_pid("a", first)
        words = f"{device.socket}: it hangs"
        await eventually(lambda: words in opened[-1].problem, "what hangs is named")


async def test_twenty_start_and_end_together(rig: ProcessRig) -> None:
    names = [f"w{n}" for n in range(20)]
    rig.wishes.want(*map(sleeper, names))
    for name in names:
        await rig.until(name, "running")
    rig.wishes.stopping = True
    rig.wishes.changed.ring()
    await rig.supervisor.all_ended()
    assert not any(rig.processes(name) for name in names)
    await rig.runtime.shut_down()
    assert rig.device.keeper_pids() == []


async def test_a_stop_ends_the_whole_group(rig: ProcessRig) -> None:
    stubborn = "trap '' TERM; sleep 600 & sleep 600 & echo up > up; wait; wait"
    rig.wishes.want(script("a", stubborn, stop=Stop(grace=0.2)))
    await rig.pid("a")
    await eventually(lambda: len(rig.processes("a")) == 3, "the script has its children")
    rig.wishes.want()
    await eventually(lambda: rig.reported.forgotten == ["a"], "a is gone")
    assert rig.processes("a") == set()


async def test_daemons_neither_pile_up_over_restarts_nor_survive_the_workload(
    rig: ProcessRig,
) -> None:
    """Each run counts the daemons of the runs before it: none may live when a successor starts."""
    daemon = "(env -i setsid sh -c 'echo $$ >> daemons; exec sleep 600' &)"
    count = (
        "for pid in $(cat daemons); do kill -0 $pid && echo $pid >> survivors; done 2> /dev/null"
    )
    settle = "while test $(wc -l < daemons) -lt $(wc -l < runs); do sleep 0.01; done"
    text = f"touch daemons; {count}; echo run >> runs; {daemon}; {settle}; test $(wc -l < runs) -gt 4 && sleep 600"
    rig.wishes.want(script("a", text, restart=Restart(delay=0.01, max_delay=0.01)))
    runs, pids = rig.directory / "runs", rig.directory / "daemons"

    def started(file: Path) -> int:
        return len(file.read_text().split()) if file.exists() else 0

    await eventually(lambda: started(runs) == started(pids) == 5, "it has been restarted")
    assert not (rig.directory / "survivors").exists()
    last = int(pids.read_text().split()[-1])
    os.kill(last, 0)
    rig.wishes.want()
    await eventually(lambda: rig.reported.forgotten == ["a"], "a is gone")
    stat = read_stat(last)
    assert stat is None or not stat.lives


async def test_a_job_and_what_waits_for_it(rig: ProcessRig) -> None:
    job = script("job", "echo done > result", restart=Restart(policy="on-failure"))
    check = Ready(exec=["test", "-f", "result"], interval=0.01)
    app = script("app", "test -f result && sleep 600", depends_on={"job": "succeeded"}, ready=check)
    rig.wishes.want(app, job)
    await rig.until("app", "running")
    await eventually(lambda: rig.reported.last["app"].ready, "its probe agrees")
    assert rig.phases() == {"app": "running", "job": "succeeded"}


async def test_a_missing_command_is_named(rig: ProcessRig) -> None:
    command = ProcessSpec(command=["no-such-command"])
    rig.wishes.want(wish("a", process=command, restart=Restart(policy="never")))
    status = await rig.until("a", "failed")
    assert "no-such-command" in status.message


@pytest.mark.guarantee("G8")
async def test_a_new_agent_finds_the_same_processes(rig: ProcessRig) -> None:
    rig.wishes.want(sleeper("a"), sleeper("b"), script("c", "read line < fifo; exit 5"))
    os.mkfifo(rig.directory / "fifo")
    before = {name: await rig.pid(name) for name in "abc"}
    await rig.stop()
    (rig.directory / "fifo").write_text("end\n")
    await rig.start()
    assert await rig.pid("a") == before["a"]
    assert await rig.pid("b") == before["b"]
    await rig.new_pid("c", before["c"])
    assert str(rig.reported.last["c"].exit) == "code 5"


@pytest.mark.guarantee("G8")
@pytest.mark.parametrize("agent_too", [False, True])
async def test_workloads_outlive_the_keeper_and_stay_supervised(
    rig: ProcessRig, agent_too: bool
) -> None:
    names = ["a", "b", "c"]
    rig.wishes.want(*map(sleeper, names))
    before = {name: await rig.pid(name) for name in names}
    if agent_too:
        await rig.stop()
    rig.device.kill_keeper()
    if agent_too:
        await rig.start()
    for name in names:
        assert await rig.pid(name) == before[name]
    os.kill(before["b"], signal.SIGKILL)
    after = await rig.new_pid("b", before["b"])
    assert str(rig.reported.last["b"].exit) == "unknown"
    assert rig.processes("b") == {after}
    assert rig.processes("a") == {before["a"]}


class AmnesicDisk(RealDisk):
    """The agent never gets further than to a made process: whatever would follow fails."""

    def point(self, label: str) -> None:
        if label == "workload.spawned":
            raise OSError(label)


@pytest.mark.parametrize("keeper_too", [False, True])
async def test_a_process_whose_pid_was_never_written_is_found_again(
    rig: ProcessRig, keeper_too: bool
) -> None:
    """The agent dies after the fork and before the commit; with `keeper_too` nobody knows the child by pid."""
    await rig.stop()
    rig.disk = AmnesicDisk()
    await rig.start()
    rig.wishes.want(sleeper("a"))
    await eventually(lambda: bool(rig.processes("a")), "the process is made")
    (made,) = rig.processes("a")
    await rig.stop()
    assert rig_row(rig) == ("starting", None)
    if keeper_too:
        rig.device.kill_keeper()
    rig.disk = RealDisk()
    await rig.start()
    assert await rig.pid("a") == made
    assert rig.processes("a") == {made}


def rig_row(rig: ProcessRig) -> tuple[str, int | None]:
    """Phase and pid of workload «a» as the dead agent left them."""
    reader = connect(rig.directory / "node.db", read_only=True)
    sql = "SELECT phase, pid FROM workload JOIN instance ON workload = name WHERE ended_at IS NULL"
    found = reader.execute(sql).fetchone()
    reader.close()
    return found["phase"], found["pid"]


async def test_a_lost_store_ends_what_it_does_not_know_and_starts_anew(rig: ProcessRig) -> None:
    rig.wishes.want(sleeper("a"))
    first = await rig.pid("a")
    await rig.stop()
    for file in rig.directory.glob("node.db*"):
        file.unlink()
    await rig.start()
    second = await rig.pid("a")
    assert rig.processes("a") == {second}
    assert second != first


# Directories vanish and move while no agent runs.


@pytest.mark.parametrize("gone", ["run", "run/keeper.sock", "run renamed"])
@pytest.mark.guarantee("G8")
async def test_a_keeper_that_has_lost_its_socket_is_called_back(rig: ProcessRig, gone: str) -> None:
    rig.wishes.want(sleeper("a"), script("b", "read line < fifo; exit 5"))
    os.mkfifo(rig.directory / "fifo")
    before = {name: await rig.pid(name) for name in "ab"}
    keeper = rig.device.keeper_pid()
    await rig.stop()
    (rig.directory / "fifo").write_text("end\n")
    if gone == "run renamed":
        (rig.directory / "run").rename(rig.directory / "old")
    elif gone == "run":
        shutil.rmtree(rig.directory / "run")
    else:
        (rig.directory / gone).unlink()
    await rig.start()
    assert await rig.pid("a") == before["a"]
    await rig.new_pid("b", before["b"])
    assert str(rig.reported.last["b"].exit) == "code 5"
    assert rig.device.keeper_pids() == [keeper]
    lock_file = rig.directory / "run" / "keeper.sock.lock"
    with lock_file.open("r+") as lock, pytest.raises(BlockingIOError):
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    await rig.restart()
    assert await rig.pid("a") == before["a"]
    assert rig.device.keeper_pids() == [keeper]


async def test_a_new_data_directory_in_place_of_the_old_one_has_no_strays(rig: ProcessRig) -> None:
    rig.wishes.want(sleeper("a"))
    first = await rig.pid("a")
    keeper = rig.device.keeper_pid()
    await rig.stop()
    shutil.rmtree(rig.directory)
    rig.directory.mkdir()
    await rig.start()
    second = await rig.pid("a")
    assert rig.processes("a") == {second}
    assert second != first
    assert rig.device.keeper_pids() == [keeper]


@pytest.mark.parametrize("way", ["renamed", "copied to another disk"])
async def test_a_moved_data_directory_takes_its_workloads_along(
    rig: ProcessRig, other: ProcessRig, way: str
) -> None:
    """They are started anew: their sockets, directories and logs are at the new place."""
    rig.wishes.want(
        sleeper("a"), script("b", "trap 'echo bye >> bye; exit' TERM; while :; do sleep 0.01; done")
    )
    before = {name: await rig.pid(name) for name in "ab"}
    await rig.stop()
    move(rig.directory, other.directory, way)
    other.wishes.want(*rig.wishes.wanted.values())
    await other.start()
    after = {name: await other.new_pid(name, pid) for name, pid in before.items()}
    await eventually(lambda: not rig.processes("a") | rig.processes("b"), "the old ones have ended")
    assert other.processes("a") == {after["a"]}
    assert (other.directory / "bye").exists() is (way == "renamed")
    keepers = {*rig.device.keeper_pids(), *other.device.keeper_pids()}
    assert len(keepers) == 1
    shutil.rmtree(other.directory / "run")
    await other.restart()
    assert {name: await other.pid(name) for name in "ab"} == after
    assert {*rig.device.keeper_pids(), *other.device.keeper_pids()} == keepers


async def test_a_copied_data_directory_leaves_the_original_alone(
    rig: ProcessRig, other: ProcessRig
) -> None:
    rig.wishes.want(sleeper("a"))
    original = await rig.pid("a")
    keeper = rig.device.keeper_pid()
    await rig.stop()
    copied(rig.directory, other.directory)
    other.wishes.want(sleeper("a"))
    await other.start()
    assert await other.new_pid("a", original) != original
    await other.stop()
    await rig.start()
    assert await rig.pid("a") == original
    assert rig.device.keeper_pids() == [keeper]


def move(old: Path, new: Path, way: str) -> None:
    if way == "renamed":
        old.rename(new)
    else:
        copied(old, new)
        shutil.rmtree(old)


def copied(old: Path, new: Path) -> None:
    """The files; sockets and pipes do not survive a copy."""

    def special(directory: str, names: list[str]) -> list[str]:
        paths = [Path(directory, name) for name in names]
        return [path.name for path in paths if not (path.is_file() or path.is_dir())]

    shutil.copytree(old, new, ignore=special)
