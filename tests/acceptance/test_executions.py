"""`skerry exec` by real processes: through the hub and at the node here, with streams, terminals, exit codes and audit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import sqlite3
import sys
import tempfile
import termios
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
from tests.command_line import CommandLine, Ended
from tests.installation import Installation, installation, sleeper

from skerry.keeper.procfs import all_pids
from skerry.node.workloads.runtimes.identity import command_line
from skerry.testing.waiting import eventually

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.guarantee("G9"),
    pytest.mark.asyncio(loop_scope="module"),
]

HEARS_CTRL_C = 'trap "exit 9" INT; echo $((4 * 5)); while :; do sleep 0.1; done'

NUMBER = str(100_000 + os.getpid())
"""Of seconds: no other process sleeps as long."""

WAYS = pytest.mark.parametrize("way", [("n1",), ("--here",)], ids=["hub", "here"])


@pytest_asyncio.fixture(loop_scope="module")
async def site(short_dir: Path) -> AsyncIterator[Installation]:
    """For a test that ends a part of it, or counts what is there."""
    async with installation(short_dir) as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[CommandLine]:
    """At a hub and its node n1 with workload w, which one test after the other uses and leaves as they are."""
    with tempfile.TemporaryDirectory(prefix="sk-") as directory:
        async with installation(Path(directory)) as site:
            await site.started(sleeper("w"))
            yield CommandLine(site)


def named(word: str) -> list[int]:
    """The processes that have this word among theirs."""
    return [pid for pid in all_pids() if word.encode() in command_line(pid)]


@WAYS
async def test_a_command_has_its_streams_and_its_exit_code(
    shared: CommandLine, way: tuple[str, ...]
) -> None:
    script = "cat; echo $SKERRY_WORKLOAD; echo err >&2; exit 7"
    ended = await shared.run("exec", "-i", *way, "w", "--", "sh", "-c", script, stdin=b"in\n")
    assert (ended.code, ended.out, ended.err) == (7, "in\nw\n", "err\n")
    ended = await shared.run("exec", *way, "w", "--", "sh", "-c", "cat; kill -TERM $$")
    assert (ended.code, ended.out, ended.err) == (143, "", "")
    ended = await shared.run("exec", *way, "w", "--", "nosuch", "-x")
    assert (ended.code, ended.out) == (127, "")
    assert "cannot run «nosuch» in workload «w»: there is no such program" in ended.err


@WAYS
async def test_much_goes_through_whole(shared: CommandLine, way: tuple[str, ...]) -> None:
    much = "x" * 5_000_000
    ended = await shared.run(
        "exec", "-i", *way, "w", "--", "sh", "-c", "tee /dev/stderr", stdin=much.encode()
    )
    assert ended.code == 0
    assert ended.out == much
    assert ended.err == much


async def from_a_shell(command: CommandLine, script: str, *words: str) -> Ended:
    """`script` of a shell has the command line as its arguments."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-o", "pipefail", "-c", script, "bash", sys.executable, "-m", "skerry.cli.main", *words,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=command.environment, start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert b"Traceback" not in err, err.decode()
    return Ended(process.returncode or 0, out.decode(), err.decode())


@WAYS
@pytest.mark.parametrize(
    "script", ['"$@" | head -1', '"$@" </dev/zero | head -1', '"$@" >/dev/full']
)
async def test_a_command_that_prints_for_ever_ends_when_nobody_takes_it(
    shared: CommandLine, way: tuple[str, ...], script: str
) -> None:
    word = f"y{os.getpid()}"
    words = ["exec", "-i", *way, "w", "--", "yes", word]
    ended = await from_a_shell(shared, script, *words)
    assert ended.code == 1
    assert ended.out in {f"{word}\n", ""}
    assert ("No space left on device" in ended.err) == ("full" in script)
    await eventually(lambda: not named(word), "nothing of it is left")


