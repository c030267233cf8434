"""What the keeper holds: living instances, exits that nobody has acknowledged, open logs, and sockets for who comes next.

Told by the loop when a child has exec'd, when a process has ended and when output is waiting;
asked by `requests`, which hands the news on to the agent.

The keeper is a subreaper: when a process ends, its children become ours. So as long as none of our own children
leads to an ended instance, nothing of it lives, and a restart need not look at all processes of the machine.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from skerry.keeper import children
from skerry.keeper.children import Child, Launch, Origin
from skerry.keeper.groups import members, remove
from skerry.keeper.log_file import Now
from skerry.keeper.log_rules import rules_of
from skerry.keeper.logs import Output
from skerry.keeper.loop import Loop
from skerry.keeper.marks import marked
from skerry.keeper.procfs import all_pids, end_group, open_process, own_children, read_stat, send
from skerry.keeper.protocol import Message

_OUT_OF_MEMORY = "out of memory"
_REMOVE_AGAIN_SECONDS = 0.05
_MOST_REMOVALS = 200


class Exit:
    """An ended instance. Both `code` and `signal` are None when another process was its parent."""

    __slots__ = ("at", "code", "instance", "pid", "reason", "signal", "start", "workload")

    def __init__(
        self, child: Child, code: int | None, signal: int | None, reason: str, at: int
    ) -> None:
        self.instance = child.instance
        self.workload = child.workload
        self.pid = child.pid
        self.start = child.start
        self.code = code
        self.signal = signal
        self.reason = reason
        self.at = at


class StartFailure:
    """A child that ended before exec: at which step, and with which errno (0: the value made no sense)."""

    __slots__ = ("errno", "step")

    def __init__(self, report: bytes) -> None:
        number, _, step = report.decode("ascii").partition(" ")
        self.errno = int(number)
        self.step = step


class Instances:
    """Holds the state; `on_started` and `on_ended` are set by whoever passes the news on, the others by `executions`."""

    def __init__(self, loop: Loop, origin: Origin, now: Now) -> None:
        self.running: dict[str, Child] = {}
        self.exits: dict[str, Exit] = {}
        self.sockets: dict[str, list[int]] = {}
        """Descriptors that outlive the process that listens, by name."""
        self.on_started: Callable[[Child, StartFailure | None], None]
        self.on_ended: Callable[[Exit], None]
        self.on_leader_ended: Callable[[str], None] = lambda _instance: None
        self.on_leaving: Callable[[], None] = lambda: None
        self.loop = loop
        self.origin = origin
        self._now = now
        self._outputs: dict[str, Output] = {}
        self._leaders: set[int] = set()
        """The pids of our children that lead an instance or an execution and are not reaped yet."""

    def spawn(self, request: Message) -> None:
        """Starts a process; `on_started` follows. Raises ProtocolError or, when nothing was started, OSError."""
        instance, workload = request.text("instance"), request.text("workload")
        launch = Launch(request)
        launch.sockets = tuple(self.sockets.get(request.get("sockets") or "", ()))
        output = self._use_output(request)
        try:
            child = children.spawn(
                instance, workload, output, launch, self.origin, self.loop.highest_fd
            )
        except OSError:
            self._release(output)
            raise
        self._hold(child)
        self.loop.watch(child.status_fd, lambda: self._exec_done(child))

    def adopt(self, request: Message) -> Child | None:
        """Takes over a process; None when nothing of the instance lives, its last output being in the log by then.

        Where only others than its leader live, they are ended, and the instance with them.
        """
        instance, workload = request.text("instance"), request.text("workload")
        pid, start = request.number("pid"), request.number("start")
        output = self._use_output(request)
        try:
            child = children.adopt(instance, workload, output, pid, start)
        except OSError:
            self._release(output)
            raise
        child.groups = tuple(request.all("cgroup"))
        child.isolation = request.get("isolation") or ""
        if child.pidfd >= 0 or self._others(child):
            self._hold(child)
        else:
            child.finish()
            self._remove_groups(child.groups)
            self._release(output)
        return self.running.get(instance)

    def hold(self, name: str, descriptors: list[int]) -> None:
        """These from now on, which are ours then; none of before is."""
        for fd in self.sockets.pop(name, ()):
            os.close(fd)
        for fd in descriptors:
            self.loop.keep_beside(fd)
        if descriptors:
            self.sockets[name] = descriptors

    def let_go(self) -> None:
        """Holds none any more."""
        for name in list(self.sockets):
            self.hold(name, [])

    def reap_orphans(self) -> None:
        """Gives the pids of ended processes back to the system that nobody else waits for any more."""
        self._orphans()

    def leave(self) -> None:
        """Writes unfinished lines before the keeper ends; processes and their FIFOs stay as they are."""
        self.on_leaving()
        for output in self._outputs.values():
            output.close(b"P")

    def lead(self, pid: int) -> None:
        """A child of ours that is no instance, and that somebody else reaps."""
        self._leaders.add(pid)

    def led(self, pid: int) -> None:
        """It is reaped."""
        self._leaders.discard(pid)

    def _hold(self, child: Child) -> None:
        self.running[child.instance] = child
        if child.own:
            self._leaders.add(child.pid)
        if child.pidfd >= 0:
            self.loop.watch(child.pidfd, lambda: self._leader_ended(child))
        else:
            self._end_with_others(child)

    def _exec_done(self, child: Child) -> None:
        if child.status_fd < 0:
            return  # its end, noticed in the same turn, has come first
        self.loop.forget(child.status_fd)
        report = child.exec_done()
        if report:
            del self.running[child.instance]
        self.on_started(child, StartFailure(report) if report else None)

    def _leader_ended(self, child: Child) -> None:
        self.loop.forget(child.pidfd)
        self._exec_done(child)
        self.on_leader_ended(child.instance)
        self._end_with_others(child)

    def _end_with_others(self, child: Child) -> None:
        """After the leader's end: tells the instance's end, as soon as nothing of it lives.

        Others get SIGKILL, unless they were asked to end: then the grace period, which the agent knows, is theirs too.
        """
        if not child.asked:
            end_group(child.pid, child.start)
        while others := self._others(child):
            if not child.asked:
                for pid in others:
                    send(pid, signal.SIGKILL)
            if any(self._watch_other(child, pid) for pid in others):
                return
        self._tell_end(child)

    def _watch_other(self, child: Child, pid: int) -> bool:
        """Comes back when this process has ended; False if it has already."""
        stat = read_stat(pid)
        pidfd = open_process(pid, stat.start) if stat is not None else None
        if pidfd is None:
            return False

        def ended() -> None:
            self.loop.forget(pidfd)
            os.close(pidfd)
            self._end_with_others(child)

        self.loop.watch(pidfd, ended)
        return True

    def _others(self, child: Child) -> list[int]:
        """Living processes of an instance whose leader has ended; for our own only those whose parent has ended too."""
        found = marked(child.mark, self._orphans() if child.own else all_pids())
        return [*found, *(pid for pid in members(child.groups) if pid not in found)]

    def _orphans(self) -> list[int]:
        """Our children that lead no instance. Those that have ended are reaped."""
        return [pid for pid in own_children() if pid not in self._leaders and not _reap(pid)]

    def _tell_end(self, child: Child) -> None:
        code, number = child.finish()
        # A workload may lose a process and still end well.
        reason = _OUT_OF_MEMORY if code != 0 and child.ran_out_of_memory() else ""
        self._leaders.discard(child.pid)
        self._release(child.output)
        is_known = self.running.get(child.instance) is child
        if is_known:
            del self.running[child.instance]
        self._remove_groups(child.groups)
        if is_known:
            exit_ = self.exits[child.instance] = Exit(child, code, number, reason, self._now())
            self.on_ended(exit_)

    def _remove_groups(self, groups: tuple[str, ...], tries: int = _MOST_REMOVALS) -> None:
        """Now, or as soon as the kernel has finished with who was in there, unless a successor has taken them."""
        if not groups or any(child.groups == groups for child in self.running.values()):
            return
        if not remove(groups) and tries:
            self.loop.later(_REMOVE_AGAIN_SECONDS, lambda: self._remove_groups(groups, tries - 1))

    def _use_output(self, request: Message) -> Output:
        path = request.text("log")
        rules = rules_of(request)
        output = self._outputs.get(path)
        if output is None:
            output = self._outputs[path] = Output(path, rules, self._now, self.loop.later)
            for stream in output.streams:
                self.loop.watch(stream.fd, stream.read, is_output=True)
        output.obey(rules)
        output.users += 1
        return output

    def _release(self, output: Output) -> None:
        output.users -= 1
        if not output.users:
            del self._outputs[output.file.path]
            for stream in output.streams:
                self.loop.forget(stream.fd)
            output.close(b"F")


def _reap(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG) is not None
