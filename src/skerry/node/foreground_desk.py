"""`skerry run` at the node's end: one workload from the order to its exit, told as it goes.

The workload lives as long as the call: whoever asked is gone when it is cancelled, and the workload ends as one that
nobody wants.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from skerry.kit.clock import Clock
from skerry.kit.tasks import supervised
from skerry.node.ports import LogSource
from skerry.node.workloads.foreground import ForegroundRuns
from skerry.node.workloads.supervise import Supervisor
from skerry.wire.local import RunNews
from skerry.wire.logs import LogQuery
from skerry.wire.workload import Assignment, WorkloadSpec, WorkloadStatus

Tell = Callable[[RunNews], Awaitable[None]]

_NOT_BEGUN = frozenset({"pending", "starting"})
_GAVE_WAY = "it gave way to a workload of the same name that the hub has given to this node"
_OVER = frozenset({"succeeded", "failed", "stopped"})


class ForegroundDesk:
    """Runs workloads in the foreground."""

    def __init__(
        self, runs: ForegroundRuns, supervisor: Supervisor, logs: LogSource, clock: Clock
    ) -> None:
        self._runs = runs
        self._supervisor = supervisor
        self._logs = logs
        self._clock = clock

    async def run(self, spec: WorkloadSpec, tell: Tell) -> None:
        """Returns when it has ended and all that it printed is told. Raises InvalidInput or Refused before it begins."""
        begun = self._clock.wall_ns()
        taken = {status.workload for status in self._supervisor.statuses()}
        wish = self._runs.begin(spec, taken)
        printed = _Printed(self._logs, spec.name, begun, tell)
        try:
            async with supervised() as tasks:
                last = await self._until(wish, tell, _NOT_BEGUN)
                if last is not None:
                    following = tasks.start(printed.follow(), name=f"output of «{spec.name}»")
                    if last.phase not in _OVER:
                        last = await self._until(wish, tell, _NOT_BEGUN | {"running", "stopping"})
                    following.cancel()
            if last is None:
                await tell(RunNews(lost=_GAVE_WAY))
            else:
                await printed.rest()
                await tell(RunNews(ended=last))
        finally:
            self._runs.end(wish)

    async def _until(
        self, wish: Assignment, tell: Tell, before: frozenset[str]
    ) -> WorkloadStatus | None:
        """Tells each new phase; returns the first status whose phase is none of `before`. None: it is not wanted any more."""
        told = None
        seen = self._supervisor.news.count
        while self._runs.wants(wish):
            status = self._status(wish)
            if status is not None and (status.phase, status.message) != told:
                told = (status.phase, status.message)
                if status.phase not in before:
                    return status
                await tell(RunNews(status=status))
            seen = await self._supervisor.news.after(seen)
        return None

    def _status(self, wish: Assignment) -> WorkloadStatus | None:
        """None: the workload's row is still of an earlier run, or there is none yet."""
        found = (one for one in self._supervisor.statuses() if one.workload == wish.workload)
        status = next(found, None)
        return status if status is not None and status.generation == wish.generation else None


class _Printed:
    """What one run prints, each line told once."""

    def __init__(self, logs: LogSource, workload: str, since: int, tell: Tell) -> None:
        self._logs = logs
        self._workload = workload
        self._since = since
        self._tell = tell
        self._told = 0

    async def follow(self) -> None:
        """Tells lines as they come."""
        async for line in self._read(follow=True):
            await self._tell(RunNews(line=line))
            self._told += 1

    async def rest(self) -> None:
        """Tells what `follow` had not come to. The workload has ended."""
        number = 0
        async for line in self._read(follow=False):
            number += 1
            if number > self._told:
                await self._tell(RunNews(line=line))

    def _read(self, *, follow: bool) -> AsyncIterator[str]:
        return self._logs.read(self._workload, LogQuery(self._since, follow=follow))
