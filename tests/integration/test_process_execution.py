"""Commands beside native processes, by a real keeper: confined as the workload, and never longer than whoever asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.execution_rig import executing

from skerry.keeper import protocol
from skerry.keeper.procfs import all_pids
from skerry.kit.errors import Refused, Transient
from skerry.node.execution_port import NoProgram
from skerry.node.ports import ProcessLaunch
from skerry.node.workloads.runtimes.keeper_client import open_socket
from skerry.node.workloads.runtimes.process import ProcessRuntime
from skerry.testing.exits import Exits
from skerry.testing.process_device import ProcessDevice
from skerry.testing.waiting import eventually
from skerry.testing.wasm_device import WasmDevice
from skerry.wire.executions import Ending, Size, Wish
from skerry.wire.workload import Resources

pytestmark = pytest.mark.guarantee("G9")

TELLS = r"""
import os
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines())
print(os.getuid(), os.getgid(), os.getgroups(), status["NoNewPrivs"], status["Seccomp"], status["CapEff"], status["CapBnd"])
print([os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "ipc", "net")])
print(open("/proc/self/cgroup").read().split())
print(sorted((k, v) for k, v in os.environ.items() if k not in ("PWD", "SHLVL", "_")), os.getcwd())
limits = open("/proc/self/limits").read().splitlines()
print([line.split() for line in limits if "file locks" not in line])
def fault(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return error.errno
print(fault("/etc/hostname"), fault("/usr/x"), os.path.exists("/root"), sorted(os.listdir("/")))
"""
HEARS_CTRL_C = 'trap "exit 9" INT; echo $((4 * 5)); while :; do sleep 0.1; done'
"""A shell that is about to start a program may lose the signal; this one does not."""

TELLS_AND_STAYS = f"{TELLS}\nimport sys, time; sys.stdout.flush(); time.sleep(1000)"


@pytest.fixture
async def device(short_dir: Path) -> AsyncIterator[ProcessDevice]:
    processes = ProcessDevice(short_dir)
    yield processes
    await processes.end()


@pytest.fixture
async def runtime(device: ProcessDevice) -> ProcessRuntime:
    agent = device.agent()
    await agent.connect(Exits())
    return agent


async def waiting(
    device: ProcessDevice, runtime: ProcessRuntime, *, strict: bool = False
) -> ProcessLaunch:
    launch = device.launch("sleep", "1000", strict=strict)
    await runtime.start(launch)
    return launch


def wish(*command: str, stdin: bool = False, tty: bool = False, size: Size | None = None) -> Wish:
    return Wish(list(command), stdin, tty, size or Size(), "xterm")


@pytest.mark.parametrize("strict", [False, True])
async def test_a_command_has_what_the_workload_has_and_nothing_more(
    device: ProcessDevice, runtime: ProcessRuntime, strict: bool
) -> None:
    launch = device.launch(
        "/usr/bin/python3", "-c", TELLS_AND_STAYS, strict=strict,
        variables={"COLOUR": "red"}, limits={"RLIMIT_NOFILE": 77}, resources=Resources(memory=200 << 20, pids=50),
    )  # fmt: skip
    await runtime.start(launch)
    await eventually(lambda: len(device.printed()) == 6, "the workload has told")
    async with executing(runtime.execute_in(launch, wish("/usr/bin/python3", "-c", TELLS))) as told:
        assert await told.end() == Ending(0)
    assert told.err == ""
    assert told.out.splitlines() == device.printed()


async def test_streams_are_apart_and_the_exit_code_is_the_commands(
    device: ProcessDevice, runtime: ProcessRuntime
) -> None:
    launch = await waiting(device, runtime)
    script = "cat; echo out; echo err >&2; exit 7"
    async with executing(runtime.execute_in(launch, wish("sh", "-c", script, stdin=True))) as told:
        await told.execution.input(b"in\n")
        await told.execution.end_input()
        assert await told.end() == Ending(7)
    assert (told.out, told.err) == ("in\nout\n", "err\n")
    async with executing(runtime.execute_in(launch, wish("cat"))) as told:
        assert await told.end() == Ending(0)
    async with executing(runtime.execute_in(launch, wish("sh", "-c", "kill -9 $$"))) as told:
        assert await told.end() == Ending(None, 9)


async def test_much_output_comes_whole_and_waits_for_who_reads_it(
    device: ProcessDevice, runtime: ProcessRuntime
) -> None:
    launch = await waiting(device, runtime)
    read, size = asyncio.Event(), 0

    async def take(data: bytes, _stream: int) -> None:
        nonlocal size
        await read.wait()
        size += len(data)

    much = 20_000_000
    execution = await runtime.execute_in(launch, wish("head", "-c", str(much), "/dev/zero"))
    taking = asyncio.ensure_future(execution.output(take))
    await asyncio.wait([taking], timeout=0.2)
    (pid,) = [
        pid for pid in device.processes(launch.instance) if b"head" in Path(f"/proc/{pid}/comm").read_bytes()
    ]  # fmt: skip
    assert "pipe" in Path(f"/proc/{pid}/wchan").read_text() or not taking.done()
    read.set()
    await taking
    assert await execution.ended() == Ending(0)
    assert size == much
    await execution.close()


async def test_a_terminal_has_its_size_job_control_and_ctrl_c(
    device: ProcessDevice, runtime: ProcessRuntime
) -> None:
    launch = await waiting(device, runtime)
    script = "trap 'stty size' WINCH; stty size; tty; echo $TERM; while read line; do echo got $line; done; echo over"
    terminal = wish("bash", "-c", script, stdin=True, tty=True, size=Size(24, 80))
    async with executing(runtime.execute_in(launch, terminal)) as told:
        await told.until("24 80\r\n/dev/pts")
        await told.until("xterm\r\n")
        await told.execution.resize(Size(50, 132))
        await told.execution.input(b"x\n")
        await told.until("50 132")
        await told.until("got x")
        await told.execution.input(b"\x04")
        assert await told.end() == Ending(0)
    async with executing(
        runtime.execute_in(launch, wish("sh", "-c", HEARS_CTRL_C, stdin=True, tty=True))
    ) as told:
        await told.until("20")
        await told.execution.input(b"\x03")
        assert await told.end() == Ending(9)


@pytest.mark.parametrize("strict", [False, True])
async def test_a_strict_workload_has_a_terminal_too(
    device: ProcessDevice, runtime: ProcessRuntime, strict: bool
) -> None:
    launch = await waiting(device, runtime, strict=strict)
    terminal = wish("bash", "-i", stdin=True, tty=True)
    async with executing(runtime.execute_in(launch, terminal)) as told:
        await told.execution.input(f"sh -c '{HEARS_CTRL_C}'\n".encode())
        await told.until("20\r\n")
        await told.execution.input(b"\x03")
        await told.until("^C")
        await told.execution.input(b"echo $((6 * 7)); exit 3\n")
        assert await told.end() == Ending(3)
    assert "42" in told.out
    assert "no job control" not in told.out


LEAVES = "setsid sleep 1000 & (sleep 1000 &) ; echo up; exec sleep 1000"


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("end", ["close", "agent", "keeper", "workload", "leader"])
async def test_nothing_of_a_command_outlives(
    device: ProcessDevice, runtime: ProcessRuntime, strict: bool, end: str
) -> None:
    """Whatever it did about its session and its parents."""
    launch = await waiting(device, runtime, strict=strict)
    before = device.processes(launch.instance)
    async with executing(runtime.execute_in(launch, wish("sh", "-c", LEAVES))) as told:
        await told.until("up")
        await eventually(
            lambda: len(device.processes(launch.instance)) == len(before) + 3, "all have begun"
        )
        match end:
            case "close":
                await told.execution.close()
            case "agent":
                await runtime.close()  # its sockets close, as those of a killed agent do
                await told.execution.close()
            case "keeper":
                device.kill_keeper()
                with pytest.raises(Transient, match="the keeper has ended"):
                    await told.execution.ended()
            case "workload":
                await runtime.signal(launch.instance, "SIGTERM")
                before = []
            case "leader":
                os.kill(before[0], signal.SIGKILL)
                before = []
        await eventually(
            lambda: device.processes(launch.instance) == before, "only the workload is left"
        )


async def test_what_a_command_leaves_behind_ends_with_it(
    device: ProcessDevice, runtime: ProcessRuntime
) -> None:
    launch = await waiting(device, runtime)
    before = device.processes(launch.instance)
    script = "setsid sleep 1000 & echo up"
    async with executing(runtime.execute_in(launch, wish("sh", "-c", script))) as told:
        assert await told.end() == Ending(0)
    assert told.out == "up\n"
    assert device.processes(launch.instance) == before


async def test_who_has_no_mark_is_known_by_the_commands_group(
    device: ProcessDevice, runtime: ProcessRuntime, short_dir: Path
) -> None:
    launch = await waiting(device, runtime)
    over = short_dir / "over"
    without = f"(ulimit -x 5; echo $BASHPID > {over}; exec sleep 1000 >&- 2>&-)"
    script = f"{without} & while [ ! -s {over} ]; do sleep 0.1; done"
    async with executing(runtime.execute_in(launch, wish("bash", "-c", script))) as told:
        assert await told.end() == Ending(0)
    left = int(over.read_text())
    try:
        await eventually(lambda: left not in all_pids(), "it has ended")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(left, signal.SIGKILL)


async def test_no_descriptors_stay_behind_where_there_were_too_few(
    device: ProcessDevice, runtime: ProcessRuntime
) -> None:
    launch = await waiting(device, runtime)
    before = set(Path("/proc/self/fd").iterdir())
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    for left in range(1, 5):
        taken: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, usual[1]))
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            for _ in range(left):
                os.close(taken.pop())
            with pytest.raises(Transient, match="Too many open files"):
                await runtime.execute_in(launch, wish("true"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, usual)
            for fd in taken:
                os.close(fd)
    assert set(Path("/proc/self/fd").iterdir()) == before


async def test_what_cannot_be_run_is_said_in_words(
    device: ProcessDevice, runtime: ProcessRuntime
) -> None:
    launch = await waiting(device, runtime)
    with pytest.raises(
        NoProgram, match="cannot run «nosuch» in workload «w»: there is no such"
    ) as no:
        await runtime.execute_in(launch, wish("nosuch"))
    assert no.value.code == 127
    (device.directory / "text").write_text("")
    with pytest.raises(NoProgram, match="Permission denied") as no:
        await runtime.execute_in(launch, wish("./text"))
    assert no.value.code == 126
    other = device.launch("sleep", "1000")
    with pytest.raises(Refused, match="it does not run"):
        await runtime.execute_in(other, wish("true"))


async def test_a_workload_that_was_started_otherwise_is_refused(
    device: ProcessDevice, runtime: ProcessRuntime
) -> None:
    """Its spec has changed meanwhile, or the device: a command would be confined as neither."""
    launch = await waiting(device, runtime, strict=True)
    loose = device.launch("sleep", "1000", instance=launch.instance)
    with pytest.raises(Refused, match="it was started with isolation «strict"):
        await runtime.execute_in(loose, wish("true"))


async def test_only_the_attached_agent_has_commands_run(
    device: ProcessDevice, runtime: ProcessRuntime
) -> None:
    launch = await waiting(device, runtime)
    pid = os.fork()
    if pid == 0:  # another process of the same user
        sock = open_socket(device.socket)
        sock.settimeout(30)
        fields = [("op", "exec"), ("id", 1), ("execution", "x"), ("instance", launch.instance)]
        protocol.transmit(sock, protocol.encode(fields), (0, 1, 2))
        answer = protocol.receive(sock)
        os._exit(0 if answer is not None and answer.get("error") == "detached" else 1)
    assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, pid, 0))[1]) == 0


async def test_a_module_has_no_programs_inside(short_dir: Path) -> None:
    device = WasmDevice(short_dir)
    router = device.router(device.agent())
    with pytest.raises(Refused, match="a WASM module has no programs inside; «skerry logs w»"):
        await router.execute_in(device.waits(), wish("sh"))
    await device.end()
