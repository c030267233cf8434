"""A container's output into its log: follows the engine's stream from where the log ends until the container does."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from skerry.keeper.log_file import LogFile, stamp
from skerry.keeper.log_rules import LogRules
from skerry.keeper.masks import Masks
from skerry.kit.clock import Clock
from skerry.kit.one_line import one_line
from skerry.node.workloads.runtimes.containers.engine import Engine, EngineGone, EngineRefusal
from skerry.node.workloads.runtimes.containers.frames import (
    OURS,
    Lines,
    Mark,
    Unframed,
    last_mark,
    seconds,
)

_TAIL = 64 * 1024
_LAST_WORDS = 5.0
"""Seconds that an ended container's output may take to arrive."""


class LogTarget(msgspec.Struct, frozen=True):
    """Where the output of one workload goes."""

    path: Path
    rules: LogRules


def _nothing(_workload: str) -> Sequence[str]:
    return ()


class ContainerLogs:
    """The logs that the agent writes itself; those of processes are the keeper's."""

    def __init__(self, clock: Clock, masked: Callable[[str], Sequence[str]] = _nothing) -> None:
        self.masked = masked
        """What of a workload's secrets must not stand in its log, for containers that an earlier agent has started."""
        self._now = clock.wall_ns
        self._later = asyncio.get_running_loop().call_later
        self._files: dict[Path, LogFile] = {}
        self._users: Counter[Path] = Counter()

    def file(self, target: LogTarget) -> LogFile:
        """The one writer of this log."""
        file = self._files.get(target.path)
        if file is None:
            target.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = LogFile(str(target.path), target.rules, self._now, self._later)
            self._files[target.path] = file
        file.obey(target.rules)
        return file

    def has(self, path: Path) -> bool:
        """Whether this log is open here."""
        return path in self._files

    def note(self, target: LogTarget, line: str) -> None:
        """Writes a line of our own between what the workload prints."""
        self.file(target).append(
            [b"%b stderr F %b%b\n" % (stamp(self._now()), OURS, one_line(line).encode())]
        )

    def opened(self, target: LogTarget) -> LogFile:
        """As `file`, for one of those who share it; `close` follows."""
        self._users[target.path] += 1
        return self.file(target)

    def close(self, target: LogTarget) -> None:
        """One of its users needs it no more."""
        self._users[target.path] -= 1
        if self._users[target.path] > 0:
            return
        del self._users[target.path]
        file = self._files.pop(target.path, None)
        if file is not None:
            file.close()


class Output:
    """Follows one container. Nothing is lost while no agent is there: the engine keeps a copy.

    `resumed`: a part of it may be in the log already. Podman's times are whole seconds, so a new container's first
    lines could be taken for its predecessor's last ones.
    """

    def __init__(
        self,
        engine: Engine,
        container: str,
        target: LogTarget,
        logs: ContainerLogs,
        *,
        resumed: bool,
    ) -> None:
        self._engine = engine
        self._container = container
        self._target = target
        self._logs = logs
        self._resumed = resumed
        self._mark = Mark()
        self._task = asyncio.create_task(self._follow(), name=f"output of {container[:12]}")

    async def finish(self) -> None:
        """After the container's end: returns when its last words are in the log.

        Asks for them instead of waiting for the end of what it follows: Podman takes half a second to see that.
        """
        followed = self._task.done()
        await self.stop()
        if not followed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    await self._copy(follow=False)

    async def stop(self) -> None:
        """Stops following; another agent goes on where the log ends."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _follow(self) -> None:
        if self._resumed:
            self._mark = last_mark(_tail(self._target.path))
        await self._copy(follow=True)

    async def _copy(self, *, follow: bool) -> None:
        file = self._logs.opened(self._target)
        lines = Lines(self._mark, Masks(self._target.rules))
        unframed = Unframed()
        since = seconds(self._mark.at)
        try:
            async for chunk in self._engine.output(self._container, since, follow=follow):
                for stream, payload in unframed.feed(chunk):
                    file.append(lines.of(stream, payload))
                    self._mark = lines.mark
                await asyncio.sleep(0)  # a chatty container must not hold up the others
        except (EngineGone, EngineRefusal):
            return  # the runtime follows again when the engine is back
        finally:
            self._logs.close(self._target)


def _tail(path: Path) -> bytes:
    """The last whole lines of the log, or of the file before it when it has just been rotated."""
    for name in (path, path.with_name(f"{path.name}.1")):
        if name.exists() and (size := name.stat().st_size):
            with name.open("rb") as file:
                start = file.seek(max(size - _TAIL, 0))
                data = file.read()
            return data if start == 0 else data.partition(b"\n")[2]
    return b""
