"""An engine with containers of one owner, all of which end with the test. Stands beside `process_device`."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

from skerry.keeper.log_rules import LogRules
from skerry.kit.bell import Bell
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.node.ports import ContainerLaunch, Launch, ProcessIdentity, RunningInstance
from skerry.node.workloads.runtimes.containers.creation import OWNER
from skerry.node.workloads.runtimes.containers.devices import Devices
from skerry.node.workloads.runtimes.containers.engine import Engine
from skerry.node.workloads.runtimes.containers.maker import Maker
from skerry.node.workloads.runtimes.containers.output import ContainerLogs
from skerry.node.workloads.runtimes.containers.runtime import PATIENCE, ContainerRuntime
from skerry.node.workloads.runtimes.identity import lives
from skerry.testing.waiting import eventually
from skerry.wire.workload import ContainerSpec, Exit, Resources

_WAITS = """
import signal, sys
def end(number, frame):
    sys.exit(128 + number)
for name in ("SIGTERM", "SIGUSR1"):
    signal.signal(getattr(signal, name), end)
print("ready", flush=True)
while True:
    signal.pause()
"""
"""The first process of a container ends on no signal that it does not handle."""


class HeardImages:
    """What a runtime has told about images: those that are gone, and how often the engine was back."""

    def __init__(self) -> None:
        self.changed = Bell()
        self.lost: list[str] = []
        self.looks = 0

    def look_again(self) -> None:
        self.looks += 1

    def gone(self, name: str) -> None:
        self.lost.append(name)


class ContainerDevice:
    """Stands for one device: agents come and go (`agent`), containers stay until `end`."""

    def __init__(self, directory: Path, sockets: Path, image: str) -> None:
        self.directory = directory
        self.clock = SystemClock()
        self.images = HeardImages()
        self.owner = f"{random.getrandbits(64):016x}"
        self.socket = sockets
        self._image = image
        self.plugged: Callable[[], None] = lambda: None
        self._agents: list[ContainerRuntime] = []
        self._launched = 0

    def agent(
        self, patience: tuple[float, float] = PATIENCE, sockets: Path | None = None
    ) -> ContainerRuntime:
        """The runtime of another agent process on this device, which looks for the engine at `sockets`; not connected yet."""
        engine = Engine([sockets or self.socket])
        logs = ContainerLogs(self.clock)
        runtime = ContainerRuntime(
            engine,
            logs,
            Maker(
                engine,
                self.owner,
                self.usb(),
                [self.directory / "secret"],
                self.directory / "seccomp.json",
                RealDisk(),
            ),
            self.images,
            self.clock,
            random.Random(7),
            patience=patience,
        )
        self._agents.append(runtime)
        return runtime

    def usb(self) -> Devices:
        """USB devices of a tree below the directory; `plugged` tells of a change."""

        def listen(on_change: Callable[[], None]) -> Callable[[], None]:
            self.plugged = on_change
            return lambda: None

        return Devices(self.directory / "sys", listen, self.images.changed)

    def launch(
        self,
        *command: str,
        workload: str = "w",
        resources: Resources | None = None,
        **fields: object,
    ) -> ContainerLaunch:
        """A launch of the test image with `command`; `fields` are those of ContainerSpec."""
        self._launched += 1
        socket = self.directory / "run" / workload / "sock"
        socket.parent.mkdir(parents=True, exist_ok=True)
        known: dict[str, object] = {
            "image": self._image,
            "command": list(command),
            "network": "host",
        }
        return ContainerLaunch(
            instance=f"{workload}-{self._launched}-{self.owner}",
            workload=workload,
            environment={},
            log=self.directory / "logs" / workload / "current.log",
            strict=False,
            log_rules=LogRules(1_000_000, 3),
            spec=ContainerSpec(**known | fields),  # type: ignore[arg-type]  # a test's keywords
            resources=resources or Resources(),
            socket=socket,
        )

    def waits(self, workload: str = "w") -> ContainerLaunch:
        """Lives until it is told to end."""
        return self.launch("python3", "-c", _WAITS, workload=workload)

    async def settled(self, launch: Launch) -> None:
        """Returns when a container that waits handles signals."""
        await eventually(
            lambda: "ready" in self.log_text(launch.workload), "the container handles signals"
        )

    def ends(self, exit_: Exit, workload: str = "w") -> ContainerLaunch:
        """Ends at once. A container's end by a signal is an exit code to the engine."""
        code = exit_.code if exit_.signal is None else 128 + exit_.signal
        return self.launch("python3", "-c", f"raise SystemExit({code})", workload=workload)

    def missing(self) -> ContainerLaunch:
        """Its command is not in the image."""
        return self.launch("no-such-command")

    def lives(self, identity: ProcessIdentity) -> bool:
        """Whether the container's first process runs."""
        return lives(identity, self.clock.boot_id())

    def kill(self, running: RunningInstance) -> None:
        """SIGKILL to the first process, past the engine."""
        os.kill(running.identity.pid, signal.SIGKILL)

    def log_text(self, workload: str = "w") -> str:
        """Everything in the workload's log."""
        path = self.directory / "logs" / workload / "current.log"
        return path.read_text() if path.exists() else ""

    async def end(self) -> None:
        """Ends agents and removes every container."""
        for agent in self._agents:
            await agent.close()
        engine = Engine([self.socket])
        for one in await engine.listed(f"{OWNER}={self.owner}"):
            await engine.remove(one.id)
        await engine.close()
