"""Models that workloads need: fetched until they are there, verified before each start, removed when room is needed.

Implements `workloads.needs.Needs`. One task for each missing file, whatever number of models and workloads want it. What
still runs from older files goes on until the new ones are there. A link that is away is no reason to give up: the
next try comes with it, or after a pause that grows to five minutes (an hour where the answer was «no»).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import random
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import msgspec

from skerry.kit.backoff import Backoff
from skerry.kit.bell import Bell
from skerry.kit.clock import NS, Clock, iso
from skerry.kit.errors import Refused, SkerryError, Transient
from skerry.kit.tasks import Guard, in_thread
from skerry.kit.units import format_size
from skerry.node.models.download import Download
from skerry.node.models.files import Stopped
from skerry.node.models.layout import view_of
from skerry.node.models.store import ModelStore
from skerry.wire.models import CachedModel, ModelCache, ModelFile, ModelSource, ModelSpec, file_url
from skerry.wire.workload import Assignment

log = logging.getLogger(__name__)

AGAIN = Backoff(first=0.2, cap=300.0)
"""After a cut. A try that brought something is no failure, so a bad line is used as far as it goes."""

REFUSED = Backoff(first=10.0, cap=3600.0)
"""After «no», or content that is something else: fetching all of it again costs as much as the first time."""

TELL_EVERY = 2 * NS
AT_ONCE = 2
"""Downloads at the same time."""

SPARE = 32 * 1024 * 1024
"""Bytes that a download leaves free on the disk: records come before models."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class _File(msgspec.Struct):
    """One wanted file that was not here when it was looked for, or is."""

    file: ModelFile
    sources: tuple[ModelSource, ...]
    """Models may share a file and have it from different places: after a failure the next one is tried."""
    here: bool = False
    fetched: int = 0
    problem: str = ""
    failures: int = 0
    task: asyncio.Task[None] | None = None

    @property
    def source(self) -> ModelSource:
        """Where the next try looks."""
        return self.sources[self.failures % len(self.sources)]


