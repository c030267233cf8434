"""Hands what is to be kept to the node: exactly once what it has accepted, and in order for each channel.

While the node is away samples wait in memory. What finds no room there is counted, and the channel's next record tells it.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

from skerry import sdk
from skerry.kit.errors import SkerryError, StorageFull
from skerry.runners.zenoh import content
from skerry.runners.zenoh.content import Taken
from skerry.runners.zenoh.endings import say
from skerry.runners.zenoh.rules import Channel, Channels
from skerry.wire.records import Meta, PublishedRecord

T = TypeVar("T")

MEMORY = 32 * 1024 * 1024
FILES_MEMORY = 96 * 1024 * 1024
"""At least two of the largest samples."""

BATCH = 500
_OVERHEAD = 512
_FULL_SECONDS = 5.0


class Rings(Protocol):
    """What keeps samples for recordings (`ring.Ring`)."""

    def add(self, channel: Channel, at: float, framed: bytes) -> None: ...


class _File(NamedTuple):
    name: str
    at: int
    data: bytes
    meta: Meta


class Waiting(Generic[T]):
    """What waits for a thread, in at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._held: collections.deque[tuple[int, T]] = collections.deque()
        self._news = threading.Condition()

    def put(self, size: int, item: T) -> bool:
        """False: there is no room. One that is alone always finds it."""
        with self._news:
            if self._held and self._size + size > self._limit:
                return False
            self._held.append((size, item))
            self._size += size
            self._news.notify()
            return True

    def take(self, most: int) -> list[T]:
        """Waits for one or more."""
        with self._news:
            while not self._held:
                self._news.wait()
            taken = [self._held.popleft() for _ in range(min(most, len(self._held)))]
            self._size -= sum(size for size, _ in taken)
            return [item for _, item in taken]


class Recorder:
    """`heard` may be called from any thread and never waits; the threads of `start` carry on. `ring`: None where no rule has one."""

    def __init__(
        self,
        channels: Channels,
        ring: Rings | None,
        wall_ns: Callable[[], int],
        seconds: Callable[[], float],
    ) -> None:
        self._channels = channels
        self._ring = ring
        self._wall_ns = wall_ns
        self._seconds = seconds
        self._lock = threading.Lock()
        self._lost: collections.Counter[str] = collections.Counter()
        self._records: Waiting[PublishedRecord] = Waiting(MEMORY)
        self._files: Waiting[_File] = Waiting(FILES_MEMORY)

    def start(self) -> None:
        """Begins to hand over."""
        for body in (self._publish, self._upload):
            threading.Thread(target=body, name=body.__name__, daemon=True).start()

    def wants(self, expression: str) -> bool:
        """Whether anything is kept of the samples of this key."""
        with self._lock:
            return self._channels.of(expression) is not None

    def heard(self, expression: str, framed: bytes) -> None:
        """A sample of any key."""
        with self._lock:
            channel = self._channels.of(expression)
            if channel is None:
                return
            now, wall = self._seconds(), self._wall_ns()
            if channel.kept and channel.pace.takes(now):
                self._keep(channel, content.take(framed, wall), now)
            if self._ring and channel.ring and channel.ring_pace.takes(now):
                self._ring.add(channel, wall / 1e9, framed)

    def _keep(self, channel: Channel, taken: Taken, now: float) -> None:
        assert channel.kept  # noqa: S101 - by the caller
        if channel.kept.kept != "file":
            value = content.as_value(taken)
            if value is not None:
                meta = self._counted(channel, taken.meta)
                record = PublishedRecord(channel.name, value, taken.at, meta)
                size = len(value) if isinstance(value, str) else 0
                self._waits(channel, self._records.put(size + _OVERHEAD, record))
                return
            if not channel.file_pace.takes(now):
                return
        meta = self._counted(channel, {**taken.meta, "format": content.file_kind(taken)})
        data = content.as_file(taken)
        file = _File(channel.name, taken.at, data, meta)
        self._waits(channel, self._files.put(len(data) + _OVERHEAD, file))

    def _counted(self, channel: Channel, meta: Meta) -> Meta:
        """With how many samples before it were left out by the rule, or lost for want of room."""
        counts = {
            "thinned": channel.pace.left() + channel.file_pace.left(),
            "lost": self._lost[channel.name],
        }
        return meta | {name: count for name, count in counts.items() if count}

    def _waits(self, channel: Channel, found_room: bool) -> None:  # noqa: FBT001 - what `put` said
        if found_room:
            del self._lost[channel.name]
            return
        if not self._lost[channel.name]:
            say(f"the node does not take {channel.name} as fast as it comes: samples are lost")
        self._lost[channel.name] += 1

    def _publish(self) -> None:
        while True:
            hand_over(self._records.take(BATCH))

    def _upload(self) -> None:
        while True:
            [file] = self._files.take(1)
            hand_in(file)


def hand_over(records: list[PublishedRecord]) -> None:
    """Returns when all of them are durable; one that the node refuses is told and left out."""
    try:
        patiently(lambda: sdk.publish_many(records), "")
    except SkerryError as error:
        if len(records) == 1:
            say(f"{records[0].name}: {error}")
            return
        for record in records:
            hand_over([record])


def hand_in(file: _File) -> None:
    """Returns when it is durable, or the node has refused it."""
    patiently(
        lambda: sdk.upload(file.data, name=file.name, meta=file.meta, at=file.at),
        f"a sample of {file.name}",
    )


def patiently(once: Callable[[], object], what: str) -> None:
    """Does it, also when there is no room at the node for long. What it refuses otherwise is told as `what`, or raised without."""
    said = False
    while True:
        try:
            once()
        except StorageFull as error:
            if not said:
                say(f"{error}; trying on")
                said = True
            time.sleep(_FULL_SECONDS)
        except SkerryError as error:
            if not what:
                raise
            say(f"cannot hand over {what}: {error}")
            return
        else:
            return
