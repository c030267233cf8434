"""Commands inside containers, on each engine, with a real keeper that sees to their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.engines import IMAGE, TestEngine
from tests.execution_rig import executing

from skerry.keeper.procfs import all_pids, read_stat
from skerry.kit.errors import Refused
from skerry.node.execution_port import Execution, NoProgram
from skerry.node.ports import ContainerLaunch
from skerry.node.workloads.runtimes.containers.execution import begin
from skerry.node.workloads.runtimes.containers.runtime import ContainerRuntime
from skerry.node.workloads.runtimes.identity import command_line
from skerry.testing.container_device import ContainerDevice
from skerry.testing.exits import Exits
from skerry.testing.process_device import ProcessDevice
from skerry.testing.waiting import eventually
from skerry.wire.executions import Ending, Size, Wish

pytestmark = [pytest.mark.timeout(180), pytest.mark.guarantee("G9")]

TELLS = """
import os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(os.getuid(), status["CapBnd"].strip(), status["NoNewPrivs"].strip(), status["Seccomp"].strip(), os.getcwd(),
      os.environ["COLOUR"], [os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "pid", "net")], flush=True)
"""
STAYS = "\nimport signal, sys\nsignal.signal(15, lambda *_: sys.exit(0))\nsignal.pause()"


class Site:
    """A keeper and an engine of one device."""

    def __init__(
        self, processes: ProcessDevice, containers: ContainerDevice, runtime: ContainerRuntime
    ) -> None:
        self.processes = processes
        self.containers = containers
        self.runtime = runtime

    async def begin(self, launch: ContainerLaunch, wish: Wish) -> Execution:
        container = self.runtime.container(launch.instance)
        return await begin(self.runtime.engine, container, wish, "w", self.processes.socket)


@pytest.fixture
async def site(engine: TestEngine, short_dir: Path) -> AsyncIterator[Site]:
    processes = ProcessDevice(short_dir)
    await processes.agent().connect(Exits())
    containers = ContainerDevice(short_dir, engine.socket, IMAGE)
    runtime = containers.agent()
    await runtime.connect(Exits())
    yield Site(processes, containers, runtime)
    await containers.end()
    await processes.end()


def python(script: str, *, stdin: bool = False, tty: bool = False) -> Wish:
    return Wish(["python3", "-c", script], stdin, tty, Size(24, 80) if tty else Size(), "xterm")


async def waiting(site: Site) -> ContainerLaunch:
    launch = site.containers.waits()
    await site.runtime.start(launch)
    await site.containers.settled(launch)
    return launch


def named(word: str) -> list[int]:
    """The living processes of the device that have this word among theirs."""
    return [
        pid for pid in all_pids()
        if word.encode() in command_line(pid) and (stat := read_stat(pid)) is not None and stat.lives
    ]  # fmt: skip


@pytest.mark.parametrize("strict", [False, True])
async def test_a_command_has_what_the_container_has_and_nothing_more(
    site: Site, strict: bool
) -> None:
    launch = site.containers.launch(
        "python3", "-c", TELLS + STAYS, user="1000", network="none" if strict else "host"
    )
    launch = replace(launch, strict=strict, environment={"COLOUR": "red"})
    await site.runtime.start(launch)
    await eventually(lambda: "red" in site.containers.log_text(), "the workload has told")
    async with executing(site.begin(launch, python(TELLS))) as told:
        assert await told.end() == Ending(0)
    assert told.out
    assert told.out in site.containers.log_text()


async def test_streams_are_apart_and_the_exit_code_is_the_commands(site: Site) -> None:
    launch = await waiting(site)
    script = "import sys; print(sys.stdin.read()); print('err', file=sys.stderr); sys.exit(7)"
    async with executing(site.begin(launch, python(script, stdin=True))) as told:
        await told.execution.input(b"in")
        await told.execution.end_input()
        assert await told.end() == Ending(7)
    assert (told.out, told.err) == ("in\n", "err\n")


async def test_much_output_comes_whole_and_waits_for_who_reads_it(site: Site) -> None:
    launch = await waiting(site)
    read, size, much = asyncio.Event(), 0, 20_000_000

    async def take(data: bytes, _stream: int) -> None:
        nonlocal size
        await read.wait()
        size += len(data)

    execution = await site.begin(launch, python(f"print('x' * {much - 1})"))
    taking = asyncio.ensure_future(execution.output(take))
    await asyncio.wait([taking], timeout=0.5)
    assert not taking.done()
    read.set()
    await taking
    assert await execution.ended() == Ending(0)
    assert size == much
    await execution.close()


async def test_a_terminal_has_its_size_and_ctrl_c(site: Site) -> None:
    launch = await waiting(site)
    script = (
        "import os, signal, sys\n"
        "signal.signal(28, lambda *_: os.write(1, b'%d %d\\n' % tuple(os.get_terminal_size())))\n"
        "print('at', os.isatty(0), os.environ['TERM'], flush=True)\n"
        "print('got', input(), flush=True)\n"
        "while True: signal.pause()"
    )
    async with executing(site.begin(launch, python(script, stdin=True, tty=True))) as told:
        await told.until("at True xterm")
        await told.execution.resize(Size(50, 132))
        await told.until("132 50")
        await told.execution.input(b"x\r")
        await told.until("got x")
        await told.execution.input(b"\x03")
        ending = await told.end()
    assert ending.code in {1, 130}  # engines differ in how they tell a signal
    assert "KeyboardInterrupt" in told.out


@pytest.mark.parametrize("end", ["close", "keeper hears no more", "workload"])
async def test_nothing_of_a_command_outlives(site: Site, end: str) -> None:
    """Engines would leave it running."""
    launch = await waiting(site)
    word = f"word-{launch.instance}"
    script = (
        "import os, signal, subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()', sys.argv[1]], start_new_session=True)\n"
        "print('up', flush=True)\nsignal.pause()"
    )
    wish = python(script)
    wish.command.append(word)
    async with executing(site.begin(launch, wish)) as told:
        await told.until("up")
        await eventually(lambda: len(named(word)) == 2, "both run")
        match end:
            case "close":
                await told.execution.close()
            case "keeper hears no more":  # as when the agent is killed: only sockets close
                told.execution._tie.close()  # type: ignore[attr-defined]
            case "workload":
                await site.runtime.signal(launch.instance, "SIGKILL")
        await eventually(lambda: not named(word), "nothing is left")


async def test_what_a_command_leaves_behind_ends_with_it(site: Site) -> None:
    launch = await waiting(site)
    word = f"word-{launch.instance}"
    script = (
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()', '{word}'], start_new_session=True)\n"
        "print('up', flush=True)"
    )
    async with executing(site.begin(launch, python(script))) as told:
        assert await told.end() == Ending(0)
    assert told.out == "up\n"
    await eventually(lambda: not named(word), "nothing is left")


async def outcome(site: Site, launch: ContainerLaunch, wish: Wish) -> tuple[int | None, str]:
    """One engine says by an answer what the other one says by an exit code."""
    try:
        async with executing(site.begin(launch, wish)) as told:
            return (await told.end()).code, told.out + told.err
    except NoProgram as error:
        return error.code, str(error)


async def test_what_cannot_be_run_is_said_in_words(site: Site) -> None:
    launch = await waiting(site)
    code, words = await outcome(site, launch, Wish(["nosuch"]))
    assert code in {126, 127}
    assert "nosuch" in words
    gone = site.containers.launch("true")
    with pytest.raises(Refused, match="it does not run"):
        await site.begin(gone, Wish(["true"]))
