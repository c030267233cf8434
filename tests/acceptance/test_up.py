"""`skerry up` as a newcomer meets it: an empty home, a fresh directory, real values, Ctrl-C, and again."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.ports import free_pair

from skerry.cli.up_steps import Home, Started
from skerry.cli.welcome import welcome
from skerry.node.identity import read_identity
from skerry.testing.waiting import eventually
from skerry.wire.local import LinkStatus, NodeStatus

pytestmark = pytest.mark.timeout(120)

FROM_BEFORE = Path(__file__).parents[1] / "fixtures/data-0004"


class Terminal:
    """An empty home directory with a shell in it."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.data = directory / "data"
        self.home.mkdir()
        self.ups: list[asyncio.subprocess.Process] = []
        self.environment: dict[str, str] = {}

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "skerry.cli.main",
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.data.parent,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"], **self.environment},
        )

    async def run(self, *words: str) -> tuple[int, str, str]:
        process = await self.start(*words)
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async def up(self, port: int) -> tuple[asyncio.subprocess.Process, str]:
        """Starts `skerry up` as the Makefile does, with a relative path, and returns it with its welcome."""
        process = await self.start("up", "--hub-port", str(port), "--data-dir", self.data.name)
        self.ups.append(process)
        assert process.stdout is not None
        welcome = ""
        while "Ctrl-C here" not in welcome:
            line = await process.stdout.readline()
            assert line, (await process.communicate())[1].decode()
            welcome += line.decode()
        return process, welcome

    async def is_online(self) -> bool:
        _, out, _ = await self.run("node", "status", "-o", "json")
        return bool(json.loads(out)["link"]["state"] == "online")

    async def values(self, name: str) -> list[dict[str, object]]:
        code, out, err = await self.run("query", name, "-o", "json")
        assert code == 0, err
        rows: list[dict[str, object]] = json.loads(out)
        return rows

    async def has_at_hub(self, workloads: list[list[str]]) -> bool:
        """By name and phase."""
        code, out, _ = await self.run("get", "workloads", "-o", "csv")
        return code == 0 and [line.split(",")[0:3:2] for line in out.splitlines()[1:]] == workloads

    async def runs_alone(self, workload: str) -> bool:
        _, out, _ = await self.run("node", "status", "-o", "json")
        found = [(each["workload"], each["phase"]) for each in json.loads(out)["workloads"]]
        return found == [(workload, "running")]

    async def has_values(self, name: str) -> bool:
        return bool(await self.values(name))

    def processes(self) -> dict[int, str]:
        """Everything that belongs to the data directory, with its command line."""
        mark = f"{self.data}/".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
                if words and (mark in words or mark in (entry / "environ").read_bytes()):
                    found[int(entry.name)] = words.replace(b"\0", b" ").decode()
        return found


@pytest.fixture
async def terminal(short_dir: Path) -> AsyncIterator[Terminal]:
    terminal = Terminal(short_dir)
    yield terminal
    for process in terminal.ups:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.communicate()
    left = terminal.processes()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == {}


async def test_the_first_day_and_the_second(terminal: Terminal) -> None:
    process, welcome = await terminal.up(port := free_pair())
    assert f"Hub   http://127.0.0.1:{port}" in welcome
    assert re.search(r"Page  http://127\.0\.0\.1:\d+/login\?code=\w+", welcome)
    assert len(re.findall(r"main (get|query|logs|restart|doctor)", welcome)) == 5
    await eventually(lambda: terminal.has_values("host.memory.*"), "real values arrive")
    [cpu, *_] = await terminal.values("host.load.1m")
    assert cpu["source"] == "host-sensors"
    assert isinstance(cpu["value"], float | int)
    both = [["disk-watch", "running"], ["host-sensors", "running"]]
    await eventually(lambda: terminal.has_at_hub(both), "the hub knows that both run")
    code, _, err = await terminal.run("up", "--data-dir", str(terminal.data))
    assert code == 1
    assert err == (
        f"skerry: cannot start here: hub and node run on {terminal.data} already (process {process.pid}). "
        "Press Ctrl-C there, or choose another directory with --data-dir.\n"
    )
    assert (
        "Z watching host.disk.percent (limit 90, " in (await terminal.run("logs", "disk-watch"))[1]
    )
    assert "Z publishing every 1 s: cpu.percent" in (await terminal.run("logs", "host-sensors"))[1]
    assert (await terminal.run("delete", "workload", "disk-watch"))[0] == 0
    await eventually(lambda: terminal.runs_alone("host-sensors"), "the node knows")

    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 0
    assert terminal.processes() == {}

    _, welcome = await terminal.up(free_pair())  # another port: the node follows
    # It says how things are after three seconds, which a start may take on a busy machine.
    assert re.search("[01] of 1 workloads running", welcome)
    await eventually(lambda: terminal.runs_alone("host-sensors"), "it runs again")
    assert cpu in await terminal.values("host.load.1m")
    now = time.time_ns()

    async def goes_on() -> bool:
        return any(int(str(row["at"])) > now for row in await terminal.values("host.load.1m"))

    await eventually(goes_on, "new values follow the old ones")


