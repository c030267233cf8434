"""Finding or starting the keeper, so that it outlives the agent, and clearing up after one that died or lost its home.

The keeper is this interpreter in isolated mode, in its own session, without the agent's environment; what it
says goes to `keeper.log` beside its socket.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from msgspec.structs import replace

import skerry.keeper
from skerry.keeper.procfs import all_pids, read_stat, send
from skerry.kit.clock import Clock
from skerry.kit.errors import Transient
from skerry.node.workloads.runtimes.identity import lives, watch_end
from skerry.node.workloads.runtimes.keeper_client import open_socket
from skerry.node.workloads.runtimes.orphans import Held
from skerry.node.workloads.runtimes.other_keepers import (
    is_homeless,
    keeper_of_directory,
    keeper_socket,
    parent_keeper,
)

log = logging.getLogger(__name__)

_MAIN = Path(skerry.keeper.__file__).with_name("__main__.py")
_POLL_SECONDS = 0.01


class KeeperProcess:
    """The keeper of one socket, as far as this agent is its parent."""

    def __init__(self, socket: Path, clock: Clock) -> None:
        self._socket = socket
        self._clock = clock
        self._log = socket.with_name("keeper.log")
        self.pid = 0
        """Of the keeper that answers, whoever started it."""
        self._child: int | None = None

    async def start(self) -> None:
        """Returns when a keeper listens: the data directory's own, if it lives and has lost its socket, or a new one.

        Raises Transient, with its last words, when a new one ends first.
        """
        self.reap()
        deaf = keeper_of_directory(self._socket.parent.parent)
        if deaf is not None and await self._listens_again(deaf):
            return
        try:
            read_end = self._start()
        except OSError as error:
            raise Transient(f"cannot start the keeper: {error}") from error
        await _end_of_pipe(read_end)
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
        await _end_of_process(self.pid)
        self.reap()

    async def inherit(self, unlisted: list[Held], boot_id: str) -> list[Held]:
        """Takes processes from keepers whose data directory is gone; leaves out what keepers of other nodes have.

        The former is what a move to another file system leaves, the latter what a copied data directory tells.
        """
        parents = {held.instance: self._other_parent(held, boot_id) for held in unlisted}
        homeless = {pid for pid in parents.values() if pid is not None and is_homeless(pid)}
        for pid in homeless:
            log.warning("ending the keeper with pid %d: its data directory is gone", pid)
            send(pid, signal.SIGTERM)
            await _end_of_process(pid)
        return [
            replace(held, moved=parents[held.instance] is not None)
            for held in unlisted
            if parents[held.instance] in {None, *homeless}
        ]

    def _other_parent(self, held: Held, boot_id: str) -> int | None:
        """The keeper, not ours, that started an instance."""
        if held.identity is None or not lives(held.identity, boot_id):
            return None
        parent = parent_keeper(held.identity.pid)
        return None if parent == self.pid else parent

    def end_unborn(self) -> None:
        """SIGKILLs children of a dead keeper that have not yet exec'd, before they turn into workloads.

        Their command line is still the keeper's own. With the signal pending, a child that hangs in exec
        never runs an instruction of the workload.
        """
        for pid in all_pids():
            if pid != self.pid and keeper_socket(pid) == os.fsencode(self._socket):
                stat = read_stat(pid)
                if stat is not None and stat.parent != self.pid:
                    send(pid, signal.SIGKILL)

    async def _listens_again(self, pid: int) -> bool:
        """Calls a keeper back to its socket; False if it ends meanwhile."""
        log.warning("the keeper with pid %d has lost its socket; calling it back", pid)
        stat = read_stat(pid)
        send(pid, signal.SIGHUP)
        while not self._answers():
            now = read_stat(pid)
            if stat is None or now is None or now.start != stat.start or not now.lives:
                return False
            await self._clock.sleep(_POLL_SECONDS)
        return True

    def _answers(self) -> bool:
        try:
            open_socket(self._socket).close()
        except OSError:
            return False
        return True

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


async def _end_of_process(pid: int) -> None:
    ended = asyncio.Event()
    stat = read_stat(pid)
    if stat is not None and watch_end(pid, stat.start, ended.set) is not None:
        await ended.wait()


async def _end_of_pipe(fd: int) -> None:
    """Waits until every other holder of the pipe has closed it, then closes `fd`."""
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()
    loop.add_reader(fd, closed.set)
    try:
        await closed.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)