async def test_a_stream_that_is_closed_leads_nowhere(shared: CommandLine) -> None:
    script = "cat; echo out; echo err >&2; exit 3"
    words = ["exec", "-i", "n1", "w", "--", "sh", "-c", script]
    assert await from_a_shell(shared, '"$@" <&-', *words) == Ended(3, "out\n", "err\n")
    assert await from_a_shell(shared, '"$@" >&-', *words) == Ended(3, "", "err\n")
    assert await from_a_shell(shared, '"$@" 2>&-', *words) == Ended(3, "out\n", "")
    assert await from_a_shell(shared, '"$@" <&- >&- 2>&-', *words) == Ended(3, "", "")
    assert await from_a_shell(shared, '"$@" 2>/dev/full', "exec", "n1", "w") == Ended(2, "", "")


async def test_words_that_are_not_text_are_refused(shared: CommandLine) -> None:
    for words in [
        ("w", "--", "printf", "%s", os.fsdecode(b"a\xff")),
        (os.fsdecode(b"a\xff"), "--", "id"),
    ]:
        ended = await shared.run("exec", "n1", *words)
        assert (ended.code, ended.out) == (2, "")
        assert "'a\\udcff' is no UTF-8" in ended.err


class Terminal:
    """Somebody's terminal with a command in it."""

    def __init__(self, ours: int, theirs: int, process: asyncio.subprocess.Process) -> None:
        self.ours = ours
        self.theirs = theirs
        self.process = process
        self.shown = b""
        self.usual = termios.tcgetattr(theirs)
        os.set_blocking(ours, False)
        asyncio.get_running_loop().add_reader(ours, self._read)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.shown += os.read(self.ours, 65536)

    async def shows(self, words: str) -> None:
        await eventually(lambda: words.encode() in self.shown, f"it shows {words!r}")

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.ours)
        os.close(self.ours)
        os.close(self.theirs)


@contextlib.asynccontextmanager
async def in_a_terminal(command: CommandLine, *words: str) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (30, 100))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "skerry.cli.main", *words,
        stdin=theirs, stdout=theirs, stderr=theirs, env=command.environment, start_new_session=True,
    )  # fmt: skip
    terminal = Terminal(ours, theirs, process)
    try:
        yield terminal
    finally:
        terminal.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@WAYS
async def test_a_terminal_passes_keys_sizes_and_ctrl_c_on(
    shared: CommandLine, way: tuple[str, ...]
) -> None:
    words = ["exec", "-it", *way, "w", "--", "bash", "--norc", "-i"]
    async with in_a_terminal(shared, *words) as terminal:
        await terminal.shows("$ " if os.geteuid() else "# ")
        terminal.type(f"stty size; sh -c '{HEARS_CTRL_C}'\r".encode())
        await terminal.shows("30 100\r\n20\r\n")
        terminal.type(b"\x03")
        await terminal.shows("^C")
        termios.tcsetwinsize(terminal.theirs, (41, 142))
        terminal.process.send_signal(signal.SIGWINCH)
        terminal.type(
            b"until [ \"$(stty size)\" = '41 142' ]; do :; done; echo $((6 * 7)); exit 5\r"
        )
        await terminal.shows("42\r\n")
        assert await terminal.process.wait() == 5
        assert termios.tcgetattr(terminal.theirs) == terminal.usual


async def begun(command: CommandLine, *way: str) -> asyncio.subprocess.Process:
    """A command with a process of its own besides, each with NUMBER among its words."""
    script = f"setsid sleep {NUMBER} & exec sleep {NUMBER}"
    running = await command.begin("exec", *way, "w", "--", "sh", "-c", script)
    await eventually(lambda: len(named(NUMBER)) == 2, "it runs")
    return running


async def nothing_is_left(running: asyncio.subprocess.Process) -> None:
    await running.wait()
    await eventually(lambda: not named(NUMBER), "nothing of it is left")


@WAYS
async def test_a_command_ends_with_whoever_asked(shared: CommandLine, way: tuple[str, ...]) -> None:
    running = await begun(shared, *way)
    running.kill()
    await nothing_is_left(running)


