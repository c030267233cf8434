"""A hostile container under `isolation: strict`: what it tries is denied, and its own socket works all the same."""

import json
from functools import partial
from pathlib import Path

import pytest
from tests.container_site import box, log_of, of_image, says, with_engine
from tests.engines import IMAGE, TestEngine, ask
from tests.installation import installation, restart_never, sleeper

from skerry.testing.waiting import eventually
from skerry.wire.workload import ContainerSpec, Resources

pytestmark = pytest.mark.timeout(180)

HOSTILE = """
import ctypes, http.client, json, os, signal, socket, sys, time
data, agent, engine, hub = os.environ["DATA"], os.environ["AGENT"], os.environ["ENGINE"], int(os.environ["HUB"])

def attempt(name, act):
    try:
        got = act()
    except BaseException as error:
        print(name, "denied", type(error).__name__, flush=True)
    else:
        print(name, "ALLOWED", repr(got)[:80], flush=True)

def connect(address):
    found = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    found.settimeout(2)
    found.connect(address)

def listen_to_pid_of_host(path):
    with open(path, "rb") as file:
        return file.read(64)

def fork_bomb():
    children = []
    try:
        for number in range(1000):
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments):
        raise OSError(ctypes.get_errno(), name)

def syscall(*arguments):
    got = libc.syscall(*arguments)
    if got < 0:
        raise OSError(ctypes.get_errno(), "syscall")
    return got

def clone_in_user_namespace():
    child = syscall(56 if os.uname().machine == "x86_64" else 220, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)

attempt("neighbour", lambda: os.listdir(data + "/workloads/neighbour"))
attempt("key", lambda: open(data + "/identity.json").read())
attempt("secret", lambda: open("/run/skerry/../../" + data + "/secret").read())
attempt("others-socket", lambda: connect(data + "/run/w/neighbour/sock"))
attempt("admin", lambda: connect(data + "/run/admin.sock"))
attempt("memory", lambda: open("/proc/" + agent + "/mem", "rb").read(1))
attempt("engine", lambda: connect(engine))
attempt("shadow", lambda: open("/etc/shadow").read())
attempt("shadow-by-proc", lambda: open("/proc/1/root/../etc/shadow").read())
attempt("hub", lambda: connect(("127.0.0.1", hub)))
attempt("out", lambda: connect(("198.51.100.1", 80)))
attempt("root", lambda: os.setuid(0))
attempt("write", lambda: open("/usr/x", "w"))
attempt("device", lambda: os.mknod("/tmp/sda", 0o60666, os.makedev(8, 0)))
attempt("mount", lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None))
attempt("trace", lambda: call("ptrace", 16, 1, 0, 0))
attempt("user-namespace", lambda: call("unshare", 0x10000000))
attempt("user-namespace-of-a-child", lambda: clone_in_user_namespace())
attempt("host-by-vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
attempt("kernel-crypto", lambda: socket.socket(38, socket.SOCK_SEQPACKET))
attempt("audit", lambda: syscall(41 if os.uname().machine == "x86_64" else 198, 16, 3, ctypes.c_long(1 << 32 | 9)))
attempt("keys", lambda: syscall(250 if os.uname().machine == "x86_64" else 219, 0, -3, 0))
attempt("kernel", lambda: open("/proc/sysrq-trigger", "w").write("b"))
attempt("bomb", fork_bomb)

class Door(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["SKERRY_SOCKET"])
record = {"name": "box.value", "value": 42}
door = Door("node")
door.request("POST", "/v1/publish", json.dumps({"records": [record]}), {"Content-Type": "application/json"})
print("published", door.getresponse().status, flush=True)
open("/tmp/mine", "w").write("fine")
print("programs in /tmp", not os.statvfs("/tmp").f_flag & os.ST_NOEXEC)
print("uid", os.getuid(), os.getgid(), flush=True)
"""
"""Runs to its end; each attempt prints what came of it."""

ATTEMPTS = 24


@pytest.mark.guarantee("G9")
async def test_a_hostile_container(short_dir: Path, engine: TestEngine) -> None:
    async with installation(short_dir) as site:
        node = with_engine(site.node(), engine)
        await node.enrol(site.hub)
        await site.hub.apply(sleeper("neighbour"))
        await node.start()
        await eventually(lambda: node.runs("neighbour"), node.log.read_text())
        assert node.process.process is not None
        surroundings = {
            "DATA": str(node.directory),
            "AGENT": str(node.process.process.pid),
            "ENGINE": str(engine.socket),
            "HUB": str(site.hub.port),
        }
        hostile = ContainerSpec(image=IMAGE, command=["python3", "-c", HOSTILE], user="1000")
        strict = box(
            "box", container=hostile, env=surroundings, restart=restart_never(), isolation="strict"
        )
        await site.hub.apply(sleeper("neighbour"), strict)
        await eventually(partial(says, node, "box", "code 0"), "it ends", 60)
        log = log_of(node, "box")
        assert "ALLOWED" not in log, log
        assert log.count(" denied ") == ATTEMPTS, log
        assert "published 200" in log, log
        assert "uid 1000 1000" in log
        assert "programs in /tmp True" in log
        await eventually(lambda: site.hub.has("box.value", 1), "its value is at the hub")
        assert await node.runs("neighbour")


async def test_strict_containers_are_not_shown_what_is_private(
    short_dir: Path, engine: TestEngine
) -> None:
    async with installation(short_dir) as site:
        node = with_engine(site.node(), engine)
        await node.enrol(site.hub)
        shown = ContainerSpec(image=IMAGE, volumes=[f"{engine.directory}:/engine"])
        await site.hub.apply(box("box", container=shown, isolation="strict"))
        await node.start()
        refused = f"isolation «strict» gives no container {engine.directory}"
        await eventually(partial(says, node, "box", refused), "it is refused")
        assert _containers(engine) == []


async def test_gpus_that_the_engine_does_not_have(short_dir: Path, engine: TestEngine) -> None:
    async with installation(short_dir) as site:
        node = with_engine(site.node(), engine)
        await node.enrol(site.hub)
        await site.hub.apply(box("box", container=of_image(IMAGE, gpus="all")))
        await node.start()
        refused = "cannot start workload «box»: «container.gpus» is all, and the engine"
        await eventually(partial(says, node, "box", refused), "it is refused")
        assert _containers(engine) == []


async def test_the_kernels_reason_is_told(short_dir: Path, engine: TestEngine) -> None:
    bomb = "x = []\nwhile True: x.append(bytearray(1 << 20))"
    async with installation(short_dir) as site:
        node = with_engine(site.node(), engine)
        await node.enrol(site.hub)
        small = Resources(memory=64 << 20)
        command = of_image(IMAGE, "python3", "-c", bomb)
        await site.hub.apply(
            box("bomb", container=command, resources=small, restart=restart_never())
        )
        await node.start()
        reason = partial(says, node, "bomb", "signal 9 (out of memory)")
        await eventually(reason, "it is told why")


def _containers(engine: TestEngine) -> list[object]:
    found: list[object] = json.loads(ask(engine.socket, "GET", "/v1.40/containers/json?all=1")[1])
    return found
