"""The processes of the keeper: made by fork and exec, or adopted by pid; their end is seen by pidfd.

A process that exec'd is the leader of its own session and process group; what it starts is known by its
mark (`marks`) and by its control groups, if it has any (`groups`). Between fork and exec the child only arranges itself; what fails there comes back through a
pipe that a successful exec closes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal

from skerry.keeper.groups import join, members, out_of_memory
from skerry.keeper.logs import Output
from skerry.keeper.marks import mark_of, marked, put_mark
from skerry.keeper.procfs import all_pids, end_group, open_process, read_stat, send
from skerry.keeper.protocol import Message, ProtocolError

TYPE_CHECKING = False  # importing `typing` would cost the keeper half a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from skerry.keeper.confinement import Confinement, Step


_FIRST_SOCKET = 3


class Launch:
    """A parsed request to start a process. Raises ProtocolError."""

    __slots__ = (
        "command",
        "confinement",
        "directory",
        "environment",
        "groups",
        "isolation",
        "limits",
        "mark",
        "sockets",
    )

    def __init__(self, request: Message) -> None:
        self.mark = mark_of(request.text("instance"))
        self.command = [_encode(word) for word in request.all("arg")]
        if not self.command or not self.command[0]:
            raise ProtocolError("the command is empty")
        self.directory = _encode(request.text("directory"))
        self.environment: dict[bytes, bytes] = {}
        for item in request.all("env"):
            name, _, value = _encode(item).partition(b"=")
            self.environment[name] = value
        self.limits = {"RLIMIT_CORE": 0}
        for item in request.all("limit"):
            limit, _, number = item.partition("=")
            self.limits[limit] = _limit_value(limit, number)
        self.groups = tuple(request.all("cgroup"))
        self.isolation = request.get("isolation") or ""
        self.confinement = _confinement(request) if request.get("user") else None
        self.sockets: tuple[int, ...] = ()
        """Descriptors that it is given (`_pass_on`)."""


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _limit_value(name: str, value: str) -> int:
    if not name.startswith("RLIMIT_") or not hasattr(resource, name):
        raise ProtocolError(f"the limit «{name}» is unknown on this system")
    try:
        return int(value)
    except ValueError as error:
        raise ProtocolError(f"the limit «{name}» is no number") from error


def _confinement(request: Message) -> Confinement:
    # Most keepers never confine anything, and each of their children would carry the pages.
    from skerry.keeper.confinement import Confinement  # noqa: PLC0415

    return Confinement(request)


class Setup:
    """What a child does besides: how it gets its streams, and what confines it around and within (`Confinement`).

    `kept` are the descriptors that this takes.
    """

    __slots__ = ("around", "kept", "streams", "within")

    def __init__(
        self,
        streams: Callable[[], None],
        around: Callable[[], Iterable[Step]],
        within: Callable[[], Iterable[Step]],
        kept: Sequence[int] = (),
    ) -> None:
        self.streams = streams
        self.around = around
        self.within = within
        self.kept = kept


class Origin:
    """What children take over from the keeper's own start, before it changed it for itself."""

    __slots__ = ("open_files", "umask")

    def __init__(self, umask: int, open_files: tuple[int, int]) -> None:
        self.umask = umask
        self.open_files = open_files


class Child:
    """An instance: its first process, the leader, and whatever that has started.

    `own` if the leader is our child. Until exec, `status_fd` is open and `start` is 0. Without a `pidfd`
    (-1) the leader had ended before we came, and only others are left. `asked` after a signal that leaves
    it to them when they end. `groups` are its control groups, which may have killed others before it came.
    """

    __slots__ = (
        "asked",
        "groups",
        "instance",
        "isolation",
        "killed_before",
        "mark",
        "output",
        "own",
        "pid",
        "pidfd",
        "start",
        "status_fd",
        "workload",
    )

    def __init__(
        self, instance: str, workload: str, output: Output, pid: int, start: int, pidfd: int
    ) -> None:
        self.instance = instance
        self.workload = workload
        self.output = output
        self.pid = pid
        self.start = start
        self.pidfd = pidfd
        self.mark = mark_of(instance)
        self.own = False
        self.asked = False
        self.status_fd = -1
        self.groups: tuple[str, ...] = ()
        self.isolation = ""
        self.killed_before = 0

    def exec_done(self) -> bytes:
        """Closes `status_fd`, which must be readable; returns what the child wrote, nothing if it has exec'd."""
        report = os.read(self.status_fd, 200)
        os.close(self.status_fd)
        self.status_fd = -1
        # Only now: reading it while the child still arranges itself would slow the child down.
        stat = read_stat(self.pid)
        self.start = stat.start if stat else 0
        return report

    def signal(self, number: int) -> None:
        """Sends a signal to every process of the instance: to the leader's group at one go, then to the others."""
        self.asked = number != signal.SIGKILL
        if self.pidfd >= 0:
            self._signal_group(number)
        for pid in {*marked(self.mark, all_pids()), *members(self.groups)}:
            stat = read_stat(pid)
            if stat is not None and stat.group != self.pid:
                send(pid, number)

    def _signal_group(self, number: int) -> None:
        try:
            # The leader is alive or our own zombie, so its pid still names this group.
            signal.pidfd_send_signal(self.pidfd, 0)
            os.killpg(self.pid, number)
        except ProcessLookupError:
            self._signal_before_session(number)

    def _signal_before_session(self, number: int) -> None:
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has killed a process of the instance because its memory limit was reached."""
        return out_of_memory(self.groups) > self.killed_before

    def finish(self) -> tuple[int | None, int | None]:
        """When nothing but perhaps the leader's zombie is left: drains the output, reaps. Returns (code, signal)."""
        # An instance without a mark has only its group; until the leader is reaped nobody else gets its number.
        end_group(self.pid, self.start)
        self.output.drain()
        code = number = None
        if self.own:
            code, number = reap(self.pidfd)
        if self.pidfd >= 0:
            os.close(self.pidfd)
        return code, number


