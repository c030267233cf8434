"""A hostile program as a strict native workload of a real node: everything that it tries is denied, and the node stays well."""

import json
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from tests.command_line import CommandLine
from tests.installation import Installation, Node, installation, sleeper

from skerry.keeper import groups
from skerry.node.workloads.runtimes.isolation import Isolation
from skerry.testing.waiting import eventually
from skerry.wire.people import WorkloadView
from skerry.wire.workload import Allow, ProcessSpec, Resources, Restart, WorkloadSpec

pytestmark = [pytest.mark.timeout(120), pytest.mark.guarantee("G9")]

HOSTILE = """
import ctypes, errno, glob, os, signal, socket, subprocess, sys, time
from skerry import sdk
data, agent, keeper, victim, port = sys.argv[1], *map(int, sys.argv[2:])
def attempt(name, act, *arguments):
    try:
        act(*arguments)
        print("BREACH", name, flush=True)
    except (OSError, subprocess.SubprocessError) as error:
        print("denied", name, flush=True)
def udp(address):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", address)
def unix(path):
    socket.socket(socket.AF_UNIX).connect(path)
def run(words):
    subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL)
def ptrace(pid):
    if ctypes.CDLL(None, use_errno=True).ptrace(16, pid, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")
for path in ("node.secret", "identity.json", "node.db", "logs/victim/current.log", "workloads/victim/private", "records"):
    attempt(path, open, f"{data}/{path}", "rb")
    attempt(f"{path} to write", open, f"{data}/{path}", "ab")
for path in ("/etc/shadow", "/etc/ssh", "/root/.ssh/authorized_keys", "/proc/kcore", "/dev/mem", "/dev/vda"):
    attempt(path, open, path, "rb")
for path in ("/usr/bin/planted", "/etc/ld.so.preload", f"{data}/planted", "/proc/sys/kernel/core_pattern", "/etc/passwd"):
    attempt(f"{path} to write", open, path, "a")
for path in ("run/admin.sock", "run/keeper.sock", "run/w/victim/sock"):
    attempt(path, unix, f"{data}/{path}")
for pid in (agent, keeper, victim):
    attempt(f"memory of {pid}", open, f"/proc/{pid}/mem", "rb")
    attempt(f"environment of {pid}", open, f"/proc/{pid}/environ", "rb")
    attempt(f"debugging {pid}", ptrace, pid)
    for number in (0, signal.SIGTERM, signal.SIGKILL):
        attempt(f"signal {number} to {pid}", os.kill, pid, number)
for address in (("127.0.0.1", port), ("127.0.0.1", 8000), ("192.0.2.1", 443)):
    attempt(f"TCP to {address}", socket.create_connection, address, 2)
attempt("UDP", udp, ("192.0.2.1", 53))
attempt("abstract socket", unix, chr(0) + "/tmp/.X11-unix/X0")
for words in (["su", "-c", "true"], ["mount", "-t", "tmpfs", "x", "/tmp"], ["unshare", "-U", "true"], ["chroot", "/", "true"]):
    attempt(" ".join(words), run, words)
bomb = "import os, time\\nwhile True:\\n    try: os.fork()\\n    except OSError: time.sleep(0.5)"
subprocess.Popen([sys.executable, "-c", bomb])
def grow():
    for _ in range(70):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
time.sleep(0.5)
attempt("another process after the bomb", grow)
sdk.publish("hostile.value", 1)
print("published", flush=True)
signal.pause()
"""

VICTIM = """
import signal
for path in ("private", "/tmp/private"):
    open(path, "w").write("mine")
signal.pause()
"""
NEIGHBOUR = """
import os, signal, sys
from skerry import sdk
mine = [path for path in ("/tmp/private", f"{sys.argv[1]}/workloads/victim") if os.path.exists(path)]
sdk.publish("neighbour.sees", len(mine) + len([name for name in os.listdir(f"{sys.argv[1]}/workloads") if name != "neighbour"]))
signal.pause()
"""


def strict(name: str, code: str, *arguments: object, **fields: object) -> WorkloadSpec:
    words = ["python", "-c", code, *map(str, arguments)]
    known: dict[str, object] = {"process": ProcessSpec(command=words), "isolation": "strict"}
    return WorkloadSpec(name=name, **known | fields)  # type: ignore[arg-type]


@pytest.fixture
async def site(short_dir: Path) -> AsyncIterator[Installation]:
    if Isolation("test", short_dir, range(0)).means.inventory().missing:
        pytest.skip("strict isolation cannot be had on this machine")
    async with installation(short_dir) as site:
        yield site


