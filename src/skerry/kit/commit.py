"""Group commit: one thread takes all waiting jobs, runs them as one group, and answers after the commit.

Many callers pay for one fsync together. The engine decides what a job is: a SQLite transaction
(`kit.sqlite`) or an append to segments (`node.store.records`).
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar, cast

Job = TypeVar("Job")
Result = TypeVar("Result")
Job_contra = TypeVar("Job_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


_PULSE: Any = object()
"""Stands in the queue for a job that asks only whether the thread comes to it."""


class Engine(Protocol[Job_contra, Result_co]):
    """Runs groups of jobs in the commit thread. `open` and `close` run there too."""

    def open(self) -> None: ...

    def commit(self, jobs: Sequence[Job_contra]) -> Sequence[Result_co | Exception]:
        """Makes all jobs durable; answers one result or exception each. Raising fails the whole group."""
        ...

    def close(self) -> None: ...


class CommitThread(Generic[Job, Result]):
    """A thread around one engine. `submit` may be called from any thread."""

    def __init__(self, engine: Engine[Job, Result], *, name: str, max_group: int = 512) -> None:
        self._engine = engine
        self._max_group = max_group
        self._jobs: queue.SimpleQueue[tuple[Job, Future[Result]] | None] = queue.SimpleQueue()
        self._opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread and opens the engine; raises what opening raised."""
        self._thread.start()
        self._opened.result()

    def submit(self, job: Job) -> Future[Result]:
        """Queues a job; the future resolves after its group has been committed."""
        future: Future[Result] = Future()
        self._jobs.put((job, future))
        return future

    async def run(self, job: Job) -> Result:
        """Queues a job and waits for it in an event loop."""
        return await asyncio.wrap_future(self.submit(job))

    async def pulse(self) -> None:
        """Returns when the thread has come to it: at once, or when the group before it is committed. Touches no disk."""
        await asyncio.wrap_future(self.submit(_PULSE))

    def stop(self) -> None:
        """Commits what is queued, closes the engine, ends the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._engine.open()
        except Exception as error:  # noqa: BLE001 - handed to the caller of start()
            self._opened.set_exception(error)
            return
        self._opened.set_result(None)
        stopping = False
        while not stopping:
            group, stopping = self._next_group()
            if group:
                self._commit(group)
        self._engine.close()

    def _next_group(self) -> tuple[list[tuple[Job, Future[Result]]], bool]:
        first = self._jobs.get()
        if first is None:
            return [], True
        group = [first]
        while len(group) < self._max_group:
            try:
                entry = self._jobs.get_nowait()
            except queue.Empty:
                break
            if entry is None:
                return group, True
            group.append(entry)
        return group, False

    def _commit(self, waiting: list[tuple[Job, Future[Result]]]) -> None:
        # From here on a caller can no longer cancel; one that has gone already takes its job with it.
        asked = [entry for entry in waiting if entry[1].set_running_or_notify_cancel()]
        group = [entry for entry in asked if entry[0] is not _PULSE]
        for job, future in asked:
            if job is _PULSE:
                future.set_result(cast("Result", None))
        if not group:
            return
        try:
            results = self._engine.commit([job for job, _ in group])
        except Exception as error:  # noqa: BLE001 - each waiting caller gets it
            for _, future in group:
                future.set_exception(error)
            return
        for (_, future), result in zip(group, results, strict=True):
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