def reap(pidfd: int) -> tuple[int | None, int | None]:
    """How a child of ours has ended: (code, signal)."""
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    if result is None:
        return None, None
    if result.si_code == os.CLD_EXITED:
        return result.si_status, None
    return None, result.si_status


def adopt(instance: str, workload: str, output: Output, pid: int, start: int) -> Child:
    """An instance whose leader is no child of ours; without a `pidfd` if the leader has ended."""
    pidfd = open_process(pid, start)
    return Child(instance, workload, output, pid, start, -1 if pidfd is None else pidfd)


def spawn(
    instance: str, workload: str, output: Output, launch: Launch, origin: Origin, highest_fd: int
) -> Child:
    """Forks. `status_fd` of the result brings «errno step» when the child fails before exec, else nothing.

    The child closes all descriptors up to `highest_fd` at once.
    """
    killed_before = out_of_memory(launch.groups)
    confinement = launch.confinement
    setup = Setup(
        lambda: _print_to(output),
        confinement.around if confinement else tuple,
        confinement.within if confinement else tuple,
    )
    pid, pidfd, status_fd = fork(launch, setup, origin, highest_fd)
    child = Child(instance, workload, output, pid, 0, pidfd)
    child.own = True
    child.status_fd = status_fd
    child.isolation = launch.isolation
    child.groups, child.killed_before = launch.groups, killed_before
    return child


def fork(launch: Launch, setup: Setup, origin: Origin, highest_fd: int) -> tuple[int, int, int]:
    """A child that becomes the launch: its pid, its pidfd, and `status_fd` as of `spawn`. Raises OSError."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        pid = os.fork()
        if pid == 0:
            _become(launch, setup, origin, write_end, highest_fd)
    except OSError:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    return pid, _pidfd(pid, read_end), read_end


def _pidfd(pid: int, status_fd: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:
        # Without a descriptor its end would never be seen, so it must not begin.
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(status_fd)
        raise


def _become(launch: Launch, setup: Setup, origin: Origin, status: int, highest_fd: int) -> None:
    """Turns the forked child into the workload. Never returns.

    Exec does the rest: every signal is either at its default or handled, never ignored. Each line here costs
    page faults in the new process.
    """
    # A signal before exec must not write into the keeper's loop, nor into what gets its descriptor here.
    signal.set_wakeup_fd(-1)
    # Close-on-exec would not do: while an exec hangs, the child would hold the sockets of a keeper that has
    # died, and the agent would never see its end.
    lowest = 3
    for fd in sorted((status, *setup.kept, *launch.sockets)):
        os.closerange(lowest, fd)
        lowest = fd + 1
    os.closerange(lowest, highest_fd + 1)
    step = "prepare"
    try:
        put_mark(launch.mark)
        os.setsid()
        os.umask(origin.umask)
        for step in launch.groups:
            join(step)
        step = "prepare"
        setup.streams()
        if launch.sockets:
            status = _pass_on(launch, status)
        for name, act in setup.around():
            step = name
            act()
        step = "directory"
        os.chdir(launch.directory)
        resource.setrlimit(resource.RLIMIT_NOFILE, origin.open_files)
        for name, value in launch.limits.items():
            step = name
            resource.setrlimit(getattr(resource, name), (value, value))
        for name, act in setup.within():
            step = name
            act()
        step = "exec"
        _execute(launch)
    except OSError as error:
        os.write(status, b"%d %b" % (error.errno or 0, step.encode()))
    except (ValueError, OverflowError, MemoryError):
        os.write(status, b"0 %b" % step.encode())
    finally:
        os._exit(127)


def _print_to(output: Output) -> None:
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    out, err = output.streams
    os.dup2(os.open(out.path, os.O_RDWR), 1)
    os.dup2(os.open(err.path, os.O_RDWR), 2)


def _pass_on(launch: Launch, status: int) -> int:
    """Puts the sockets where the launch expects them (sd_listen_fds(3)); returns where `status` is from now on."""
    beyond = _FIRST_SOCKET + len(launch.sockets)
    status, *sockets = (
        fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, beyond) for fd in (status, *launch.sockets)
    )
    for number, fd in enumerate(sockets, _FIRST_SOCKET):
        os.dup2(fd, number)
    launch.environment[b"LISTEN_FDS"] = b"%d" % len(sockets)
    launch.environment[b"LISTEN_PID"] = b"%d" % os.getpid()
    return status


def _execute(launch: Launch) -> None:
    """Replaces the process; looks a bare name up in PATH of the workload's own environment."""
    name = launch.command[0]
    if b"/" in name:
        os.execve(name, launch.command, launch.environment)  # noqa: S606
    refused: OSError | None = None
    path = launch.environment.get(b"PATH", b"/usr/local/bin:/usr/bin:/bin")
    for directory in path.split(b":"):
        try:
            file = (directory or b".") + b"/" + name
            os.execve(file, launch.command, launch.environment)  # noqa: S606
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            refused = error
    raise refused or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
