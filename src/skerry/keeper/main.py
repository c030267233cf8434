"""The keeper's start and its single-threaded loop: sockets and processes first, output after them.

It outlives the agent, holds no files of the store and needs nothing but the standard library. Its own end,
even by SIGKILL, ends no workload: the agent starts another keeper, which adopts them (`protocol`).
"""

from __future__ import annotations

import ctypes
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
from skerry.keeper.endpoint import Endpoint
from skerry.keeper.instances import Instances
from skerry.keeper.loop import Loop
from skerry.keeper.requests import Requests

_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38


def main(arguments: Sequence[str]) -> int:
    """Serves the socket that the only argument names until SIGTERM or «quit». Closes stdout once it answers.

    SIGHUP makes it look whether its socket is still there, and listen again if not.
    """
    if len(arguments) != 1:
        sys.stderr.write("usage: python -I -S skerry/keeper/__main__.py SOCKET\n")
        return 2
    origin = _settle()
    endpoint = Endpoint(arguments[0])
    listener = endpoint.open()
    if listener is None:
        sys.stderr.write(f"keeper: another keeper serves {arguments[0]}; this one ends\n")
        return 1
    keeper = Keeper(endpoint, listener, origin)
    os.dup2(os.open("/dev/null", os.O_RDWR), 1)
    # What exists now lives as long as the keeper: the collector must not touch it in every forked child.
    gc.freeze()
    keeper.run()
    endpoint.close()
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


class Keeper:
    """Puts the parts together and turns the loop until it is told to end."""

    def __init__(self, endpoint: Endpoint, listener: socket.socket, origin: Origin) -> None:
        self._endpoint = endpoint
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
            self._let_go()
        self._instances.leave()

    def _let_go(self) -> None:
        """Of sockets that nobody comes for: only their ports would be kept from others."""
        instances = self._instances
        is_needed = instances.running or self._requests.attached
        if instances.sockets and not is_needed and self._endpoint.is_homeless():
            instances.let_go()

    def _woken(self, signals: bytes) -> None:
        if signal.SIGCHLD in signals:
            self._instances.reap_orphans()
        if signal.SIGHUP in signals and self._endpoint.is_lost():
            self._listen_again()

    def _listen_again(self) -> None:
        """An agent has not found our socket, which was removed or replaced."""
        try:
            listener = self._endpoint.open()
        except OSError as error:
            sys.stderr.write(f"keeper: cannot listen again: {error}\n")
            return
        if listener is None:
            self._stopping = True  # the keeper that serves the directory now adopts what we leave
            return
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        self._listener = listener
        self._loop.watch(listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # the peer gave up, or descriptors are short and the next turn tries again
        try:
            Connection(sock, self._loop, self._requests.handle, self._requests.forget)
        except OSError:
            sock.close()  # nothing more can be watched; the agent comes again

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True
