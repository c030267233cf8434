"""Starting the keeper so that it outlives the agent, and clearing up after one that died.

The keeper is this interpreter in isolated mode, in its own session, without the agent's environment; what it
says goes to `keeper.log` beside its socket.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import skerry.keeper
from skerry.keeper.procfs import all_pids, read_stat
from skerry.kit.errors import Transient
from skerry.node.workloads.runtimes.identity import command_line, kill, watch_end

_MAIN = Path(skerry.keeper.__file__).with_name("__main__.py")
_MAIN_IN_ANY_RELEASE = b"/skerry/keeper/__main__.py"


class KeeperProcess:
    """The keeper of one socket, as far as this agent is its parent."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._log = socket.with_name("keeper.log")
        self.pid = 0
        """Of the keeper that answers, whoever started it."""
        self._child: int | None = None

    async def start(self) -> None:
        """Returns when a new keeper listens. Raises Transient, with its last words, when it ends first."""
        self.reap()
        try:
            read_end = self._start()
        except OSError as error:
            raise Transient(f"cannot start the keeper: {error}") from error
        await _end_of(read_end)
        if not self._socket.exists():
            raise Transient(f"cannot start the keeper: {self._last_words()}")

    def reap(self) -> None:
        """Gives an ended keeper's pid back to the system."""
        if self._child is None:
            return
        try:
            if os.waitpid(self._child, os.WNOHANG) == (0, 0):
                return
        except ChildProcessError:
            pass
        self._child = None

    async def ended(self) -> None:
        """Returns when the keeper that answered last has ended."""
        ended = asyncio.Event()
        stat = read_stat(self.pid)
        if stat is not None and watch_end(self.pid, stat.start, ended.set) is not None:
            await ended.wait()
        self.reap()

    def end_unborn(self) -> None:
        """SIGKILLs children of a dead keeper that have not yet exec'd, before they turn into workloads.

        Their command line is still the keeper's own. With the signal pending, a child that hangs in exec
        never runs an instruction of the workload.
        """
        for pid in all_pids():
            if pid != self.pid and self._is_keeper(command_line(pid)):
                stat = read_stat(pid)
                if stat is not None and stat.parent != self.pid:
                    kill(pid)

    def _is_keeper(self, arguments: list[bytes]) -> bool:
        """Whether this is the command line of a keeper of our socket, of whichever release."""
        return arguments[4:5] == [os.fsencode(self._socket)] and arguments[3].endswith(
            _MAIN_IN_ANY_RELEASE
        )

    def _start(self) -> int:
        """Returns the end of a pipe that is closed at the other end when the keeper listens or has ended."""
        self._socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._log.exists():
            self._log.replace(self._log.with_name("keeper.log.1"))
        read_end, write_end = os.pipe()
        try:
            self._child = self._spawn(write_end)
        except OSError:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        return read_end

    def _spawn(self, ready: int) -> int:
        arguments = [sys.executable, "-I", "-S", str(_MAIN), str(self._socket)]
        return os.posix_spawn(
            sys.executable,
            arguments,
            {},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, ready, 1),
                (
                    os.POSIX_SPAWN_OPEN,
                    2,
                    str(self._log),
                    os.O_WRONLY | os.O_CREAT | os.O_APPEND,
                    0o600,
                ),
            ],
            setsid=True,
        )

    def _last_words(self) -> str:
        try:
            lines = self._log.read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else f"it ended at once. See {self._log}"


async def _end_of(fd: int) -> None:
    """Waits until every other holder of the pipe has closed it, then closes `fd`."""
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()
    loop.add_reader(fd, closed.set)
    try:
        await closed.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)