class ModelNeeds:
    """The models of one node. `woken` rings when the way to the hub has changed; `in_use` are what instances run from."""

    def __init__(
        self,
        store: ModelStore,
        download: Download,
        in_use: Callable[[], Iterable[Assignment]],
        woken: Bell,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self.changed = Bell()
        self.told = Bell()
        """Rings when an answer of `failure` may have changed."""
        self._store = store
        self._download = download
        self._in_use = in_use
        self._woken = woken
        self._clock = clock
        self._chance = chance
        self._opened = False
        self._busy = asyncio.Lock()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._files: dict[str, _File] = {}
        self._wanted: dict[str, Assignment] = {}
        self._asked: list[Assignment] = []
        self._readings: dict[str, asyncio.Future[bool]] = {}
        self._bringing: set[asyncio.Task[None]] = set()
        self._tidying: asyncio.Task[None] | None = None
        self._settled = True
        self._told_at = 0

    def want(self, assignments: Iterable[Assignment], beside: Iterable[Assignment] = ()) -> None:
        """The models of these assignments, and no others, are wanted. `beside`: the same ones with more models, which are fetched, too."""
        self._asked = [one for one in assignments if one.models]
        self._wanted = {one.workload: one for one in (*self._asked, *beside)}
        if not self._opened and (self._wanted or self._store.root.exists()):
            self._store.open()
            self._opened = True
        wanted: dict[str, tuple[ModelFile, tuple[ModelSource, ...]]] = {}
        for one in sorted(self._wanted.values(), key=lambda one: one.generation):
            for model in one.models:
                for file in model.files:
                    others = wanted.get(file.sha256, (file, ()))[1]
                    wanted[file.sha256] = file, tuple(dict.fromkeys((model.source, *others)))
        for sha256 in self._files.keys() - wanted.keys():
            self._drop(self._files.pop(sha256))
        for each in wanted.values():
            self._track(*each)
        if self._opened:
            self._settle_soon()

    def missing(self, assignment: Assignment) -> str:
        """Which models are not here yet, how far they have come, and what is in the way; empty: all are here."""
        return "; ".join(filter(None, map(self._missing, assignment.models)))

    async def check(self, assignment: Assignment) -> None:
        """Reads the files again, just before a start, and shows them to the workload.

        Raises Transient when one is not what it was: it is being fetched again, and `missing` says so.
        """
        if not assignment.models:
            return
        for model in assignment.models:
            for file in model.files:
                if not await self._is_sound(file):
                    self._fetch_again(file, (model.source,))
                    raise Transient(
                        f"cannot use model «{model.name}»: «{file.name}» is not what it was; it is fetched again"
                    )
        async with self._busy:
            await self._write(partial(self._store.show, assignment.models))

    def evictable(self) -> int:
        """Bytes that models take which no workload needs at present."""
        return self._store.evictable(self._needed())

    async def evict(self, size: int) -> int:
        """Removes such models, the least recently used first, until `size` bytes are free; returns the bytes freed."""
        async with self._busy:
            freed = await in_thread(partial(self._store.evict, size, self._needed()))
            await in_thread(partial(self._store.tidy, self._needed(), self._views()))
        return freed

    async def cache(self) -> ModelCache:
        """Every model that is here or wanted, by name."""
        async with self._busy:
            used = await in_thread(self._store.used)
        users: dict[str, list[str]] = {}
        models: dict[str, CachedModel] = {}
        for name, entry in self._store.entries.items():
            size = sum(file.size for file in entry.files)
            models[name] = CachedModel(name, entry.runtime, size, size, [], entry.last_used_at)
        for one in sorted(self._wanted.values(), key=lambda one: one.workload):
            for model in one.models:
                users.setdefault(model.name, []).append(one.workload)
                models[model.name] = self._cached(model, users[model.name])
        found = [models[name] for name in sorted(models)]
        return ModelCache(found, self._store.limit, used, self.evictable())

    async def close(self) -> None:
        """Ends every download, and returns when no thread is at the files any more; what has come stays."""
        self._store.stop.set()
        running = [*self._bringing, *([self._tidying] if self._tidying else [])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, *self._readings.values(), return_exceptions=True)

    async def _is_sound(self, file: ModelFile) -> bool:
        """Workloads that start together share one reading of a file."""
        reading = self._readings.get(file.sha256)
        if reading is None:
            reading = asyncio.ensure_future(asyncio.to_thread(self._store.is_sound, file))
            self._readings[file.sha256] = reading
            reading.add_done_callback(lambda _: self._readings.pop(file.sha256))
        return await asyncio.shield(reading)

    def _track(self, file: ModelFile, sources: tuple[ModelSource, ...]) -> None:
        known = self._files.get(file.sha256)
        if known is not None and (known.file.size, known.sources) == (file.size, sources):
            return
        if known is not None:
            self._drop(known)
        item = _File(file, sources, here=self._store.has(file))
        self._files[file.sha256] = item
        if not item.here:
            former = None if known is None else known.task
            work = self._bring(item, former)
            item.task = asyncio.create_task(work, name=f"model file {file.name}")
            self._bringing.add(item.task)
            item.task.add_done_callback(self._bringing.discard)

    def _fetch_again(self, file: ModelFile, sources: tuple[ModelSource, ...]) -> None:
        known = self._files.get(file.sha256)
        if known is not None and not known.here:
            return
        self._files.pop(file.sha256, None)
        self._track(file, sources if known is None else known.sources)
        self.changed.ring()

    def _drop(self, item: _File) -> None:
        if item.task is not None:
            item.task.cancel()

    def failure(self, model: ModelSpec) -> str:
        """Why a model is not here although it was tried; empty: it is, or its first try is under way."""
        items = [self._files.get(file.sha256) for file in model.files]
        tried = any(item is not None and not item.here and item.failures for item in items)
        return self._missing(model) if tried or self._download.held else ""

    def _missing(self, model: ModelSpec) -> str:
        items = [self._files.get(file.sha256) for file in model.files]
        if all(item is not None and item.here for item in items):
            return ""
        fetched = sum(self._fetched(item) for item in items)
        share = fetched * 100 // max(model.size, 1)
        text = f"model {model.name}: {share} % of {format_size(model.size)} fetched"
        problem = next((item.problem for item in items if item and item.problem), "")
        if not problem and self._download.held:
            problem = f"waits: {self._download.held}"
        return f"{text}; {problem}" if problem else text

    @staticmethod
    def _fetched(item: _File | None) -> int:
        if item is None:
            return 0
        return item.file.size if item.here else item.fetched

    def _cached(self, model: ModelSpec, users: list[str]) -> CachedModel:
        fetched = sum(self._fetched(self._files.get(file.sha256)) for file in model.files)
        known = self._store.entries.get(model.name)
        used_at = known.last_used_at if known else 0
        missing = self._missing(model)
        return CachedModel(
            model.name, model.format, model.size, fetched, list(users), used_at, missing
        )

    async def _bring(self, item: _File, former: asyncio.Task[None] | None) -> None:
        if former is not None:
            await asyncio.wait([former])  # it may still be writing to the same part
        guard = Guard(f"model file «{item.file.name}»", self._clock, self._chance)
        while not item.here:
            await guard.run(partial(self._once, item))
        item.task = None
        await guard.run(self._settle)
        self.changed.ring()
        self.told.ring()

    async def _once(self, item: _File) -> None:
        """One try, and after a failure the pause before the next one."""
        seen, before = self._woken.count, item.fetched
        try:
            async with self._slots:
                await self._make_room(item)
                await self._fetch(item)
                await in_thread(partial(self._store.keep, item.file))
        except Stopped:
            return
        except OSError as error:
            if error.errno in _FULL:
                self._store.drop_part(item.file)
                item.fetched = 0
            failure: SkerryError = Transient(f"cannot write «{item.file.name}»: {error.strerror}")
        except (Transient, Refused) as error:
            failure = error
        else:
            item.here, item.problem = True, ""
            return
        progressed = isinstance(failure, Transient) and item.fetched > before
        item.failures = 0 if progressed else item.failures + 1
        await self._pause(item, failure, seen)

    async def _pause(self, item: _File, failure: SkerryError, seen: int) -> None:
        backoff = AGAIN if isinstance(failure, Transient) else REFUSED
        delay = backoff.delay(item.failures, self._chance)
        at = iso(self._clock.wall_ns() + int(delay * NS))[11:19]
        item.problem = f"{failure}; next try at {at} UTC"
        if item.failures and item.failures.bit_count() == 1:
            log.warning("%s; next try in %.0f s", failure, delay)
        if item.failures:
            self.changed.ring()
        if item.failures == 1:
            self.told.ring()
        await self._woken.within(seen, delay, self._clock)

    async def _make_room(self, item: _File) -> None:
        """Raises Transient when the disk has no room for the rest of the file, with all that is not needed removed."""
        part = self._store.part(item.file)
        have = part.stat().st_size if part.exists() else 0
        wanted = item.file.size - have + SPARE
        free = self._store.free_bytes()
        if free < wanted:
            await self.evict(wanted - free)
            free = self._store.free_bytes()
        if free < wanted:
            raise Transient(
                f"cannot fetch «{item.file.name}»: it needs {format_size(item.file.size - have)}, the disk has "
                f"{format_size(max(free - SPARE, 0))} to spare"
            )

    async def _fetch(self, item: _File) -> None:
        file, source, part = item.file, item.source, self._store.part(item.file)
        if source.file is not None:
            path = file_url(source, file) or source.file
            await in_thread(partial(self._store.copy, Path(path), file))
            return
        await self._download.fetch(self._url(file, source), file, part, partial(self._tell, item))
        if file.size == 0:
            part.touch()

    def _url(self, file: ModelFile, source: ModelSource) -> str:
        if (url := file_url(source, file)) is not None:
            return url
        if self._download.hub is None:
            raise Refused(f"cannot fetch «{file.name}»: it is at the hub, and this node has none")
        return self._download.hub.blob_url(file.sha256)

    def _tell(self, item: _File, fetched: int) -> None:
        item.fetched, item.problem = fetched, ""
        now = self._clock.monotonic_ns()
        if now - self._told_at > TELL_EVERY:
            self._told_at = now
            self.changed.ring()

    def _settle_soon(self) -> None:
        self._settled = False
        if self._tidying is None or self._tidying.done():
            self._tidying = asyncio.create_task(self._until_settled(), name="models")

    async def _until_settled(self) -> None:
        guard = Guard("models", self._clock, self._chance)
        while not self._settled:
            self._settled = True
            await guard.run(self._settle)

    async def _settle(self) -> None:
        """Lists what is whole, and removes what nothing refers to and what exceeds the limit."""
        async with self._busy:
            whole = [
                model
                for one in sorted(self._wanted.values(), key=lambda one: one.generation)
                for model in one.models
                if not self._missing(model)
            ]
            newest = {model.name: model for model in whole}
            await self._write(partial(self._store.enter, newest.values()))
            await self._write(partial(self._store.tidy, self._needed(), self._views()))

    async def _write(self, work: Callable[[], None]) -> None:
        try:
            await in_thread(work)
        except OSError as error:
            raise Transient(f"cannot write to {self._store.root}: {error.strerror}") from error

    def _referring(self) -> list[Assignment]:
        return [*self._wanted.values(), *self._asked, *self._in_use()]

    def _needed(self) -> set[str]:
        """Hashes of the files that a workload needs, or that one was started from."""
        return {
            file.sha256 for one in self._referring() for model in one.models for file in model.files
        } | self._files.keys()

    def _views(self) -> set[str]:
        return {
            view_of(self._store.root, one.models).name for one in self._referring() if one.models
        }
