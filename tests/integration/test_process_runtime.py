"""What a native process gets and leaves, with a real keeper."""

import asyncio
import os
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.slow_exec import slow_exec

from skerry.keeper import protocol
from skerry.keeper.procfs import all_pids, read_stat
from skerry.kit.errors import Refused, Transient
from skerry.node.ports import InstanceExit, Launch
from skerry.node.workloads.runtimes.process import ProcessRuntime
from skerry.testing.process_device import ProcessDevice
from skerry.testing.waiting import eventually
from skerry.wire.workload import Exit


@pytest.fixture
async def device(short_dir: Path) -> AsyncIterator[ProcessDevice]:
    device = ProcessDevice(short_dir)
    yield device
    await device.end()


@pytest.fixture
def exits() -> dict[str, Exit]:
    return {}


@pytest.fixture
async def runtime(device: ProcessDevice, exits: dict[str, Exit]) -> ProcessRuntime:
    def note(ended: InstanceExit) -> None:
        exits[ended.instance] = ended.exit

    runtime = device.agent()
    await runtime.connect(note)
    return runtime


async def output_of(
    runtime: ProcessRuntime, device: ProcessDevice, exits: dict[str, Exit], launch: Launch
) -> list[tuple[str, str]]:
    """(stream, text) of every line that the launch prints until its end."""
    await runtime.start(launch)
    await eventually(lambda: launch.instance in exits, "the workload ends")
    lines = [line.split(" ", 3) for line in device.log_text(launch.workload).splitlines()]
    return [(stream, text) for _, stream, _, text in lines]


async def python(
    runtime: ProcessRuntime,
    device: ProcessDevice,
    exits: dict[str, Exit],
    code: str,
    **limits: int,
) -> list[str]:
    """What a Python program prints to stdout."""
    launch = device.launch(sys.executable, "-c", code, limits=limits)
    return [text for _, text in await output_of(runtime, device, exits, launch)]


async def test_both_streams_reach_the_log_in_cri_form(
    runtime: ProcessRuntime, device: ProcessDevice, exits: dict[str, Exit]
) -> None:
    launch = device.launch("sh", "-c", "echo out; sleep 0.05; echo err >&2; printf unfinished")
    lines = await output_of(runtime, device, exits, launch)
    assert sorted(lines) == [("stderr", "err"), ("stdout", "out"), ("stdout", "unfinished")]
    stamp, stream, tag, _ = device.log_text().splitlines()[0].split(" ", 3)
    assert (len(stamp), stream, tag) == (30, "stdout", "F")
    assert stamp.endswith("Z")


async def test_a_prompt_is_logged_while_the_process_waits_for_its_answer(
    runtime: ProcessRuntime, device: ProcessDevice, exits: dict[str, Exit]
) -> None:
    os.mkfifo(device.directory / "answer")
    launch = device.launch("sh", "-c", "printf 'Password: '; read x < answer; echo thanks")
    await runtime.start(launch)
    await eventually(lambda: "Password: " in device.log_text(), "the prompt is logged")
    (device.directory / "answer").write_text("secret\n")
    await eventually(lambda: launch.instance in exits, "the workload ends")
    lines = [line.split(" ", 3)[1:] for line in device.log_text().splitlines()]
    assert lines == [["stdout", "P", "Password: "], ["stdout", "F", "thanks"]]


async def test_the_environment_is_exactly_the_launch_and_the_instance(
    runtime: ProcessRuntime, device: ProcessDevice, exits: dict[str, Exit]
) -> None:
    launch = device.launch("/usr/bin/env", "-0", variables={"TEXT": "a=b\nc", "BYTES": "\udcff"})
    await runtime.start(launch)
    await eventually(lambda: launch.instance in exits, "the workload ends")
    log = (device.directory / "logs" / "w" / "current.log").read_bytes()
    assert b"BYTES=\xff\0" in log
    names = {part.split(b"=")[0].split(b" ")[-1] for part in log.split(b"\0") if b"=" in part}
    assert names == {b"PATH", b"TEXT", b"BYTES", b"SKERRY_INSTANCE"}


