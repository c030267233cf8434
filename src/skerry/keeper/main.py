"""The keeper's start and its single-threaded loop: sockets and processes first, output after them.

It outlives the agent, holds no files of the store and needs nothing but the standard library. Its own end,
even by SIGKILL, ends no workload: the agent starts another keeper, which adopts them (`protocol`).
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Sequence

from skerry.keeper.children import Origin
from skerry.keeper.connections import Connection
from skerry.keeper.instances import Instances
from skerry.keeper.loop import Loop
from skerry.keeper.requests import Requests

_BACKLOG = 128
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38


def main(arguments: Sequence[str]) -> int:
    """Serves the socket that the only argument names until SIGTERM or «quit». Closes stdout once it answers."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -I -S skerry/keeper/__main__.py SOCKET\n")
        return 2
    path = os.path.abspath(arguments[0])
    origin = _settle()
    lock = _lock(f"{path}.lock")
    if lock is None:
        sys.stderr.write(f"keeper: another keeper serves {path}; this one ends\n")
        return 1
    keeper = Keeper(_listen(path), origin)
    os.dup2(os.open("/dev/null", os.O_RDWR), 1)
    # What exists now lives as long as the keeper: the collector must not touch it in every forked child.
    gc.freeze()
    keeper.run()
    _unlink(path)
    os.close(lock)
    return 0


def _settle() -> Origin:
    """Makes this process independent of its starter; returns what its children shall still inherit."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            _close(int(name))
    while (fd := os.open("/dev/null", os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    if os.getsid(0) != os.getpid():
        os.setsid()
    os.chdir("/")
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
        # Not SIG_IGN: exec would pass that on to workloads. SIGCHLD must reach the wakeup descriptor.
        signal.signal(number, lambda _number, _frame: None)
    prctl = ctypes.CDLL(None).prctl
    # Inherited by every child and never given back: no workload gains rights by a set-uid program.
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # What workloads leave behind becomes our child, not init's (`instances`).
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return Origin(os.umask(0o077), (soft, hard))


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        return  # the descriptor of the directory listing itself


def _lock(path: str) -> int | None:
    """The lock that one keeper per socket holds. A record lock: forked children do not inherit it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _listen(path: str) -> socket.socket:
    """The listening socket; one that a dead keeper left behind is replaced (the lock says that it is dead)."""
    _unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    os.chmod(path, 0o600)
    listener.listen(_BACKLOG)
    listener.settimeout(0)
    return listener


class Keeper:
    """Puts the parts together and turns the loop until it is told to end."""

    def __init__(self, listener: socket.socket, origin: Origin) -> None:
        self._listener = listener
        self._loop = Loop(time.monotonic)
        self._instances = Instances(self._loop, origin, time.time_ns)  # noqa: TID251 - the only clocks here
        self._requests = Requests(self._instances)
        self._stopping = False

    def run(self) -> None:
        """Serves until SIGTERM or «quit»; workloads go on after both."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._loop.watch(self._listener.fileno(), self._accept)
        self._loop.watch(wake_read, lambda: self._woken(os.read(wake_read, 64)))
        # Wakes the loop; a handler only sets a flag, so it may run in the middle of anything.
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self._stopping and not self._requests.quitting:
            self._loop.turn()
        self._instances.leave()

    def _woken(self, signals: bytes) -> None:
        if signal.SIGCHLD in signals:
            self._instances.reap_orphans()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # the peer gave up, or descriptors are short and the next turn tries again
        Connection(sock, self._loop, self._requests.handle, self._requests.forget)

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True
