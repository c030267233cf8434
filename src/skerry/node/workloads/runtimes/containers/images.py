"""Images that workloads need: looked for, pulled with progress, and pulled again until they are there.

Implements `workloads.needs.Needs` for containers. One task for each image, whatever number of workloads want it;
what still runs from another image goes on until the new one is there. A registry that does not answer is no reason
to stop a workload whose image the engine has.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from skerry.kit.backoff import Backoff
from skerry.kit.bell import Bell
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.node.workloads.runtimes.containers.archives import chunks, opened
from skerry.node.workloads.runtimes.containers.engine import Engine, EngineRefusal
from skerry.node.workloads.runtimes.containers.gpus import gpu_request
from skerry.node.workloads.runtimes.containers.pulling import (
    LOAD,
    Progress,
    is_rare,
    why_missing,
    why_not_loaded,
)
from skerry.wire.records import Meta
from skerry.wire.workload import Assignment

log = logging.getLogger(__name__)

AGAIN = Backoff(first=2.0, cap=300.0)
"""Between two pulls of an image that the registry does not give; a fleet's worth of nodes may ask at once."""

SAY_EVERY = 2.0
"""Seconds between two lines about the progress of one pull."""

ANNOUNCE_EVERY = 5.0
"""Seconds between two events about it."""

FIRST_WORD = 60.0
"""Seconds for a registry's first word; engines wait for one that takes calls and says nothing without end."""

REGISTRY_PATIENCE = 15.0
"""Seconds for a registry's first word when the engine has the image anyway."""

REFRESH_PATIENCE = 3.0
REFRESH_SILENCE = 10.0
REFRESH_LONGEST = 60.0
"""Seconds without a first word, without another one, and in all, for which a start waits where nobody but the device asks
for a newer image. Then the one that is here is started, since a device has to start without a network; the pull goes on."""

_SILENT = "the registry has said nothing for"

EVENT = "skerry.image.pull"

Stage = Literal["started", "progress", "done", "failed"]
PullStage = Literal["started", "line", "done", "failed", "timed out", "kept"]

_OFTEN = frozenset({"Downloading", "Extracting"})
"""What engines say of each layer many times a second."""


class PullNews(msgspec.Struct, frozen=True):
    """What happens in a pull; `text` is the engine's own line, or why it failed. «kept»: the one that is here is used."""

    stage: PullStage
    image: str
    text: str = ""


class Voice(msgspec.Struct, frozen=True):
    """Who hears of pulls: `say` writes a line into the workload's log, `announce` an event of the node.

    `tell` is given what happens in a pull, for workloads whose contract has words of its own for that.
    """

    say: Callable[[Assignment, str], None]
    announce: Callable[[str, str, Meta], Awaitable[None]]
    tell: Callable[[Assignment, PullNews], None] = lambda _user, _news: None


Credentials = Callable[[str, Sequence[Assignment]], Awaitable[str | None]]
"""The registry's credentials for an image that these need, as the engine wants them. Raises Refused or Transient when there are none to use."""


class _Image(msgspec.Struct):
    """One wanted image. `waits` says what is under way, `problem` why the last try failed; neither: it is there.

    `kept`: why the one that is there may not be the newest. `lines` counts what the engine has said of the pull.
    """

    name: str
    users: list[Assignment]
    waits: str = "looking for its image"
    problem: str = ""
    tries: int = 0
    task: asyncio.Task[None] | None = None
    said: int = 0
    announced: int = 0
    kept: str = ""
    lines: int = 0

    @property
    def here(self) -> bool:
        return not self.waits and not self.problem

    @property
    def pulls(self) -> set[str]:
        return {one.spec.container.pull for one in self.users if one.spec.container is not None}

    @property
    def orders(self) -> set[object]:
        """What asks for a fresh pull: each start on purpose of those that pull always, and what the device asks for."""
        always: set[object] = {
            (one.workload, one.generation, one.restarts)
            for one in self.users
            if one.spec.container is not None and one.spec.container.pull == "always"
        }
        return always | {
            (one.workload, one.local.refreshes) for one in self.users if one.local.refreshes
        }

    def patience(self, *, here: bool) -> float:
        """For the registry's first word."""
        return REGISTRY_PATIENCE if here and "always" in self.pulls else FIRST_WORD