async def test_everything_is_denied_and_the_node_stays_well(site: Installation) -> None:
    node = await site.started(strict("victim", VICTIM))
    private = node.directory / "workloads/victim/private"
    await eventually(private.exists, "the victim has something to lose")
    status = await node.status()
    assert status is not None
    victim = (await node.pids())["victim"]
    hostile = strict(
        "hostile", HOSTILE, node.directory, status.pid, status.keeper_pid, victim, site.hub.port,
        resources=Resources(pids=60, memory=256 << 20, cpu=0.5),
    )  # fmt: skip
    await site.hub.apply(hostile, strict("neighbour", NEIGHBOUR, node.directory))
    log = node.directory / "logs/hostile/current.log"
    await eventually(
        lambda: log.exists() and "published" in log.read_text(), "it has tried it all", 60
    )
    said = log.read_text()
    assert "BREACH" not in said
    assert said.count(" denied ") == 54
    await eventually(lambda: site.hub.has("hostile.value", 1), "what it publishes arrives")
    await eventually(lambda: site.hub.has("neighbour.sees", 1), "the neighbour has looked")
    assert [row.value for row in await site.hub.rows("neighbour.sees")] == [0]
    assert private.read_text() == "mine"
    after = await node.status()
    assert after is not None
    assert (after.pid, after.keeper_pid) == (status.pid, status.keeper_pid)
    assert (await node.pids())["victim"] == victim
    # The bomb is all in one group, and ends with its workload.
    await site.hub.apply(strict("victim", VICTIM), prune=True)
    await eventually(lambda: len(_groups(node, "hostile")) == 0, "nothing of it is left")
    assert await node.runs("victim")


async def test_the_status_tells_what_is_in_force_over_restarts(site: Installation) -> None:
    node = await site.started(
        strict("cam", VICTIM, resources=Resources(memory=64 << 20), allow=Allow(connect=[site.hub.port])),
        sleeper("plain"),
        sleeper("small", resources=Resources(memory=64 << 20)),
    )  # fmt: skip
    told = await _isolation(node)
    assert told["plain"] == "standard"
    assert told["small"] == "standard: cgroup v1 (memory)"
    assert told["cam"].startswith("strict: user 64")
    assert told["cam"].endswith(f"seccomp, TCP to {site.hub.port} only")
    before = await node.pids()
    await node.kill()
    await node.start()
    await node.ready()
    await eventually(lambda: node.runs("cam", "plain", "small"), "the next agent has them")
    assert await node.pids() == before
    assert await _isolation(node) == told
    await node.kill()
    keeper = [pid for pid in node.processes() if pid not in before.values()]
    for pid in keeper:
        os.kill(pid, signal.SIGKILL)
    await node.start()
    await node.ready()
    await eventually(lambda: node.runs("cam", "plain", "small"), "and the one after it")
    assert await node.pids() == before
    assert await _isolation(node) == told
    shell = CommandLine(site)
    shown = await shell.run("node", "status", "--data-dir", str(node.directory))
    assert told["cam"] in shown.out
    listed = await shell.run("get", "workloads", "cam", "-o", "json")
    assert json.loads(listed.out)[0]["nodes"]["n1"]["status"]["isolation"] == told["cam"]
    doctor = await shell.run("doctor", "--data-dir", str(node.directory))
    assert "«isolation: strict» can be had" in doctor.out


async def test_out_of_memory_is_told_at_the_hub(site: Installation) -> None:
    bomb = "x = []\nwhile True: x.append(bytearray(1 << 20))"
    small = Resources(memory=32 << 20)
    once = Restart(policy="never")
    node = site.node()
    await node.enrol(site.hub)
    await site.hub.apply(strict("bomb", bomb, resources=small, restart=once))
    await node.start()
    await node.ready()
    await eventually(partial(_ended, site, "signal 9 (out of memory)"), "the hub knows why")


async def _ended(site: Installation, how: str) -> bool:
    async with site.hub.api() as api:
        views = await api.get("/api/v1/workloads", list[WorkloadView], {"name": "bomb"})
    found = [each.status for view in views for each in view.nodes.values()]
    return any(status is not None and str(status.exit) == how for status in found)


async def _isolation(node: Node) -> dict[str, str]:
    status = await node.status()
    assert status is not None
    return {each.workload: each.isolation for each in status.workloads}


def _groups(node: Node, workload: str) -> list[int]:
    owner = json.loads((node.directory / "containers.json").read_text())["mark"]
    return groups.members(
        str(path) for path in Path("/sys/fs/cgroup").glob(f"*/skerry/{owner}/{workload}~*")
    )
