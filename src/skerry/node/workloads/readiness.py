"""When a running workload counts as ready: probes by exec, HTTP, TCP, a value that it published, its health check.

Ready after one success; no longer ready after three failures in a row. Being not ready is shown and holds up
dependants; it restarts nothing. Judging is pure; `Prober` asks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.errors import Refused, Transient
from skerry.node.ports import Launch
from skerry.node.store.instances import ActualWorkload, Instance
from skerry.wire.workload import Assignment, Ready

FAILURES = 3
"""Failures in a row after which a ready workload is no longer ready."""


EXEC_PAUSE = 10.0
"""Seconds to which the pause between two `exec` in a container grows: Podman keeps a process for each for 5 minutes."""


class Readiness(msgspec.Struct, frozen=True):
    """The probe's judgement so far; `failure` is why the last try failed."""

    ready: bool
    failures: int = 0
    failure: str = ""


def judge(before: Readiness, failure: str) -> Readiness:
    """The judgement after one more try; an empty `failure` is a success."""
    if not failure:
        return Readiness(ready=True)
    failures = before.failures + 1
    return Readiness(before.ready and failures < FAILURES, failures, failure)


def next_pause(pause: float) -> float:
    """The pause after this one between two `exec` in a container: a start is seen soon, and the sum stays bounded."""
    return max(pause, min(2 * pause, EXEC_PAUSE))


def judge_health(word: str, *, optional: bool) -> Readiness:
    """What a container's health check means; one that has none is ready, unless the spec asks for it."""
    if word == "healthy" or (not word and optional):
        return Readiness(ready=True)
    if not word:
        return Readiness(ready=False, failure="not ready: its image has no health check")
    return Readiness(ready=False, failure=f"not ready: its health check says {word}")


class PublishedValues(Protocol):
    """What workloads have published, as far as this agent has seen it."""

    bell: Bell
    """Rings after every publish."""

    def last(self, workload: str, pattern: str, instance: str) -> int | None:
        """Monotonic ns of the last measurement of that workload whose name fits, or None.

        What other instances say to have published does not count.
        """
        ...


HttpStatus = Callable[[str, float], Awaitable[int]]
"""GET: (url, timeout in seconds) → status code. Raises Transient when there is no answer."""

Execute = Callable[[Launch, list[str]], Awaitable[int]]
"""Runs a command where the instance runs (`runtimes.router`) → its exit code. Raises Transient or Refused."""


class Health(Protocol):
    """What containers' own health checks say, as the engine tells it."""

    @property
    def health_changed(self) -> Bell:
        """Rings when an answer of `health` may have changed."""
        ...

    def health(self, instance: str) -> str | None:
        """«starting», «healthy», «unhealthy»; empty: it has no health check; None: not known now."""
        ...


class Prober:
    """Runs the probes of all workloads."""

    def __init__(
        self,
        http_status: HttpStatus,
        values: PublishedValues,
        launch_for: Callable[[Assignment, str], Launch],
        execute: Execute,
        health: Health,
        clock: Clock,
    ) -> None:
        self._http_status = http_status
        self._values = values
        self._launch_for = launch_for
        self._execute = execute
        self._health = health
        self._clock = clock

    async def watch(
        self, actual: ActualWorkload, readiness: Readiness, tell: Callable[[Readiness], None]
    ) -> None:
        """Probes a running instance until cancelled and tells each new judgement. A value needs to be seen only once."""
        spec, instance = actual.assignment.spec, actual.instance
        ready = spec.probe
        if ready is None or instance is None:
            return
        if ready.health:
            await self._follow_health(instance.id, tell, optional=spec.ready is None)
        if ready.value is not None:
            await self._value_seen(actual.name, ready.value, instance)
            tell(Readiness(ready=True))
            return
        pause = ready.interval
        while True:
            after = judge(readiness, await self._failure(ready, actual.assignment, instance))
            if (after.ready, after.failure) != (readiness.ready, readiness.failure):
                tell(after)
            readiness = after
            await self._clock.sleep(pause)
            if ready.exec is not None and spec.container is not None:
                pause = next_pause(pause)

    async def _follow_health(
        self, instance: str, tell: Callable[[Readiness], None], *, optional: bool
    ) -> None:
        """For ever. The engine runs the check; three failures in a row are its business."""
        seen, known = 0, None
        while True:
            word = self._health.health(instance)
            if word is not None and word != known:
                known = word
                tell(judge_health(word, optional=optional))
            seen = await self._health.health_changed.after(seen)

    async def _value_seen(self, workload: str, pattern: str, instance: Instance) -> None:
        while True:
            seen = self._values.bell.count
            last = self._values.last(workload, pattern, instance.id)
            if last is not None and last >= instance.started:
                return
            await self._values.bell.after(seen)

    async def _failure(self, ready: Ready, assignment: Assignment, instance: Instance) -> str:
        """One try: why it failed, or an empty text."""
        try:
            async with asyncio.timeout(ready.timeout):
                if ready.exec is not None:
                    return await self._run(ready.exec, assignment, instance)
                if ready.http is not None:
                    return await self._get(ready.http, ready.timeout)
                return await _connect(ready.tcp or 0)
        except TimeoutError:
            return f"not ready: no answer within {ready.timeout:g} s"

    async def _get(self, url: str, timeout: float) -> str:
        try:
            status = await self._http_status(url, timeout)
        except Transient as error:
            return f"not ready: {error}"
        return "" if 200 <= status < 400 else f"not ready: {url} answers {status}"

    async def _run(self, command: list[str], assignment: Assignment, instance: Instance) -> str:
        launch = self._launch_for(assignment, instance.id)
        try:
            code = await self._execute(launch, command)
        except (Transient, Refused) as error:
            return f"not ready: {error}"
        return "" if code == 0 else f"not ready: {command[0]} ended with code {code}"


async def _connect(port: int) -> str:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        return f"not ready: port {port}: {error.strerror or 'no connection'}"
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ""
