"""Commands beside the processes of an instance, for as long as whoever asked is connected. Loaded with the first one.

A command has its instance's namespaces, control groups, user and limits, and a mark of its own: so all that it has
started is found, wherever that has gone, and ends with it, with its instance, with its connection and with the keeper.
What a container engine executes is no child of ours: it is known by a text in its environment (`tie`).
"""

from __future__ import annotations

import fcntl
import os
import signal
import termios

from skerry.keeper.children import Launch, Setup, fork, reap
from skerry.keeper.connections import Connection
from skerry.keeper.instances import Instances, StartFailure
from skerry.keeper.kernel import Kernel
from skerry.keeper.marks import mark_of, marked
from skerry.keeper.procfs import Stat, all_pids, end_group, read_stat, read_whole, send
from skerry.keeper.protocol import Message, ProtocolError, Refusal
from skerry.keeper.requests import failed

TYPE_CHECKING = False  # as in `children`
if TYPE_CHECKING:
    from collections.abc import Iterator

    from skerry.keeper.confinement import Step

_PR_SET_PDEATHSIG = 1
_AGAIN_SECONDS = 0.05
_MOST_TRIES = 200
"""What the kernel does not end within ten seconds is stuck in it."""

_TIED_AGAIN_SECONDS = 0.3
_TIED_TRIES = 12
"""An engine that was asked just before may still be starting it."""


class Execution:
    """A command under way."""

    __slots__ = (
        "code", "connection", "ending", "instance", "mark", "name", "number", "pid", "pidfd", "reaped", "signal", "status_fd",
    )  # fmt: skip

    def __init__(self, connection: Connection, request: Message) -> None:
        self.connection = connection
        self.name = request.text("execution")
        self.instance = request.text("instance")
        self.number = request.get("id") or ""
        self.mark = mark_of(self.name)
        self.pid = 0
        self.pidfd = -1
        self.status_fd = -1
        self.reaped = False
        self.ending = False
        self.code: int | None = None
        self.signal: int | None = None


