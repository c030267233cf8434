"""What the keeper holds: living instances, exits that nobody has acknowledged, and open logs.

Told by the loop when a child has exec'd, when a process has ended and when output is waiting;
asked by `requests`, which hands the news on to the agent.
"""

from __future__ import annotations

from collections.abc import Callable

from skerry.keeper import children
from skerry.keeper.children import Child, Launch, Origin
from skerry.keeper.logs import Now, Output
from skerry.keeper.loop import Loop
from skerry.keeper.protocol import Message


class Exit:
    """An ended instance. Both `code` and `signal` are None when another process was its parent."""

    __slots__ = ("at", "code", "instance", "pid", "signal", "start", "workload")

    def __init__(self, child: Child, code: int | None, signal: int | None, at: int) -> None:
        self.instance = child.instance
        self.workload = child.workload
        self.pid = child.pid
        self.start = child.start
        self.code = code
        self.signal = signal
        self.at = at


class StartFailure:
    """A child that ended before exec: at which step, and with which errno (0: the value made no sense)."""

    __slots__ = ("errno", "step")

    def __init__(self, report: bytes) -> None:
        number, _, step = report.decode("ascii").partition(" ")
        self.errno = int(number)
        self.step = step


class Instances:
    """Holds the state; `on_started` and `on_ended` are set by whoever passes the news on."""

    def __init__(self, loop: Loop, origin: Origin, now: Now) -> None:
        self.running: dict[str, Child] = {}
        self.exits: dict[str, Exit] = {}
        self.on_started: Callable[[Child, StartFailure | None], None]
        self.on_ended: Callable[[Exit], None]
        self._loop = loop
        self._origin = origin
        self._now = now
        self._outputs: dict[str, Output] = {}

    def spawn(self, request: Message) -> None:
        """Starts a process; `on_started` follows. Raises ProtocolError or, when nothing was started, OSError."""
        instance, workload = request.text("instance"), request.text("workload")
        launch = Launch(request)
        output = self._use_output(request)
        try:
            child = children.spawn(
                instance, workload, output, launch, self._origin, self._loop.highest_fd
            )
        except OSError:
            self._release(output)
            raise
        self._hold(child)
        self._loop.watch(child.status_fd, lambda: self._exec_done(child))

    def adopt(self, request: Message) -> Child | None:
        """Takes over a process; None when it has ended, its last output being in the log by then."""
        instance, workload = request.text("instance"), request.text("workload")
        pid, start = request.number("pid"), request.number("start")
        output = self._use_output(request)
        try:
            child = children.adopt(instance, workload, output, pid, start)
        except OSError:
            self._release(output)
            raise
        if child is None:
            output.drain()
            self._release(output)
        else:
            self._hold(child)
        return child

    def dropping(self) -> bool:
        """Whether a log has lines that the disk did not take."""
        return any(output.file.dropped for output in self._outputs.values())

    def retry_dropped(self) -> None:
        """Tries to say in each such log how many lines are missing."""
        for output in self._outputs.values():
            if output.file.dropped:
                output.file.say_dropped()

    def leave(self) -> None:
        """Writes unfinished lines before the keeper ends; processes and their FIFOs stay as they are."""
        for output in self._outputs.values():
            output.close(b"P")

    def _hold(self, child: Child) -> None:
        self.running[child.instance] = child
        self._loop.watch(child.pidfd, lambda: self._ended(child))

    def _exec_done(self, child: Child) -> None:
        if child.status_fd < 0:
            return  # its end, noticed in the same turn, has come first
        self._loop.forget(child.status_fd)
        report = child.exec_done()
        if report:
            del self.running[child.instance]
        self.on_started(child, StartFailure(report) if report else None)

    def _ended(self, child: Child) -> None:
        self._loop.forget(child.pidfd)
        self._exec_done(child)
        code, signal = child.finish()
        self._release(child.output)
        if self.running.get(child.instance) is child:
            del self.running[child.instance]
            exit_ = self.exits[child.instance] = Exit(child, code, signal, self._now())
            self.on_ended(exit_)

    def _use_output(self, request: Message) -> Output:
        path = request.text("log")
        size, files = request.number("log_size"), request.number("log_files")
        output = self._outputs.get(path)
        if output is None:
            output = self._outputs[path] = Output(path, size, files, self._now)
            for stream in output.streams:
                self._loop.watch(stream.fd, stream.read, is_output=True)
        output.file.limit, output.file.files = size, files
        output.users += 1
        return output

    def _release(self, output: Output) -> None:
        output.users -= 1
        if not output.users:
            del self._outputs[output.file.path]
            for stream in output.streams:
                self._loop.forget(stream.fd)
            output.close(b"F")