@pytest.mark.parametrize(("way", "end"), [("n1", "agent"), ("--here", "agent"), ("n1", "hub")])
async def test_a_command_ends_with_all_between(site: Installation, way: str, end: str) -> None:
    node = await site.started(sleeper("w"))
    running = await begun(CommandLine(site), way)
    await (node.kill() if end == "agent" else site.hub.kill())
    await nothing_is_left(running)


async def test_a_command_that_takes_nothing_ends_with_who_writes_to_it(shared: CommandLine) -> None:
    """Then nobody reads what the person says, and its end neither."""
    number = str(200_000 + os.getpid())
    script = f"exec sleep {number}"
    ours, theirs = os.pipe()
    running = await shared.begin("exec", "-i", "--here", "w", "--", "sh", "-c", script, stdin=ours)
    os.close(ours)
    await eventually(lambda: len(named(number)) == 1, "it runs")
    os.set_blocking(theirs, False)

    async def takes_nothing() -> bool:
        for _ in range(2):
            with contextlib.suppress(BlockingIOError):
                while True:
                    taken = os.write(theirs, bytes(65536))
                    assert taken
            await asyncio.sleep(0.5)
        with contextlib.suppress(BlockingIOError):
            return not os.write(theirs, b"x")
        return True

    await eventually(takes_nothing, "it takes nothing any more")
    running.kill()
    await running.wait()
    os.close(theirs)
    await eventually(lambda: not named(number), "nothing of it is left")


@WAYS
async def test_both_audit_logs_have_the_program_and_not_its_arguments(
    site: Installation, way: tuple[str, ...]
) -> None:
    node = await site.started(sleeper("w"))
    command = CommandLine(site)
    canary = "canary-argument"
    ended = await command.run("exec", *way, "w", "--", "/bin/sh", "-c", f"exit 4 # {canary}")
    assert ended.code == 4
    database = sqlite3.connect(node.directory / "node.db")
    with contextlib.closing(database):
        rows = database.execute("SELECT * FROM audit WHERE action LIKE 'execute%'").fetchall()
    assert [row for row in rows if canary in str(row)] == []
    assert len(rows) == 2
    assert "program «sh»" in str(rows[0])
    assert "program «sh»: exit code 4" in str(rows[1])
    entries = await command.run("audit", "list", "--output", "json")
    assert canary not in entries.out
    if way == ("n1",):
        assert "for «admin», program «sh»" in str(rows[0])
        assert "program «sh»: exit code 4" in entries.out


async def test_what_cannot_be_is_said_in_words(shared: CommandLine) -> None:
    words = {
        ("n1", "nothing", "--", "sh"): "it is not on this node",
        ("n9", "w", "--", "sh"): "there is no node «n9»",
        ("n1", "w"): "there is none. Write it after «--»",
        ("-it", "n1", "w", "--", "sh"): "cannot use -t: stdin is no terminal",
    }
    for said, expected in words.items():
        ended = await shared.run("exec", *said)
        assert ended.code in {1, 2}
        assert expected in ended.err


@pytest.mark.parametrize("isolation", ["standard", "strict"])
async def test_execute_alone_opens_strict_workloads_only(
    site: Installation, isolation: Literal["standard", "strict"]
) -> None:
    """In another one, an operator would be root on the device."""
    await site.started(sleeper("w", isolation=isolation))
    command = CommandLine(site)
    made = await command.run("access", "token", "create", "op", "--role", "operator")
    token = str(command.file("token", made.out.strip()))
    script = "id -u; echo over > over; cat over"
    ended = await command.run("exec", "n1", "w", "--token-file", token, "--", "sh", "-c", script)
    if isolation == "strict":
        user, over = ended.out.splitlines()
        assert (ended.code, over) == (0, "over")
        assert int(user) > 0
    else:
        assert (ended.code, ended.out) == (1, "")
        assert "as «op»: it is not isolated strictly" in ended.err