async def test_hub_and_node_from_before_certificates_go_on_with_them(terminal: Terminal) -> None:
    for part in ("hub", "node"):
        shutil.unpack_archive(FROM_BEFORE / f"{part}.zip", terminal.data / part)
        for path in (terminal.data / part).rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        (terminal.data / part).chmod(0o700)
    before = read_identity(terminal.data / "node")
    assert before is not None
    assert not before.certificate
    process, _ = await terminal.up(port := free_pair())
    after = read_identity(terminal.data / "node")
    assert after is not None
    assert (after.node_id, after.name, after.labels) == (
        before.node_id, before.name, before.labels,
    )  # fmt: skip
    assert (after.certificate, after.hub_url) == (True, f"https://127.0.0.1:{port + 1}")
    code, out, _ = await terminal.run("node", "status", "-o", "json")
    assert (code, json.loads(out)["link"]["state"]) == (0, "online")
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 0


async def test_where_nodes_have_secrets_only(terminal: Terminal) -> None:
    """As the hub's settings say, which it has from the environment here."""
    terminal.environment["SKERRY_HUB_NODES_METHOD"] = "secret"
    for _ in range(2):
        process, _ = await terminal.up(port := free_pair())
        identity = read_identity(terminal.data / "node")
        assert identity is not None
        assert not identity.certificate
        await eventually(
            terminal.is_online, "the node, which starts without waiting, reaches the hub"
        )
        _, out, _ = await terminal.run("node", "status", "-o", "json")
        assert json.loads(out)["link"]["hub"] == f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGINT)
        await process.communicate()
        assert process.returncode == 0
    del terminal.environment["SKERRY_HUB_NODES_METHOD"]
    process, _ = await terminal.up(port)
    process.send_signal(signal.SIGINT)
    await process.communicate()
    terminal.environment["SKERRY_HUB_NODES_METHOD"] = "secret"
    code, _, err = await terminal.run("up", "--data-dir", str(terminal.data))
    assert code == 1
    assert "has a certificate, and nodes.method is «secret», which believes none" in err


@pytest.mark.parametrize("offset", [0, 1], ids=["people's", "nodes'"])
async def test_a_taken_port_gets_one_sentence(terminal: Terminal, offset: int) -> None:
    first = free_pair()
    port = first + offset
    with socket.create_server(("127.0.0.1", port)):
        code, _, err = await terminal.run("up", "--hub-port", str(first), "--data-dir", str(terminal.data))  # fmt: skip
    assert code == 1
    assert err.splitlines()[-1] == (
        f"skerry: cannot start the hub: port {port} is taken by another program. "
        f"Choose two others: make up HUB_PORT={port + 100} (or skerry up --hub-port {port + 100}), which takes the next one, too"
    )


async def test_a_path_that_is_too_long_gets_one_sentence(terminal: Terminal) -> None:
    code, _, err = await terminal.run("up", "--data-dir", str(terminal.data / ("x" * 90)))
    assert code == 2
    assert "UNIX sockets take at most 107" in err


async def test_when_the_hub_dies_everything_ends_and_says_so(terminal: Terminal) -> None:
    process, _ = await terminal.up(free_pair())
    os.kill(hub_of(terminal), signal.SIGKILL)
    _, err = await process.communicate()
    assert process.returncode == 1
    assert (
        f"skerry: the hub ended with signal 9; the last lines of {terminal.data}/hub.log:"
        in err.decode()
    )
    assert "the hub answers at" in err.decode()
    assert terminal.processes() == {}


async def test_a_hub_that_cannot_start_is_shown(terminal: Terminal) -> None:
    (terminal.data / "hub").mkdir(parents=True)
    (terminal.data / "hub" / "admin.token").write_text("short")
    process = await terminal.start(
        "up", "--hub-port", str(free_pair()), "--data-dir", str(terminal.data)
    )
    _, err = await process.communicate()
    assert process.returncode == 1
    assert "the hub ended with code 2" in err.decode()
    assert "it holds 5 characters" in err.decode()


async def test_when_up_is_killed_hub_and_node_end(terminal: Terminal) -> None:
    process, _ = await terminal.up(port := free_pair())
    its = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(its) == 2
    process.kill()
    await process.communicate()
    await eventually(lambda: not any(map(_runs, its)), "hub and node end")
    assert any(
        "skerry.samples" in words for words in terminal.processes().values()
    )  # workloads go on
    await terminal.up(port)  # and are taken over again


def test_the_welcomes_commands_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status = NodeStatus("id", "n1", {}, "0.1", 7, 0, "/d", None, LinkStatus("online", 0), [], [])
    home, started = Home(tmp_path, 8600), Started("http://x/login", status, context_is_current=True)
    relative = welcome(home, started, ".venv/bin/skerry")
    assert f"Try in another terminal, in {tmp_path}:\n  .venv/bin/skerry get nodes " in relative
    assert "Try in another terminal:\n  /x/bin/skerry get nodes " in welcome(
        home, started, "/x/bin/skerry"
    )
    assert "\n  '/a b/skerry' get nodes " in welcome(home, started, "/a b/skerry")
    assert "skerry up" not in relative


def _runs(pid: str) -> bool:
    """Whether the process is there; who waits for its parent's end has ended."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def hub_of(terminal: Terminal) -> int:
    [pid] = [pid for pid, words in terminal.processes().items() if " hub run " in words]
    return pid
