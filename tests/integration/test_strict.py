"""What `isolation: strict` keeps a native process from, and what it leaves it, with a real keeper as root."""

import asyncio
import os
import socket
import stat
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from skerry.keeper import groups
from skerry.kit.errors import Refused
from skerry.node.ports import ProcessLaunch, RunningInstance, StoredInstance
from skerry.node.workloads.runtimes.confinement import Powers
from skerry.node.workloads.runtimes.process import ProcessRuntime
from skerry.testing.exits import Exits
from skerry.testing.process_device import USERS, ProcessDevice
from skerry.testing.waiting import eventually
from skerry.wire.workload import Allow, Resources

pytestmark = pytest.mark.guarantee("G9")


@pytest.fixture
async def device(short_dir: Path) -> AsyncIterator[ProcessDevice]:
    device = ProcessDevice(short_dir)
    if device.isolation.means.inventory().missing:
        pytest.skip("strict isolation cannot be had on this machine")
    yield device
    await device.end()


@pytest.fixture
def exits() -> Exits:
    return Exits()


@pytest.fixture
async def runtime(device: ProcessDevice, exits: Exits) -> ProcessRuntime:
    runtime = device.agent()
    await runtime.connect(exits)
    return runtime


@pytest.fixture
def listener() -> Iterator[int]:
    """The port of a TCP server on loopback that says «hello»."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                accepted, _ = server.accept()
            except OSError:
                return
            accepted.sendall(b"hello")
            accepted.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


class Strict:
    """Runs Python in strict workloads; each printed word answers one question."""

    def __init__(self, runtime: ProcessRuntime, device: ProcessDevice, exits: Exits) -> None:
        self.runtime = runtime
        self.device = device
        self.exits = exits
        self.count = 0

    async def says(
        self, code: str, allow: Allow | None = None, workload: str = "", **resources: int
    ) -> list[str]:
        """What it prints until its end. An OSError ends it with the name of its errno."""
        self.count += 1
        name = workload or f"w{self.count}"
        launch = self.launch(TRY + code, allow, name, **resources)
        before = len(self.device.printed(name))
        await self.runtime.start(launch)
        exit_ = await self.exits.of(launch.instance)
        assert exit_.code == 0, (exit_, self.device.printed(name))
        return self.device.printed(name)[before:]

    def launch(
        self, code: str, allow: Allow | None = None, workload: str = "w", **resources: int
    ) -> ProcessLaunch:
        return self.device.launch(
            sys.executable,
            "-c",
            code,
            workload=workload,
            strict=True,
            allow=allow,
            resources=Resources(**resources),  # type: ignore[arg-type]  # a test's keywords
        )


TRY = """
import ctypes, errno, os, socket, sys
def attempt(act, *arguments, **options):
    try:
        result = act(*arguments, **options)
        print("done" if result is None else result, flush=True)
    except OSError as error:
        print(errno.errorcode.get(error.errno, error), flush=True)
