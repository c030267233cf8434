"""Docker and Podman for tests: engines of our own, started by hand as root, with one image made of this machine's Python.

Nothing of theirs touches the machine's own engines: root, state, socket and cgroup parent lie in a directory of theirs.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO
from urllib.parse import urlencode

import pytest
from tests.small_disk import small_disk

IMAGE = "localhost/skerry-test-python:latest"
"""Podman gives no other tag to what is imported."""
NAMES = ("docker", "podman")
PYTHON_CHANGES = "".join(
    f"&changes={change}"
    for change in (
        "ENV%20LD_LIBRARY_PATH=/usr/lib/host",
        "ENV%20PYTHONHOME=/usr",
        "ENV%20PATH=/usr/bin",
    )
)
"""For `import_image`: what the Python of `image_archive` needs in order to run."""
_START_WITHIN = 60.0
_LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "site-packages"}
_LEFT_OUT |= {"ensurepip", "lib2to3", "pydoc_data", "distutils"}
_COMPILED = f".{sys.implementation.cache_tag}.pyc"

_PODMAN_SETTINGS = """\
[network]
network_config_dir = "{directory}/networks"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""


_REGISTRIES = """\
[[registry]]
location = "127.0.0.1"
insecure = true
"""
"""Docker trusts loopback anyway."""


@dataclass
class TestEngine:
    """A running engine; `directory` has its root, which may be a disk of its own (`root`)."""

    __test__ = False

    name: str
    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def socket(self) -> Path:
        return self.directory / "engine.sock"

    @property
    def root(self) -> Path:
        return self.directory / "root"

    def kill(self) -> None:
        """SIGKILL to the engine's own process."""
        self.process.kill()
        self.process.wait(timeout=30)

    def start(self) -> None:
        """Starts it again. Where nobody reaps orphans, dockerd takes its old containerd, a zombie, for alive."""
        (self.directory / "exec/containerd/containerd.pid").unlink(missing_ok=True)
        self.process = _start(self.name, self.directory)


@pytest.fixture(scope="session")
def docker_daemon() -> Iterator[TestEngine]:
    """Docker, with IMAGE in it."""
    with running("docker") as found:
        yield found


@pytest.fixture(scope="session")
def podman_daemon() -> Iterator[TestEngine]:
    """Podman, with IMAGE in it."""
    with running("podman") as found:
        yield found


@pytest.fixture
def docker_engine(docker_daemon: TestEngine) -> Iterator[TestEngine]:
    """Docker, without containers: what a dying agent's last request made after the last test goes, too."""
    remove_containers(docker_daemon.socket)
    yield docker_daemon
    remove_containers(docker_daemon.socket)


@pytest.fixture
def podman_engine(podman_daemon: TestEngine) -> Iterator[TestEngine]:
    """Podman, likewise."""
    remove_containers(podman_daemon.socket)
    yield podman_daemon
    remove_containers(podman_daemon.socket)


@pytest.fixture(params=NAMES)
def engine(request: pytest.FixtureRequest) -> TestEngine:
    """One engine after the other; no container is left in it."""
    found: TestEngine = request.getfixturevalue(f"{request.param}_engine")
    return found


@contextlib.contextmanager
def running(name: str, root_megabytes: int = 0) -> Iterator[TestEngine]:
    """Starts an engine and loads IMAGE; nothing is left of it. With `root_megabytes` it has a small disk, and no image."""
    directory = Path(tempfile.mkdtemp(prefix="sk-en-", dir="/tmp"))
    root = directory / "root"
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        stack.callback(_unmount, directory)
        if root_megabytes:
            stack.enter_context(small_disk(root, root_megabytes))
        found = TestEngine(name, directory, _start(name, directory))
        try:
            if not root_megabytes:
                _import(found.socket)
            yield found
        finally:
            remove_containers(found.socket)
            found.process.send_signal(signal.SIGTERM)
            found.process.wait(timeout=30)
            _end_monitors(directory)
            _unmount(root)


