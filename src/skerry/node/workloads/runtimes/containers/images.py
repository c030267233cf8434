"""Images that workloads need: looked for, pulled with progress, and pulled again until they are there.

Implements `workloads.needs.Needs` for containers. One task for each image, whatever number of workloads want it;
what still runs from another image goes on until the new one is there. A registry that does not answer is no reason
to stop a workload whose image the engine has.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from skerry.kit.backoff import Backoff
from skerry.kit.bell import Bell
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.kit.units import format_size
from skerry.node.workloads.runtimes.containers.engine import Engine, PullLine
from skerry.wire.workload import Assignment

log = logging.getLogger(__name__)

AGAIN = Backoff(first=2.0, cap=300.0)
"""Between two pulls of an image that the registry does not give; a fleet's worth of nodes may ask at once."""

TELL_EVERY = 2.0
"""Seconds between two lines about the progress of one pull."""

_CHUNK = 1 << 20

Tell = Callable[[Assignment, str], None]
"""Writes a line into the workload's log."""


@dataclass
class Progress:
    """Bytes of each layer of one pull, as far as the engine has told."""

    layers: dict[str, tuple[int, int]] = field(default_factory=dict)

    def take(self, line: PullLine) -> None:
        """Counts one line of the engine's."""
        if line.id and line.status == "Downloading" and line.progress.total:
            self.layers[line.id] = (line.progress.current, line.progress.total)
        elif line.id and line.status in {"Download complete", "Pull complete", "Already exists"}:
            total = self.layers.get(line.id, (0, 0))[1]
            self.layers[line.id] = (total, total)

    def __str__(self) -> str:
        """«12 MB of 40 MB, 2 of 5 layers»."""
        if not self.layers:
            return "waiting for the registry"
        here = sum(current for current, _ in self.layers.values())
        whole = sum(total for _, total in self.layers.values())
        done = sum(current >= total for current, total in self.layers.values())
        return f"{format_size(here)} of {format_size(whole)}, {done} of {len(self.layers)} layers"


@dataclass
class _Image:
    """One wanted image: `missing` says why it cannot be used yet; empty: it can."""

    name: str
    users: list[Assignment]
    missing: str = "looking for its image"
    task: asyncio.Task[None] | None = None


class Images:
    """Implements `Needs`. `close` ends every pull; the engine keeps the layers that are complete."""

    def __init__(self, engine: Engine, tell: Tell, clock: Clock, chance: random.Random) -> None:
        self.changed = Bell()
        self._engine = engine
        self._tell = tell
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
        if container is None:
            return ""
        image = self._images.get(container.image)
        return (
            image.missing
            if image is not None
            else f"image {container.image} was not looked for yet"
        )

    async def check(self, assignment: Assignment) -> None:
        """The engine itself says so when an image has gone meanwhile."""

    async def load(self, archive: Path) -> list[str]:
        """Loads images from a file; what waits for one of them goes on at once. Returns the engine's words.

        Raises InvalidInput when the file cannot be read, Refused or Transient from the engine.
        """
        lines = await self._engine.load(_chunks(archive))
        for image in self._images.values():
            if image.missing:
                self._start(image)
        return lines

    async def close(self) -> None:
        """Ends every pull."""
        tasks = [image.task for image in self._images.values() if image.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, name: str, users: list[Assignment]) -> None:
        known = self._images.get(name)
        if known is None:
            self._start(_Image(name, users))
            return
        before, known.users = _pulls(known.users), users
        if _pulls(users) != before:
            self._start(known)

    def _drop(self, name: str) -> None:
        image = self._images.pop(name)
        if image.task is not None:
            image.task.cancel()

    def _start(self, image: _Image) -> None:
        if image.task is not None:
            image.task.cancel()
        self._images[image.name] = image
        image.task = asyncio.create_task(self._fetch(image), name=f"image {image.name}")

    async def _fetch(self, image: _Image) -> None:
        failures = 0
        while not await self._once(image):
            failures += 1
            await self._clock.sleep(AGAIN.delay(failures, self._chance))
        image.task = None

    async def _once(self, image: _Image) -> bool:
        """One try; False: it is still missing."""
        try:
            here = await self._engine.has_image(image.name)
            if here and "always" not in _pulls(image.users):
                self._set(image, "")
                return True
            if _pulls(image.users) == {"never"}:
                self._set(image, f"image {image.name} is not on this node. {_LOAD}")
                return False
            return await self._pull(image, here=here)
        except (Transient, Refused) as error:
            self._set(image, f"image {image.name}: {error}")
            return False

    async def _pull(self, image: _Image, *, here: bool) -> bool:
        progress, told = Progress(), 0
        problem = ""
        try:
            async for line in self._engine.pull(image.name):
                problem = problem or line.error
                progress.take(line)
                if self._clock.monotonic_ns() - told > TELL_EVERY * NS:
                    told = self._clock.monotonic_ns()
                    self._set(image, f"pulling image {image.name}: {progress}")
                    self._say(image, f"pulling image {image.name}: {progress}")
        except (Transient, Refused) as error:
            problem = str(error)
        if not problem:
            self._say(image, f"pulled image {image.name}: {progress}")
            self._set(image, "")
            return True
        if here:
            self._say(
                image, f"cannot pull image {image.name}: {problem}. The one that is here is used."
            )
            self._set(image, "")
            return True
        sentence = (
            f"image {image.name} is not on this node and cannot be pulled: {problem}. {_LOAD}"
        )
        if image.missing != sentence:
            self._say(image, sentence)
        self._set(image, sentence)
        return False

    def _set(self, image: _Image, missing: str) -> None:
        if image.missing != missing:
            image.missing = missing
            self.changed.ring()

    def _say(self, image: _Image, line: str) -> None:
        for user in image.users:
            self._tell(user, line)


async def _chunks(archive: Path) -> AsyncIterator[bytes]:
    try:
        with archive.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk
    except OSError as error:
        raise InvalidInput(f"cannot read {archive}: {error.strerror}") from error


def _pulls(users: Iterable[Assignment]) -> set[str]:
    return {user.spec.container.pull for user in users if user.spec.container is not None}


_LOAD = "Load it with: skerry image load FILE"