def call(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
"""


@pytest.fixture
def strict(runtime: ProcessRuntime, device: ProcessDevice, exits: Exits) -> Strict:
    return Strict(runtime, device, exits)


async def test_it_is_a_user_of_its_own_for_ever(strict: Strict) -> None:
    who = "print(os.getuid(), os.getgid(), os.getgroups(), open('/proc/self/status').read().count('CapEff:\\t0000000000000000'))"
    first = await strict.says(who, workload="a")
    other = await strict.says(who, workload="b")
    again = await strict.says(who, workload="a")
    user = (strict.device.directory / "workloads/a").stat().st_uid
    second = (strict.device.directory / "workloads/b").stat().st_uid
    assert {user, second} <= set(USERS)
    assert user != second
    assert first == again == [f"{user} {user} [] 1"]
    assert other == [f"{second} {second} [] 1"]


async def test_those_that_start_together_get_users_of_their_own(strict: Strict) -> None:
    code = "import signal; signal.pause()"
    launches = [strict.launch(code, workload=name) for name in "abcdef"]
    started = await asyncio.gather(*map(strict.runtime.start, launches))
    homes = [strict.device.directory / "workloads" / name for name in "abcdef"]
    assert len({home.stat().st_uid for home in homes}) == len(homes)
    for launch, identity in zip(launches, started, strict=True):
        await strict.runtime.signal(launch.instance, "SIGKILL")
        gone = Path(f"/proc/{identity.pid}")
        await eventually(lambda gone=gone: not gone.exists(), "it has ended")


async def test_those_that_were_given_one_user_are_parted(strict: Strict) -> None:
    homes = [strict.device.directory / "workloads" / name for name in "ab"]
    for home in homes:
        home.mkdir(parents=True)
        os.chown(home, USERS.start, USERS.start)
    who = "print(os.getuid())"
    assert await strict.says(who, workload="a") != await strict.says(who, workload="b")


async def test_files_that_it_had_before_become_its_own(strict: Strict) -> None:
    home = strict.device.directory / "workloads/a"
    (home / "deep").mkdir(parents=True)
    (home / "deep/file").write_text("kept")
    (home / "link").symlink_to("/etc/hostname")
    before = Path("/etc/hostname").stat().st_uid
    code = "print(open('deep/file').read()); open('deep/new', 'w'); print(os.getcwd())"
    assert await strict.says(code, workload="a") == ["kept", str(home)]
    assert (home / "deep/file").stat().st_uid == home.stat().st_uid
    assert Path("/etc/hostname").stat().st_uid == before


async def test_it_sees_programs_and_its_own_files_only(strict: Strict) -> None:
    secret = strict.device.directory / "secret"
    secret.write_text("key")
    secret.chmod(0o666)
    other = strict.device.directory / "workloads/other"
    other.mkdir(parents=True)
    code = (
        f"attempt(open, {str(secret)!r}); attempt(os.listdir, {str(other)!r}); attempt(open, '/etc/shadow')\n"
        "attempt(open, '/usr/x', 'w'); attempt(open, '/etc/hosts', 'a'); attempt(os.listdir, '/srv')\n"
        "attempt(os.listdir, '/sys'); attempt(open, '/new', 'w'); attempt(os.listdir, '/var/lib')\n"
        "open('mine', 'w').write('x'); open('/tmp/mine', 'w').write('x'); open('/dev/null', 'w').write('x')\n"
        "print(open('mine').read(), os.environ['TMPDIR'])"
    )
    gone, denied = "ENOENT", {"EROFS", "EACCES"}
    said = await strict.says(code)
    assert said[:3] == [gone, gone, gone]
    assert {said[3], said[4], said[7]} <= denied
    assert (said[5], said[6], said[8]) == (gone, gone, gone)
    assert said[9] == "x /tmp"
    assert not Path("/tmp/mine").exists()  # noqa: S108


async def test_temporary_files_are_its_own_and_end_with_it(strict: Strict) -> None:
    write = "open('/tmp/note', 'w').write('a'); open('/dev/shm/note', 'w').write('b'); print('ok')"
    assert await strict.says(write, workload="a") == ["ok"]
    look = (
        "attempt(open, '/tmp/note'); attempt(open, '/var/tmp/note'); attempt(open, '/dev/shm/note')"
    )
    assert await strict.says(look, workload="a") == ["ENOENT"] * 3
    fill = "f = open('/tmp/big', 'wb')\nattempt(lambda: [f.write(bytes(1 << 20)) for _ in range(99)] and None)\nos.unlink('/tmp/big'); os._exit(0)"  # fmt: skip
    assert await strict.says(fill) == ["ENOSPC"]


async def test_what_is_allowed_is_seen_and_no_more(strict: Strict, tmp_path: Path) -> None:
    shown, given = tmp_path / "shown", tmp_path / "given"
    for path in (shown, given):
        path.mkdir()
        (path / "file").write_text("content")
    (who,) = await strict.says("print(os.getuid())", workload="w")
    os.chown(given, int(who), -1)
    code = (
        f"print(open('{shown}/file').read()); attempt(open, '{shown}/new', 'w'); attempt(open, '{shown}/file', 'a')\n"
        f"open('{given}/new', 'w').write('x'); print(sorted(os.listdir('{tmp_path}')))"
    )
    granted = Allow(read=[str(shown)], write=[str(given)])
    said = await strict.says(code, granted, workload="w")
    assert said[0] == "content"
    assert set(said[1:3]) <= {"EROFS", "EACCES"}
    assert said[3] == "['given', 'shown']"
    assert (given / "new").read_text() == "x"


async def test_it_has_no_network_but_its_own(strict: Strict, listener: int) -> None:
    code = (
        "def udp(address):\n    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', address)\n"
        f"attempt(socket.create_connection, ('127.0.0.1', {listener})); attempt(socket.create_connection, ('127.0.0.1', 8000))\n"
        "attempt(socket.create_connection, ('192.0.2.1', 80)); attempt(udp, ('192.0.2.1', 53))\n"
        "attempt(socket.socket, socket.AF_PACKET, socket.SOCK_RAW); attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)\n"
        "attempt(socket.socket, 40, socket.SOCK_STREAM)\n"
        "server = socket.create_server(('127.0.0.1', 0)); socket.create_connection(server.getsockname()); print('own')"
    )
    refused, unreachable = "ECONNREFUSED", "ENETUNREACH"
    expected = [refused, refused, unreachable, unreachable, "EPERM", "EPERM", "EPERM", "own"]
    assert await strict.says(code) == expected


async def test_ports_that_are_allowed_and_no_others(strict: Strict, listener: int) -> None:
    code = (
        f"print(socket.create_connection(('127.0.0.1', {listener})).recv(5)); attempt(socket.create_connection, ('127.0.0.1', 8000))\n"
        "attempt(socket.socket, socket.AF_INET, socket.SOCK_DGRAM); attempt(socket.create_server, ('127.0.0.1', 18999))\n"
        "attempt(socket.socket, socket.AF_INET6, socket.SOCK_DGRAM); attempt(socket.socket, socket.AF_INET, socket.SOCK_STREAM, 262)\n"
        "attempt(socket.socket(socket.AF_UNIX).connect, chr(0) + 'abstract')"
    )
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0abstract")
        abstract.listen()
        said = await strict.says(code, Allow(connect=[listener]))
    assert said == ["b'hello'", "EACCES", "EPERM", "EACCES", "EPERM", "EPERM", "EPERM"]


async def test_the_whole_network_when_it_is_allowed(strict: Strict, listener: int) -> None:
    code = f"print(socket.create_connection(('127.0.0.1', {listener})).recv(5)); socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(('127.0.0.1', 0)); print('udp')"
    assert await strict.says(code, Allow(network=True)) == ["b'hello'", "udp"]


async def test_it_cannot_touch_other_processes(strict: Strict) -> None:
    pids = f"({os.getpid()}, {strict.device.keeper_pid()}, 1)"
    code = (
        f"for pid in {pids}:\n"
        "    attempt(os.kill, pid, 0); attempt(open, f'/proc/{pid}/mem', 'rb'); attempt(os.listdir, f'/proc/{pid}')\n"
        "    attempt(call, 101, 16, pid, 0, 0)\n"
    )
    if os.uname().machine != "x86_64":
        pytest.skip("the number of the system call is that of x86_64")
    assert await strict.says(code) == ["EPERM", "ENOENT", "ENOENT", "EPERM"] * 3


async def test_system_calls_that_break_out_are_refused(strict: Strict) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers of the system calls are those of x86_64")
    numbers = (272, 308, 165, 101, 250, 321, 298, 425, 323, 161, 304, 175)
    code = "".join(f"attempt(call, {number}, 0, 0, 0, 0, 0)\n" for number in numbers)
    code += "attempt(call, 435, 0, 0); attempt(call, 56, 0x10000000 | 17, 0, 0, 0, 0)\n"
    code += "import threading, subprocess; t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\n"
    code += "print(subprocess.run(['true']).returncode)"
    said = await strict.says(code)
    assert said == [*["EPERM"] * 12, "ENOSYS", "EPERM", "thread", "0"]


async def test_a_setuid_program_gives_nothing(strict: Strict, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "id"
    program.parent.mkdir()
    program.write_bytes(Path("/usr/bin/id").read_bytes())
    program.chmod(0o4755)
    assert program.stat().st_mode & stat.S_ISUID
    code = f"import subprocess; print(subprocess.run(['{program}', '-u'], capture_output=True, text=True).stdout.strip())"
    who = await strict.says("print(os.getuid())", workload="w")
    assert await strict.says(code, Allow(read=[str(program.parent)]), workload="w") == who


async def test_a_fork_bomb_meets_its_limit_without_being_asked_for_one(strict: Strict) -> None:
    code = "n = 0\ntry:\n    while True:\n        pid = os.fork()\n        if pid == 0: import time; time.sleep(60)\n        n += 1\nexcept OSError: print(n); sys.stdout.flush(); os.killpg(0, 0)"
    assert await strict.says(code) == ["511"]


async def test_it_speaks_by_its_own_socket_and_by_no_other(strict: Strict) -> None:
    run = strict.device.socket.parent
    with socket.socket(socket.AF_UNIX) as own, socket.socket(socket.AF_UNIX) as other:
        for door, name in ((own, "a"), (other, "b")):
            path = run / "w" / name / "sock"
            path.parent.mkdir(parents=True)
            door.bind(str(path))
            path.chmod(0o600)
            door.listen()
        code = (
            f"attempt(socket.socket(socket.AF_UNIX).connect, '{run}/w/a/sock'); attempt(socket.socket(socket.AF_UNIX).connect, '{run}/w/b/sock')\n"
            f"attempt(socket.socket(socket.AF_UNIX).connect, '{run}/keeper.sock'); attempt(os.unlink, '{run}/w/a/sock'); attempt(os.symlink, '/etc/shadow', '{run}/w/a/x')"
        )
        said = await strict.says(code, workload="a")
    assert said[:3] == ["done", "ENOENT", "ENOENT"]
    assert set(said[3:]) <= {"EROFS", "EACCES"}


async def test_it_is_known_after_agent_and_keeper_have_died(
    strict: Strict, device: ProcessDevice, exits: Exits
) -> None:
    launch = strict.launch("import signal; signal.pause()", memory=64 << 20)
    identity = await strict.runtime.start(launch)
    words = strict.runtime.isolation(launch.instance)
    landlock = device.isolation.means.powers.landlock
    user = launch.home.stat().st_uid
    assert words == (
        f"strict: user {user}, cgroup v1 (memory, pids), own files, landlock {landlock}, seccomp, no network"
    )
    await strict.runtime.close()
    device.kill_keeper()
    await eventually(lambda: not device.keeper_pids(), "the keeper has ended")
    agent = device.agent()
    assert await agent.connect(exits) == []
    known = StoredInstance(launch, identity)
    assert await agent.adopt([known]) == [RunningInstance(launch.instance, "w", identity)]
    assert groups.members(str(path) for path in device.isolation.means.existing("w", launch.instance)) == [identity.pid]  # fmt: skip
    await agent.signal(launch.instance, "SIGTERM")
    await exits.of(launch.instance)
    await eventually(
        lambda: device.isolation.means.existing("w", launch.instance) == [], "its groups are gone"
    )


@pytest.mark.parametrize(
    ("powers", "words"),
    [
        (Powers(root=False), "which only root can. Run the node as root"),
        (Powers(root=True, namespaces="Operation not permitted", seccomp=True), "no namespaces"),
        (Powers(root=True), "no seccomp filters"),
        (Powers(root=True, seccomp=True, landlock=5), "allow.connect needs Landlock 6"),
    ],
)
async def test_what_is_missing_is_named_and_nothing_is_started(
    strict: Strict, powers: Powers, words: str
) -> None:
    strict.device.isolation.means.__dict__["powers"] = powers
    launch = strict.launch("", Allow(connect=[443]))
    with pytest.raises(Refused, match=f"«w»: isolation «strict» cannot be had: .*{words}"):
        await strict.runtime.start(launch)
    assert strict.device.processes(launch.instance) == []


@pytest.mark.parametrize("inside", ["", "run"])
async def test_a_link_to_the_nodes_own_data_is_not_followed(
    strict: Strict, tmp_path: Path, inside: str
) -> None:
    link = tmp_path / "link"
    link.symlink_to(strict.device.directory / inside)
    with pytest.raises(Refused, match="a path that the spec grants leads to the node's own data"):
        await strict.runtime.start(strict.launch("", Allow(read=[str(link)])))


async def test_a_command_out_of_sight_is_named(strict: Strict, tmp_path: Path) -> None:
    program = tmp_path / "run.sh"
    launch = strict.device.launch(str(program), strict=True)
    with pytest.raises(Refused, match="process.command .*run.sh is out of its sight. Add it to allow.read"):  # fmt: skip
        await strict.runtime.start(launch)
    data = Allow(read=[str(strict.device.directory / "run")])
    with pytest.raises(Refused, match="allow cannot name .*: the node's own data is at"):
        await strict.runtime.start(strict.launch("", data))