async def test_a_process_leads_its_own_session_with_nothing_inherited(
    runtime: ProcessRuntime, device: ProcessDevice, exits: dict[str, Exit]
) -> None:
    code = """if True:
        import os, signal, resource
        print(os.getsid(0) == os.getpgid(0) == os.getpid())
        print(sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:-1], os.readlink("/proc/self/fd/0"))
        print(os.getcwd(), oct(os.umask(0)))
        status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
        print(status["NoNewPrivs"].strip(), int(status["SigBlk"], 16))
        print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE))
    """
    umask = os.umask(0o022)
    os.umask(umask)
    assert await python(runtime, device, exits, code, RLIMIT_NOFILE=123) == [
        "True",
        "[0, 1, 2] /dev/null",
        f"{device.directory} {oct(umask)}",
        "1 0",
        "(0, 0) (123, 123)",
    ]


async def test_the_keeper_raises_its_descriptor_limit_for_itself_only(
    device: ProcessDevice,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
    try:
        runtime = device.agent()
        await runtime.connect(lambda _: None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    identity = await runtime.start(device.launch("sleep", "1000"))
    assert resource.prlimit(device.keeper_pid(), resource.RLIMIT_NOFILE) == (hard, hard)
    assert resource.prlimit(identity.pid, resource.RLIMIT_NOFILE) == (1000, hard)


async def test_no_signal_is_ignored_by_inheritance(
    runtime: ProcessRuntime, device: ProcessDevice, exits: dict[str, Exit]
) -> None:
    launch = device.launch("grep", "SigIgn", "/proc/self/status")
    ((_, line),) = await output_of(runtime, device, exits, launch)
    reserved_by_libc = 1 << 31 | 1 << 32  # signals 32 and 33: nobody but libc can change them
    assert int(line.split()[1], 16) & ~reserved_by_libc == 0


async def test_grandchildren_end_with_the_instance(
    runtime: ProcessRuntime, device: ProcessDevice, exits: dict[str, Exit]
) -> None:
    launch = device.launch("sh", "-c", "sleep 1000 & sleep 1000 & echo up; wait")
    identity = await runtime.start(launch)
    await eventually(lambda: len(device.processes(launch.instance)) == 3, "all three run")
    os.kill(identity.pid, 9)
    await eventually(lambda: launch.instance in exits, "the exit is told")
    await eventually(lambda: device.processes(launch.instance) == [], "the grandchildren are gone")


async def test_signal_reaches_the_whole_group(
    runtime: ProcessRuntime, device: ProcessDevice, exits: dict[str, Exit]
) -> None:
    launch = device.launch(
        "sh",
        "-c",
        "trap '' TERM; (trap 'echo heard; exit' TERM; echo up; while :; do sleep 0.01; done); exit 4",
    )
    await runtime.start(launch)
    await eventually(lambda: "up" in device.log_text(), "the child listens")
    await runtime.signal(launch.instance, "SIGTERM")
    await eventually(lambda: launch.instance in exits, "the workload ends")
    assert "heard" in device.log_text()
    assert exits[launch.instance].code == 4


DAEMON = "(env -i setsid sh -c '%s' &)"
"""Double fork, a session of its own, no environment: its parent ends, and nothing visible leads back to the workload."""


def daemons(device: ProcessDevice) -> list[int]:
    """The pids that daemons have written into `pids` and that live."""
    pids = [int(word) for word in (device.directory / "pids").read_text().split()]
    return [pid for pid in pids if (stat := read_stat(pid)) is not None and stat.lives]


@pytest.mark.parametrize("first_process", ["exit 0", "kill -9 $$", "exec sleep 1000"])
async def test_daemons_that_hide_end_with_the_instance(
    runtime: ProcessRuntime, device: ProcessDevice, exits: dict[str, Exit], first_process: str
) -> None:
    nested = DAEMON % "echo $$ >> pids; touch up; exec sleep 1000"
    daemon = DAEMON % f"echo $$ >> pids; {nested.replace(chr(39), chr(34))}; exec sleep 1000"
    script = f"{daemon}; while ! test -e up; do sleep 0.01; done; {first_process}"
    launch = device.launch("sh", "-c", script)
    bystander = device.launch(
        "sh", "-c", DAEMON % "echo $$ > other; exec sleep 1000" + "; exec sleep 1000"
    )
    await runtime.start(bystander)
    bystanders = device.directory / "other"
    await eventually(
        lambda: bystanders.exists() and bystanders.read_text() != "", "another's daemon"
    )
    identity = await runtime.start(launch)
    await eventually((device.directory / "up").exists, "the daemons run")
    if "sleep" in first_process:
        assert len(daemons(device)) == 2
        os.kill(identity.pid, 9)
    await eventually(lambda: launch.instance in exits, "the exit is told")
    assert daemons(device) == []
    (other,) = bystanders.read_text().split()
    os.kill(int(other), 0)


async def test_a_signal_reaches_daemons_and_the_grace_is_theirs_too(
    runtime: ProcessRuntime, device: ProcessDevice, exits: dict[str, Exit]
) -> None:
    slow = 'echo $$ >> pids; trap "read x < fifo; echo saved > saved; exit" TERM; touch up; while :; do sleep 0.01; done'
    deaf = 'echo $$ >> pids; trap "" TERM; touch up2; exec sleep 1000'
    os.mkfifo(device.directory / "fifo")
    script = f"{DAEMON % slow}; {DAEMON % deaf}; exec sleep 1000"
    launch = device.launch("sh", "-c", script)
    identity = await runtime.start(launch)
    for name in ("up", "up2"):
        await eventually((device.directory / name).exists, "the daemons listen")
    await runtime.signal(launch.instance, "SIGTERM")
    await eventually(lambda: not device.lives(identity), "the first process has ended")
    assert len(daemons(device)) == 2
    (device.directory / "fifo").write_text("\n")
    await eventually((device.directory / "saved").exists, "one daemon ends in peace")
    await eventually(lambda: len(daemons(device)) == 1, "the other one ignores the signal")
    assert launch.instance not in exits
    await runtime.signal(launch.instance, "SIGKILL")
    await eventually(lambda: launch.instance in exits, "the exit is told")
    assert daemons(device) == []
    assert exits[launch.instance].signal == 15


async def test_what_daemons_leave_behind_is_reaped_while_the_workload_lives(
    runtime: ProcessRuntime, device: ProcessDevice, exits: dict[str, Exit]
) -> None:
    launch = device.launch(
        "sh", "-c", f"for n in 1 2 3; do {DAEMON % 'echo $$ >> pids'}; done; exec sleep 1000"
    )
    await runtime.start(device.launch("sleep", "1000"))
    await runtime.start(launch)

    def zombies() -> list[int]:
        stats = {pid: read_stat(pid) for pid in all_pids()}
        keeper = device.keeper_pid()
        return [
            pid for pid, stat in stats.items() if stat and stat.parent == keeper and not stat.lives
        ]

    pids = device.directory / "pids"
    await eventually(lambda: pids.exists() and len(pids.read_text().split()) == 3, "all have run")
    await eventually(lambda: daemons(device) == [] and zombies() == [], "nothing of them is left")


@pytest.mark.parametrize("size", [100_000, 1_000_000])
async def test_large_environments_and_arguments_arrive(
    runtime: ProcessRuntime, device: ProcessDevice, exits: dict[str, Exit], size: int
) -> None:
    variables = {f"V{number}": "v" * 50_000 for number in range(size // 100_000)}
    arguments = ["a" * 50_000 for _ in range(size // 100_000)]
    script = 'set | wc -c; printf %s "$*" | wc -c'
    launch = device.launch("sh", "-c", script, "sh", *arguments, variables=variables)
    lines = await output_of(runtime, device, exits, launch)
    environment, argument = (int(text) for _, text in lines)
    assert environment > size // 2
    assert argument == size // 2 + len(arguments) - 1


async def test_what_is_too_large_is_refused_by_name(
    runtime: ProcessRuntime, device: ProcessDevice
) -> None:
    with pytest.raises(Refused, match=r"«w».*too long"):
        await runtime.start(device.launch("true", "a" * 1_000_000))
    with pytest.raises(Refused, match=f"«w».*at most {protocol.LARGEST}"):
        await runtime.start(device.launch("true", *["a" * 1_000_000] * 9))
    with pytest.raises(Refused, match=r"«w».*NUL"):
        await runtime.start(device.launch("true", "a\0op=quit"))
    await runtime.start(device.launch("sleep", "1000"))


async def test_a_wrong_launch_is_refused_with_the_thing_to_change(
    runtime: ProcessRuntime, device: ProcessDevice
) -> None:
    with pytest.raises(Refused, match="«/etc/passwd»: Permission denied"):
        await runtime.start(device.launch("/etc/passwd"))
    with pytest.raises(Refused, match="RLIMIT_NOFILE = 9999999999999"):
        await runtime.start(device.launch("true", limits={"RLIMIT_NOFILE": 9_999_999_999_999}))
    with pytest.raises(Refused, match="RLIMIT_NONSENSE"):
        await runtime.start(device.launch("true", limits={"RLIMIT_NONSENSE": 1}))
    with pytest.raises(Refused, match="command is empty"):
        await runtime.start(device.launch())
    script = device.directory / "script"
    script.write_text("no interpreter line")
    script.chmod(0o755)
    with pytest.raises(Refused, match="script»: Exec format error"):
        await runtime.start(device.launch(str(script)))
    script.write_text("#!/bin/sh\n")
    with script.open("a"), pytest.raises(Transient, match="Text file busy"):
        await runtime.start(device.launch(str(script)))


async def test_a_missing_working_directory_is_refused(
    runtime: ProcessRuntime, device: ProcessDevice
) -> None:
    launch = device.launch("true")
    with pytest.raises(Refused, match=r"working directory «/nowhere»: No such file"):
        await runtime.start(msgspec.structs.replace(launch, directory=Path("/nowhere")))
    await runtime.start(launch)


@pytest.mark.guarantee("G4")
async def test_an_exec_that_takes_long_holds_up_nobody(
    runtime: ProcessRuntime, device: ProcessDevice, exits: dict[str, Exit]
) -> None:
    with slow_exec(device.directory) as (program, let_go):
        slow = device.launch(program, "1000", workload="slow")
        slow_start = asyncio.create_task(runtime.start(slow))
        await eventually(lambda: len(device.keeper_pids()) == 2, "the child is forked")
        quick = device.launch("true", workload="quick")
        await runtime.start(quick)
        await eventually(lambda: quick.instance in exits, "the other workload ends")
        again = asyncio.create_task(runtime.start(slow))
        assert not slow_start.done()
        let_go()
        assert await again == await slow_start
    assert len(device.processes(slow.instance)) == 1


async def test_an_agent_that_dies_during_an_exec_is_followed_by_one_that_waits_for_it(
    runtime: ProcessRuntime, device: ProcessDevice
) -> None:
    with slow_exec(device.directory) as (program, let_go):
        slow = device.launch(program, "1000")
        start = asyncio.create_task(runtime.start(slow))
        await eventually(lambda: len(device.keeper_pids()) == 2, "the child is forked")
        start.cancel()
        await runtime.close()
        successor = device.agent()
        await successor.connect(lambda _: None)
        started = asyncio.create_task(successor.start(slow))
        done, _ = await asyncio.wait([started], timeout=0.2)
        assert not done
        let_go()
        identity = await started
    assert device.processes(slow.instance) == [identity.pid]


async def test_a_second_agent_is_refused_and_the_first_goes_on(
    runtime: ProcessRuntime, device: ProcessDevice
) -> None:
    with pytest.raises(Refused, match=f"agent with pid {os.getpid()} is attached"):
        await device.agent().connect(lambda _: None)
    await runtime.start(device.launch("sleep", "1000"))


async def test_a_socket_path_that_is_too_long_is_refused(device: ProcessDevice) -> None:
    device = ProcessDevice(device.directory / ("x" * 100))
    with pytest.raises(Refused, match="at most 107 characters"):
        await device.agent().connect(lambda _: None)


async def test_the_socket_is_private(runtime: ProcessRuntime, device: ProcessDevice) -> None:
    assert device.socket.stat().st_mode & 0o777 == 0o600


async def test_a_keeper_that_cannot_start_is_explained(short_dir: Path) -> None:
    (short_dir / "run" / "keeper.sock.lock").mkdir(parents=True)
    device = ProcessDevice(short_dir)
    with pytest.raises(Transient, match="cannot start the keeper: IsADirectoryError"):
        await device.agent().connect(lambda _: None)
    await device.end()


async def test_the_keeper_ignores_hangups_and_ends_on_sigterm_leaving_workloads(
    runtime: ProcessRuntime, device: ProcessDevice
) -> None:
    launch = device.launch(
        "sh",
        "-c",
        "trap 'echo of a line' USR1; printf 'ready\\nfirst half '; sleep 1000 & while :; do wait; done",
    )
    identity = await runtime.start(launch)
    await eventually(lambda: "ready" in device.log_text(), "the first half has been read")
    old = device.keeper_pid()
    os.kill(old, 1)
    os.kill(old, 13)
    os.kill(old, 15)
    await eventually(lambda: device.keeper_pids() not in ([], [old]), "another keeper runs")
    assert device.lives(identity)
    await runtime.signal(launch.instance, "SIGUSR1")
    await eventually(lambda: "of a line" in device.log_text(), "its output is logged")
    parts = [line.split(" ", 3)[1:] for line in device.log_text().splitlines()]
    assert parts[1:] == [["stdout", "P", "first half "], ["stdout", "F", "of a line"]]
