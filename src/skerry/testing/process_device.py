"""A directory with a keeper and real processes, all of which end with the test."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from skerry.keeper import protocol
from skerry.keeper.groups import members, remove
from skerry.keeper.log_rules import LogRules
from skerry.keeper.marks import mark_of, marked
from skerry.keeper.procfs import all_pids
from skerry.kit.clock import SystemClock
from skerry.node.ports import ProcessIdentity, ProcessLaunch, workload_socket
from skerry.node.workloads.runtimes.identity import command_line, environment, lives
from skerry.node.workloads.runtimes.isolation import Isolation
from skerry.node.workloads.runtimes.keeper_client import Transmit
from skerry.node.workloads.runtimes.process import ProcessRuntime
from skerry.wire.workload import Allow, Resources

USERS = range(start := 100_000 + os.getpid() % 10_000 * 100, start + 100)
"""Not those of a node that really runs on this machine."""

PATH = "/usr/local/bin:/usr/bin:/bin"


class ProcessDevice:
    """Stands for one device: agents come and go (`agent`), processes stay until `end`."""

    def __init__(self, directory: Path, log_rules: LogRules | None = None) -> None:
        self.directory = directory
        self.clock = SystemClock()
        self._socket = directory / "run" / "keeper.sock"
        self._log_rules = log_rules or LogRules(1_000_000, 3)
        self.owner = f"test-{random.getrandbits(64):016x}"
        self.isolation = Isolation(self.owner, directory, USERS)
        self._launched: list[ProcessLaunch] = []
        self._agents: list[ProcessRuntime] = []

    @property
    def socket(self) -> Path:
        """Where the keeper listens."""
        return self._socket

    def agent(
        self, *, transmit: Transmit = protocol.transmit, patience: float = 10.0
    ) -> ProcessRuntime:
        """The runtime of another agent process on this device; not connected yet."""
        runtime = ProcessRuntime(
            self._socket.parent,
            self.clock,
            random.Random(7),
            self.isolation,
            patience=patience,
            transmit=transmit,
        )
        self._agents.append(runtime)
        return runtime

    def launch(  # noqa: PLR0913 - a test names what it needs
        self,
        *command: str,
        workload: str = "w",
        instance: str | None = None,
        variables: dict[str, str] | None = None,
        limits: dict[str, int] | None = None,
        resources: Resources | None = None,
        strict: bool = False,
        allow: Allow | None = None,
    ) -> ProcessLaunch:
        """A launch whose log is `<directory>/logs/<workload>/current.log`."""
        home = self.directory / "workloads" / workload
        home.mkdir(parents=True, exist_ok=True)
        socket = workload_socket(self._socket.parent, workload)
        socket.parent.mkdir(parents=True, exist_ok=True)
        launch = ProcessLaunch(
            instance=instance or f"{workload}-{len(self._launched) + 1}-{os.getpid()}-{id(self):x}",
            workload=workload,
            command=command,
            environment={"PATH": PATH} | (variables or {}),
            directory=home if strict else self.directory,
            strict=strict,
            log=self.directory / "logs" / workload / "current.log",
            log_rules=self._log_rules,
            limits=limits or {},
            resources=resources or Resources(),
            allow=allow or Allow(),
            home=home,
            socket=socket,
        )
        self._launched.append(launch)
        return launch

    def lives(self, identity: ProcessIdentity) -> bool:
        """Whether exactly this process runs."""
        return lives(identity, self.clock.boot_id())

    def processes(self, instance: str) -> list[int]:
        """Every living process that carries the instance's name, descendants included."""
        mark = f"SKERRY_INSTANCE={instance}".encode()
        return [pid for pid in all_pids() if mark in environment(pid)]

    def keeper_pid(self) -> int:
        """The pid of the one keeper that runs."""
        (pid,) = self.keeper_pids()
        return pid

    def keeper_pids(self) -> list[int]:
        """The pids of every keeper of this device, and of its children before exec."""
        return [pid for pid in all_pids() if os.fsencode(self._socket) in command_line(pid)]

    def kill_keeper(self) -> None:
        """SIGKILL, without any goodbye."""
        os.kill(self.keeper_pid(), signal.SIGKILL)

    def log_text(self, workload: str = "w") -> str:
        """Everything in the workload's logs, oldest first."""
        directory = self.directory / "logs" / workload
        numbers = range(self._log_rules.files, 0, -1)
        files = [directory / f"current.log.{number}" for number in numbers]
        return "".join(
            file.read_text(errors="backslashreplace")
            for file in [*files, directory / "current.log"]
            if file.exists()
        )

    def printed(self, workload: str = "w") -> list[str]:
        """What the workload printed, line by line, without a line that is just being written."""
        lines = self.log_text(workload).split("\n")[:-1]
        return [line.split(" ", 3)[3] for line in lines]

    async def end(self) -> None:
        """Ends agents, keepers and every process that was launched."""
        for agent in self._agents:
            await agent.close()
        for pid in self.keeper_pids():
            _kill(pid)
            _reap(pid)
        for launch in self._launched:
            for pid in marked(mark_of(launch.instance), all_pids()):
                _kill(pid)
        remove_groups(self.owner)


def remove_groups(owner: str) -> None:
    """Ends who is in the control groups of a node, and removes them."""
    for top in Path("/sys/fs/cgroup").glob(f"*/skerry/{owner}"):
        while not remove([str(top)]):
            for pid in members([str(top)]):
                _kill(pid)
            time.sleep(0.01)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return