class Images:
    """Implements `Needs`. `close` ends every pull; the engine keeps the layers that are complete."""

    def __init__(
        self,
        engine: Engine,
        voice: Voice,
        credentials: Credentials,
        changed: Bell,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self.changed = changed
        self._engine = engine
        self._voice = voice
        self._credentials = credentials
        self._clock = clock
        self._chance = chance
        self._images: dict[str, _Image] = {}

    def want(self, assignments: Iterable[Assignment]) -> None:
        """The images of these assignments, and no others, are wanted."""
        wanted: dict[str, list[Assignment]] = {}
        for one in assignments:
            if one.spec.container is not None:
                wanted.setdefault(one.spec.container.image, []).append(one)
        for name in self._images.keys() - wanted.keys():
            self._drop(name)
        for name, users in wanted.items():
            self._take(name, users)

    def missing(self, assignment: Assignment) -> str:
        """Why the workload cannot be started yet; empty when nothing is missing."""
        container = assignment.spec.container
        image = None if container is None else self._images.get(container.image)
        if image is None:
            return "" if container is None else f"image {container.image} was not looked for yet"
        if image.problem:
            return f"cannot start workload «{assignment.workload}»: {image.problem}"
        return image.waits

    def problem(self, image: str) -> str:
        """Why a wanted image cannot be had at present; empty: it is here, or on its way, or not wanted."""
        found = self._images.get(image)
        return "" if found is None else found.problem

    def remark(self, workload: str) -> str:
        """What the status of a workload should say of its image besides."""
        used = (
            one
            for one in self._images.values()
            if workload in {user.workload for user in one.users}
        )
        return "; ".join(one.kept for one in used if one.here and one.kept)

    async def has_gpus(self) -> bool:
        """Whether the engine can give a container GPUs. Raises Transient."""
        try:
            info = await self._engine.info()
        except EngineRefusal as refusal:
            raise Transient(
                f"the container engine does not say whether it has GPUs: {refusal}"
            ) from refusal
        try:
            gpu_request(info, "all")
        except Refused:
            return False
        return True

    def look_again(self) -> None:
        """Tries at once whatever is missing: the engine is back, or has new images."""
        for image in self._images.values():
            if not image.here:
                self._start(image)

    def gone(self, name: str) -> None:
        """The engine has this image no more."""
        image = self._images.get(name)
        if image is not None and image.here:
            self._set(image, waits="its image was removed from this node: looking for it")
            self._start(image)

    async def check(self, assignment: Assignment) -> None:
        """The engine itself says so when an image has gone meanwhile."""

    async def load(self, archive: Path) -> list[str]:
        """Loads images from a file; what waits for one of them goes on at once. Returns the engine's words.

        Raises InvalidInput when the file cannot be read or is none, Refused or Transient from the engine.
        """
        try:
            file = opened(archive)
        except OSError as error:
            raise InvalidInput(f"cannot read {archive}: {error.strerror}") from error
        try:
            with file:
                return await self._engine.load(chunks(file))
        except EngineRefusal as refusal:
            raise Refused(why_not_loaded(archive, str(refusal))) from refusal
        finally:
            self.look_again()

    async def close(self) -> None:
        """Ends every pull."""
        tasks = [image.task for image in self._images.values() if image.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, name: str, users: list[Assignment]) -> None:
        known = self._images.get(name)
        if known is None:
            self._images[name] = known = _Image(name, users)
            self._start(known)
            return
        orders, pulls = known.orders, known.pulls
        known.users = users
        if pulls != known.pulls or known.orders - orders:
            if known.here:
                self._set(known, waits="looking for a newer image")
            self._start(known)

    def _drop(self, name: str) -> None:
        image = self._images.pop(name)
        if image.task is not None:
            image.task.cancel()

    def _start(self, image: _Image) -> None:
        if image.task is not None:
            image.task.cancel()
        image.task = asyncio.create_task(self._fetch(image), name=f"image {image.name}")

    async def _fetch(self, image: _Image) -> None:
        while not await self._once(image):
            await self._clock.sleep(AGAIN.delay(image.tries, self._chance))
        image.tries = 0

    async def _once(self, image: _Image) -> bool:
        """One try; False: it is still missing."""
        try:
            here = await self._engine.has_image(image.name)
            if here and not image.orders:
                self._set(image)
            elif image.pulls == {"never"}:
                rule = "and «container.pull» is «never»"
                self._set(image, problem=f"image {image.name} is not on this node {rule}. {LOAD}")
            else:
                await self._pull(image, here=here)
        except (Transient, Refused) as error:
            self._set(image, problem=str(error))
        return image.here

    async def _pull(self, image: _Image, *, here: bool) -> None:
        progress = Progress()
        if is_rare(image.tries + 1):
            self._tell(image, "started")
        await self._announce(image, "started", {})
        meanwhile = None
        if here and "always" not in image.pulls:
            meanwhile = asyncio.create_task(self._serve_meanwhile(image), name="pull that lasts")
        try:
            words = await self._stream(image, progress, here=here)
        except Refused as error:
            words = str(error)
        finally:
            if meanwhile is not None:
                meanwhile.cancel()
        if words:
            await self._failed(image, words, here=here)
            return
        self._say(image, f"pulled image {image.name}: {progress}")
        self._tell(image, "done")
        image.kept = f"image {image.name} was pulled after its start" if image.here else ""
        self._set(image)
        await self._announce(image, "done", progress.meta())

    async def _failed(self, image: _Image, words: str, *, here: bool) -> None:
        image.tries += 1
        rarely = is_rare(image.tries)
        if rarely:
            self._tell(image, "timed out" if words.startswith(_SILENT) else "failed", words)
        if here:
            self._say(
                image, f"cannot pull image {image.name}: {words}. The one that is here is used"
            )
            self._keep(image, words)
        else:
            sentence = why_missing(image.name, words, image.tries)
            self._set(image, problem=sentence)
            if rarely:
                self._say(image, sentence if words in sentence else f"{sentence} ({words})")
        if rarely:
            await self._announce(image, "failed", {"reason": words[:500], "tries": image.tries})

    async def _stream(self, image: _Image, progress: Progress, *, here: bool) -> str:
        """Follows one pull to its end; returns why it failed, or an empty text. Raises Refused."""
        words, limit = "", image.patience(here=here)
        try:
            credentials = await self._credentials(image.name, image.users)
            async with asyncio.timeout(limit) as patience:
                async for line in self._engine.pull(image.name, credentials):
                    patience.reschedule(None)
                    image.lines += 1
                    words = words or line.error
                    progress.take(line)
                    if line.status not in _OFTEN and line.status:
                        self._tell(image, "line", ": ".join(filter(None, (line.id, line.status))))
                    await self._progress(image, progress)
        except TimeoutError:
            return f"{_SILENT} {limit:g} s"
        except Transient as error:
            return str(error)
        return words

    async def _progress(self, image: _Image, progress: Progress) -> None:
        now = self._clock.monotonic_ns()
        if now - image.said > SAY_EVERY * NS:
            image.said = now
            sentence = f"pulling image {image.name}: {progress}"
            if not image.here:
                self._set(image, waits=sentence)
            self._say(image, sentence)
            self._tell(image, "line", str(progress))
        if progress.layers and now - image.announced > ANNOUNCE_EVERY * NS:
            image.announced = now
            await self._announce(image, "progress", progress.meta())

    async def _serve_meanwhile(self, image: _Image) -> None:
        """While a pull lasts, the image that is here: a start waits only as long as the registry speaks, and not for ever."""
        ends = self._clock.monotonic_ns() + int(REFRESH_LONGEST * NS)
        pause, why = REFRESH_PATIENCE, "its pull lasts"
        while (left := (ends - self._clock.monotonic_ns()) / NS) > 0:
            seen = image.lines
            await self._clock.sleep(min(pause, left))
            if image.lines == seen:
                why = f"{_SILENT} {pause:g} s"
                break
            pause = REFRESH_SILENCE
        self._keep(image, f"{why}; it goes on")

    def _keep(self, image: _Image, why: str) -> None:
        """The image that is here is used although a newer one was asked for."""
        image.kept = f"its image may not be the newest: {why}"
        if not image.here:
            log.warning("the image %s that is here is used: %s", image.name, why)
            self._tell(image, "kept", why)
        self._set(image)

    def _set(self, image: _Image, *, waits: str = "", problem: str = "") -> None:
        if (image.waits, image.problem) != (waits, problem):
            image.waits, image.problem = waits, problem
            self.changed.ring()

    def _say(self, image: _Image, line: str) -> None:
        for user in image.users:
            self._voice.say(user, line)

    def _tell(self, image: _Image, stage: PullStage, text: str = "") -> None:
        for user in image.users:
            self._voice.tell(user, PullNews(stage, image.name, text))

    async def _announce(self, image: _Image, stage: Stage, meta: Meta) -> None:
        workloads = ", ".join(sorted(user.workload for user in image.users))
        about: Meta = {"image": image.name[:512], "workloads": workloads[:512]}
        await self._voice.announce(EVENT, stage, about | meta)