def _end_monitors(directory: Path) -> None:
    """Podman's monitor of a command in a container stays for five minutes after the command."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = path.read_bytes().split(b"\0")
            if words[0].endswith(b"/conmon") and any(bytes(directory) in word for word in words):
                os.kill(int(path.parent.name), signal.SIGKILL)


def _start(name: str, directory: Path) -> subprocess.Popen[bytes]:
    path = directory / "engine.sock"
    environment = dict(os.environ)
    if name == "podman":
        (directory / "containers.conf").write_text(_PODMAN_SETTINGS.format(directory=directory))
        environment["CONTAINERS_CONF"] = str(directory / "containers.conf")
        (directory / "registries.conf").write_text(_REGISTRIES)
        environment["CONTAINERS_REGISTRIES_CONF"] = str(directory / "registries.conf")
    words = _command(name, directory, path)
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            words,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=directory,  # conmon leaves a file «oom» where it is
            start_new_session=True,
        )
    _wait(lambda: _answers(path), (directory / "log").read_text)
    return process


def _command(name: str, directory: Path, path: Path) -> list[str]:
    if name == "docker":
        return [
            *("dockerd", "-H", f"unix://{path}", "--data-root", f"{directory}/root"),
            *("--exec-root", f"{directory}/exec", "--pidfile", f"{directory}/pid"),
            *("--bridge=none", "--iptables=false", "--ip6tables=false", "--log-level=warn"),
        ]
    return [
        *("podman", "--root", f"{directory}/root", "--runroot", f"{directory}/run"),
        *("system", "service", "--time=0", f"unix://{path}"),
    ]


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self._path))


def ask(
    path: Path,
    method: str,
    target: str,
    body: bytes | IO[bytes] | None = None,
    kind: str = "application/json",
) -> tuple[int, bytes]:
    """One request to an engine, for what the product has no call for."""
    connection = _Connection(path)
    try:
        connection.request(method, target, body, {"Content-Type": kind} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def saved_as(path: Path, image: str) -> bytes:
    """IMAGE as an archive under another name, which the engine does not have afterwards."""
    name, _, tag = image.rpartition(":")
    query = urlencode({"repo": name, "tag": tag})
    assert ask(path, "POST", f"/v1.40/images/{IMAGE}/tag?{query}")[0] == 201
    status, archive = ask(path, "GET", f"/v1.40/images/{image}/get")
    assert status == 200
    ask(path, "DELETE", f"/v1.40/images/{image}")
    return archive


def _answers(path: Path) -> bool:
    try:
        return ask(path, "GET", "/version")[0] == 200
    except OSError:
        return False


def _import(path: Path) -> None:
    import_image(path, IMAGE, image_archive(), PYTHON_CHANGES)


def import_image(path: Path, image: str, archive: bytes | IO[bytes], changes: str = "") -> None:
    """Makes an image of a root file system; `changes` is the end of the request's query."""
    name, _, tag = image.rpartition(":")
    target = f"/v1.40/images/create?fromSrc=-&repo={name}&tag={tag}{changes}"
    status, answer = ask(path, "POST", target, archive, "application/x-tar")
    assert status == 200, answer


def remove_containers(path: Path) -> None:
    """Removes every container of the engine. One that just ends or begins is refused for that moment."""
    found: list[dict[str, object]] = []

    def are_gone() -> bool:
        found[:] = json.loads(ask(path, "GET", "/v1.40/containers/json?all=1")[1])
        for one in found:
            ask(path, "DELETE", f"/v1.40/containers/{one['Id']}?force=1&v=1")
        return not found

    with contextlib.suppress(OSError):
        _wait(are_gone, lambda: f"these stay: {found}")


def _unmount(directory: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{directory}/")), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False)


@functools.cache
def image_archive() -> bytes:
    """A root file system with this machine's Python, its standard library and the libraries that they need."""
    buffer = BytesIO()
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    program = Path(sys.base_prefix, "bin", version).resolve()
    library = Path(sys.base_prefix, "lib", version)
    needed = libraries(program)
    with tarfile.open(fileobj=buffer, mode="w") as image:
        image.add(program, f"usr/bin/{version}")
        for file in _standard_library(library):
            image.add(file, f"usr/lib/{version}/{file.relative_to(library)}", recursive=False)
            if file.suffix == ".so":
                needed |= libraries(file)
        for path in sorted(needed):
            loader = path.name.startswith("ld-linux")
            image.add(path.resolve(), str(path) if loader else f"usr/lib/host/{path.name}")
        _link(image, "usr/bin/python3", version)
        _link(image, "bin", "usr/bin")
        _file(
            image,
            "etc/passwd",
            b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
        )
        for name in ("tmp", "root", "dev", "proc", "sys", "run"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            image.addfile(entry)
    return buffer.getvalue()


def _standard_library(library: Path) -> list[Path]:
    """With what this machine has compiled of it: a container would do it again at each start."""
    found = []
    for path in library.rglob("*"):
        parts = path.relative_to(library).parts
        left_out = _LEFT_OUT & set(parts) or parts[0].startswith("config-")
        of_others = path.suffix == ".pyc" and not path.name.endswith(_COMPILED)
        if path.is_file() and not left_out and not of_others and path.suffix != ".a":
            found.append(path)
    return found


def libraries(program: Path) -> set[Path]:
    """What the loader loads for a program or a library."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return {
        Path(word) for line in listed.splitlines() for word in line.split() if word.startswith("/")
    }


def _link(image: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    image.addfile(entry)


def _file(image: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    image.addfile(entry, BytesIO(content))


def _wait(condition: Callable[[], bool], why: Callable[[], str]) -> None:
    deadline = time.monotonic() + _START_WITHIN
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)
