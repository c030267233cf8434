"""`isolation: strict`, between fork and exec: files, processes, network and system calls of its own. Reasons: docs/adr/0006.

Every step raises OSError when the kernel refuses it, and then nothing is started: there is no weaker form. The
agent decides (`node.workloads.runtimes.confinement`); the fields of its request:

    user     number of the user and the group that the workload becomes
    network  own (a loopback that leads nowhere), ports (the device's, TCP to `port` only) or device (all of it)
    show     a file or directory that it sees, read-only; one that does not exist is left out
    give     the same, writable
    private  the node's data directory: no link outside leads to it, whoever made the link since the agent looked
    room     bytes for /tmp and /dev/shm, which are its own and end with it
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterator

from skerry.keeper import landlock, syscall_filter
from skerry.keeper.kernel import (
    MACHINES,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    Kernel,
)
from skerry.keeper.protocol import Message, ProtocolError

Step = tuple[str, Callable[[], None]]

_NEWNS, _NEWIPC, _NEWNET = 0x20000, 0x08000000, 0x40000000
_NETWORKS = ("own", "ports", "device")
_BASE = "/proc"
"""Where the new root is put together; any directory that is surely there."""

_OLD = "/.device"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


class Confinement:
    """What one instance is confined to. Raises ProtocolError."""

    def __init__(self, request: Message) -> None:
        self.kernel = Kernel()
        if self.kernel.machine not in MACHINES:
            raise ProtocolError(f"confining is not possible on «{self.kernel.machine}» machines")
        self.user = request.number("user")
        self.network = request.text("network")
        if self.user <= 0 or self.network not in _NETWORKS:
            raise ProtocolError("«user» or «network» makes no sense")
        self.ports = [int(port) for port in request.all("port")]
        self.shown = request.all("show")
        self.given = request.all("give")
        self.private = request.text("private")
        self.room = request.number("room")

    def around(self) -> Iterator[Step]:
        """What needs root."""
        yield "namespaces", self._unshare
        yield "links", self._check_links
        yield "files", self._make_root
        if self.network == "own":
            yield "loopback", _raise_loopback

    def joining(self, pidfd: int) -> Iterator[Step]:
        """Instead of `around`: the namespaces of a process that is confined already."""
        yield "namespaces", lambda: self.kernel.join(pidfd, _NEWNS | _NEWIPC | _NEWNET)

    def within(self) -> Iterator[Step]:
        """What is given up for good, in the new root."""
        yield "user", self._become_user
        if self.network == "ports" or self.kernel.landlock_version():
            yield "landlock", self._restrict
        yield "seccomp", self._filter

    def _unshare(self) -> None:
        alone = _NEWNET if self.network == "own" else 0
        self.kernel.unshare(_NEWNS | _NEWIPC | alone)

    def _check_links(self) -> None:
        private = os.path.realpath(self.private)
        for path, source, _ in self._sources():
            meets = _within(source, private) or _within(private, source)
            if meets and not _within(path, self.private):
                raise PermissionError(errno.EACCES, "leads to the node's own data", path)

    def _make_root(self) -> None:
        """An empty root in memory, with what it is to see bound into it at the same paths."""
        kernel = self.kernel
        sources = self._sources()
        kernel.mount("none", "/", "", MS_REC | MS_PRIVATE)
        options = f"size={self.room},mode=755"
        kernel.mount("skerry", _BASE, "tmpfs", MS_NOSUID | MS_NODEV, options)
        os.mkdir(_BASE + _OLD)
        kernel.pivot_root(_BASE, _BASE + _OLD)
        os.chdir("/")
        umask = os.umask(0o022)
        self._make_own()
        for path, source, flags in sources:
            self._bind(path, source, flags)
        kernel.detach(_OLD)
        os.rmdir(_OLD)
        os.umask(umask)

    def _make_own(self) -> None:
        """What every program expects, and what is nobody else's."""
        for path, mode in (("/proc", 0o755), ("/dev", 0o755), ("/tmp", 0o1777), ("/dev/shm", 0o1777), ("/var", 0o755)):  # fmt: skip  # noqa: S108
            os.mkdir(path)
            os.chmod(path, mode)
        os.symlink("/tmp", "/var/tmp")  # noqa: S108
        # Each mount has its own options: other users' processes do not show in this one.
        flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
        self.kernel.mount("proc", "/proc", "proc", flags, "hidepid=2")
        for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
            os.symlink(f"/proc/self/fd{target}", f"/dev/{name}")
        for name in _DEVICES:
            path = f"/dev/{name}"
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
            self.kernel.mount(_OLD + path, path, "", MS_BIND)

    def _sources(self) -> list[tuple[str, str, int]]:
        """(path, what is there really, flags of its mount): outer directories first, links last."""
        wanted = dict.fromkeys(self.shown, MS_RDONLY | MS_NOSUID)
        wanted |= dict.fromkeys(self.given, MS_NOSUID)
        found = [(path, os.path.realpath(path), flags) for path, flags in wanted.items()]
        return sorted(found, key=lambda each: (each[0] != each[1], each[0]))

    def _bind(self, path: str, source: str, flags: int) -> None:
        seen = os.path.lexists(path)
        if not seen and source != path and os.path.lexists(source):
            # A link into what it sees already, as /bin is: the link will do.
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(source, path)
            return
        if not os.path.exists(_OLD + source):
            return  # a link that leads nowhere
        if not seen:
            _make_place(path, is_directory=os.path.isdir(_OLD + source))
        self.kernel.mount(_OLD + source, path, "", MS_BIND | MS_REC)
        # Only below /dev do people mean a device.
        self.kernel.set_mount_flags(path, flags | (0 if path.startswith("/dev") else MS_NODEV))

    def _become_user(self) -> None:
        os.setgroups([])
        os.setresgid(self.user, self.user, self.user)
        os.setresuid(self.user, self.user, self.user)

    def _restrict(self) -> None:
        ports = self.ports if self.network == "ports" else None
        there = [path for path in self.given if os.path.exists(path)]
        writable = [*there, "/tmp", "/dev/shm"]  # noqa: S108
        landlock.restrict(self.kernel, ("/dev", "/proc"), writable, ports)

    def _filter(self) -> None:
        code = syscall_filter.program(self.kernel.machine, tcp_only=self.network == "ports")
        syscall_filter.install(self.kernel, code)


def _within(path: str, directory: str) -> bool:
    return os.path.commonpath((path, directory)) == directory


def _make_place(path: str, *, is_directory: bool) -> None:
    """Something to mount on."""
    os.makedirs(path if is_directory else os.path.dirname(path), exist_ok=True)
    if not is_directory:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _raise_loopback() -> None:
    """What a workload says to itself arrives."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        request = struct.pack("16sH14x", b"lo", _IFF_UP)
        fcntl.ioctl(door.fileno(), _SIOCSIFFLAGS, request)