class Executions:
    """The commands of one keeper, each by its connection."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._loop = instances.loop
        self._held: dict[Connection, Execution] = {}
        self._tied: dict[Connection, bytes] = {}
        instances.on_leader_ended = self._leader_ended
        instances.on_leaving = self._leave

    def begin(self, connection: Connection, request: Message) -> None:
        """Starts a command; the reply follows. Raises Refusal, ProtocolError, or OSError when nothing was started."""
        execution = Execution(connection, request)
        child = self._instances.running.get(execution.instance)
        if child is None or child.status_fd >= 0 or child.pidfd < 0:
            raise Refusal("gone", "the instance does not run")
        if connection in self._held or len(request.descriptors) != 3:
            raise ProtocolError("«exec» comes once, with three descriptors")
        launch = Launch(request)
        launch.mark = execution.mark
        confinement, pidfd = launch.confinement, child.pidfd
        streams, is_terminal = tuple(request.descriptors), request.get("tty") == "1"

        def within() -> Iterator[Step]:
            if confinement:
                yield from confinement.within()
            # At the end: another user would undo it.
            yield "prepare", lambda: Kernel().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

        setup = Setup(
            lambda: _use(streams, is_terminal=is_terminal),
            (lambda: confinement.joining(pidfd)) if confinement else tuple,
            within,
            (*streams, pidfd),
        )
        highest = self._loop.highest_fd
        execution.pid, execution.pidfd, execution.status_fd = fork(
            launch, setup, self._instances.origin, highest
        )
        self._held[connection] = execution
        self._instances.lead(execution.pid)
        self._loop.watch(execution.status_fd, lambda: self._started(execution))
        self._loop.watch(execution.pidfd, lambda: self._ended(execution))

    def tie(self, connection: Connection, text: str) -> None:
        """What has `text` in its environment ends with the connection."""
        if len(text) < 16:
            raise ProtocolError("the text could be anybody's")
        self._tied[connection] = text.encode()

    def closed(self, connection: Connection) -> None:
        """Whoever asked has gone."""
        execution = self._held.get(connection)
        if execution is not None:
            self._end(execution)
        text = self._tied.pop(connection, None)
        if text is not None:
            self._end_tied(text, _TIED_TRIES)

    def _leader_ended(self, instance: str) -> None:
        for execution in [each for each in self._held.values() if each.instance == instance]:
            self._end(execution)

    def _leave(self) -> None:
        for execution in self._held.values():
            _kill(execution)
        for text in self._tied.values():
            _kill_tied(text)

    def _started(self, execution: Execution) -> None:
        if execution.status_fd < 0:
            return
        self._loop.forget(execution.status_fd)
        report = os.read(execution.status_fd, 200)
        os.close(execution.status_fd)
        execution.status_fd = -1
        answer: list[tuple[str, object]] = [("pid", execution.pid)]
        if report:
            failure = StartFailure(report)
            answer = failed(failure.errno, failure.step)
        execution.connection.send([("id", execution.number), *answer])

    def _ended(self, execution: Execution) -> None:
        self._loop.forget(execution.pidfd)
        self._started(execution)
        # Whoever has no mark is known by the group, whose number is free for others once it is reaped.
        end_group(execution.pid, _start_of(execution.pid))
        execution.code, execution.signal = reap(execution.pidfd)
        os.close(execution.pidfd)
        self._instances.led(execution.pid)
        execution.reaped = True
        self._end(execution)

    def _end(self, execution: Execution) -> None:
        if not execution.ending:
            execution.ending = True
            self._end_all(execution, _MOST_TRIES)

    def _end_all(self, execution: Execution, tries: int) -> None:
        """Until nothing of it is left; then whoever asked is told."""
        others = _kill(execution)
        if (others or not execution.reaped) and tries:
            self._loop.later(_AGAIN_SECONDS, lambda: self._end_all(execution, tries - 1))
            return
        del self._held[execution.connection]
        fields: list[tuple[str, object]] = [("event", "ended"), ("execution", execution.name)]
        if execution.code is not None:
            fields.append(("code", execution.code))
        if execution.signal is not None:
            fields.append(("signal", execution.signal))
        execution.connection.send(fields)

    def _end_tied(self, text: bytes, tries: int) -> None:
        _kill_tied(text)
        if tries:
            self._loop.later(_TIED_AGAIN_SECONDS, lambda: self._end_tied(text, tries - 1))


def _use(streams: tuple[int, ...], *, is_terminal: bool) -> None:
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    if is_terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _kill(execution: Execution) -> list[int]:
    """SIGKILL to all of it; returns who was there."""
    if not execution.reaped:
        # Our own child until it is reaped, so its pid names it and its group.
        send(execution.pid, signal.SIGKILL)
        end_group(execution.pid, _start_of(execution.pid))
    others = [pid for pid in marked(execution.mark, all_pids()) if pid != execution.pid]
    for pid in others:
        send(pid, signal.SIGKILL)
    return others


def _start_of(pid: int) -> int:
    stat = read_stat(pid)
    return stat.start if stat else 0


def _kill_tied(text: bytes) -> None:
    """SIGKILL to who has the text in its environment, to its descendants, and to who is in a session with them."""
    found = {pid: stat for pid in all_pids() if (stat := read_stat(pid)) is not None and stat.lives}
    tied = {pid for pid in found if text in _environment(pid)}
    more = tied
    while more:
        more = {pid for pid, stat in found.items() if _is_of(stat, tied)} - tied
        tied = tied | more
    for pid in tied:
        send(pid, signal.SIGKILL)


def _is_of(stat: Stat, pids: set[int]) -> bool:
    return stat.parent in pids or stat.session in pids


def _environment(pid: int) -> bytes:
    try:
        return read_whole(f"/proc/{pid}/environ")
    except OSError:
        return b""  # another user's, or it ended meanwhile
