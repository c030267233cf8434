"""A hub and a node that share rows, one of which loses its power: both machines, their way to each other, what must fit.

Everything happens step by step, so that the number of an operation on the disk is a moment that can be met again. What
the two live through is in `row_story`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from tests.hub_rig import HubRig
from tests.sealing_rig import wanted, where

from skerry.kit.bell import Bell
from skerry.kit.disk import Disk, RealDisk
from skerry.kit.errors import Transient
from skerry.kit.sqlite import Driver, stdlib_driver
from skerry.node.store.encryption import open_encryption
from skerry.node.store.entity_rows import EntityRows
from skerry.node.store.opening import OpenedStore, opened
from skerry.node.store.shared_frames import SharedFrames
from skerry.node.store.shared_pulled import SharedPulled
from skerry.node.store.shared_rows import SharedRows
from skerry.node.sync.decide import OtherHistory, decide
from skerry.node.sync.pace import Pace
from skerry.node.sync.row_feed import RowFeed
from skerry.node.sync.row_pull import RowPull
from skerry.testing.apsw_driver import ApswDriver
from skerry.testing.manual_clock import ManualClock
from skerry.testing.power_cut import Fate, PowerCut, Volume
from skerry.testing.power_cut_disk import PowerCutDisk
from skerry.testing.power_cut_vfs import power_cut_vfs
from skerry.testing.running_hub import EnrolledNode
from skerry.testing.waiting import eventually
from skerry.wire.shared import Buckets, BucketsReply, RowsPage, RowsPart, RowsPull, RowsWanted
from skerry.wire.sync import (
    PROTOCOL,
    ROW_LANES,
    Hello,
    HelloReply,
    Lane,
    LanePoint,
    PushReply,
    PushUnit,
)

T = TypeVar("T")

Who = Literal["node", "hub"]

FEW = 3
"""Rows in a page, so that a pull has several transactions."""


class Moment(msgspec.Struct, frozen=True):
    """When the power of `who` fails: in that operation of its disk, counted from when both are open; 0: never."""

    who: Who
    operation: int = 0
    fate: Fate = "lost"


class Machine:
    """One of the two over its lives. Its power fails once, or never."""

    def __init__(self, home: Path, template: Path, *, fragile: bool) -> None:
        self._home = home
        self._fragile = fragile
        self.lives = 1
        self.directory = home / "1"
        shutil.copytree(template, self.directory)
        self.volume: Volume | None = None

    @property
    def cut(self) -> PowerCut | None:
        """What the failed power has left."""
        return None if self.volume is None else self.volume.cut

    @contextlib.contextmanager
    def mounted(self, fate: Fate) -> Iterator[tuple[Disk, Driver]]:
        """One life's disk."""
        if not self._fragile:
            yield RealDisk(), stdlib_driver
            return
        self.volume = Volume(self.directory, random.Random(self.lives), fates=[fate])
        with power_cut_vfs(self.volume) as vfs:
            yield PowerCutDisk(self.volume), ApswDriver(vfs)

    def restore(self) -> None:
        """The next life begins with what the cut has left, or with what is there."""
        assert self.volume is not None
        if self.volume.cut is not None:
            self.lives += 1
            self.directory = self._home / str(self.lives)
            self.volume.cut.restore(self.directory)


class RowNode(msgspec.Struct, frozen=True):
    """One life of the node."""

    store: OpenedStore
    rows: SharedRows
    frames: SharedFrames
    pulled: SharedPulled
    entities: EntityRows


@contextlib.asynccontextmanager
async def node_in(
    directory: Path, disk: Disk, driver: Driver, clock: ManualClock, node_id: str, *, sealed: bool
) -> AsyncIterator[RowNode]:
    """The node's tables, opened as its agent does."""
    wish = wanted() if sealed else None
    keys = partial(open_encryption, wish, where(directory), disk, clock, driver=driver)
    async with opened(directory, node_id, clock, disk, keys, driver=driver) as store:
        rows = SharedRows(store.writer, store.reader, clock, node_id, store.cipher)
        log = store.state.log
        frames = SharedFrames(rows, store.cipher, log)
        yield RowNode(store, rows, frames, SharedPulled(rows, log), EntityRows(rows, frames))


class Templates(msgspec.Struct, frozen=True):
    """A hub and a node that know each other and nothing else, in `directory`."""

    directory: Path
    enrolled: EnrolledNode
    sealed: bool


async def make_templates(directory: Path, *, sealed: bool) -> Templates:
    """Makes them in an empty directory."""
    (directory / "hub").mkdir()
    hub = HubRig(f"sqlite:///{directory / 'hub/hub.db'}", ManualClock())
    await hub.start()
    enrolled = await hub.enrol("n1")
    hub.stop()
    disk, place = RealDisk(), directory / "node"
    clock, node_id = ManualClock(), enrolled.node_id
    async with node_in(place, disk, stdlib_driver, clock, node_id, sealed=sealed) as node:
        await node.store.state.set_fact("node_id", node_id)
    return Templates(directory, enrolled, sealed)


class Way:
    """The node's way to the hub: implements `RowHub`. Nothing goes to or from a machine without power."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def hello(self, hello: Hello) -> HelloReply:
        return self._site.heard(await self._hub.greeter.hello(self._node_id, hello))

    async def push(self, unit: PushUnit) -> PushReply:
        self._site.heard(None)
        return self._site.heard(await self._hub.push(self._node_id, unit))

    async def rows(self, pull: RowsPull) -> RowsPage:
        self._site.heard(None)
        return self._site.heard(await self._hub.row_feed.answer(self._node_id, pull))

    async def buckets(self, sums: Buckets) -> BucketsReply:
        self._site.heard(None)
        return self._site.heard(await self._hub.row_feed.buckets(sums))

    async def wanted(self, wanted: RowsWanted) -> RowsPart:
        self._site.heard(None)
        return self._site.heard(await self._hub.row_feed.wanted(wanted))

    @property
    def _hub(self) -> HubRig:
        return self._site.hub

    @property
    def _node_id(self) -> str:
        return self._site.enrolled.node_id


class Site:
    """Both, and what the story's steps are made of."""

    node: RowNode
    hub: HubRig

    def __init__(self, home: Path, templates: Templates, moment: Moment) -> None:
        self.enrolled = templates.enrolled
        self.clock = ManualClock()
        self.moment = moment
        self._sealed = templates.sealed
        self._machines = {
            who: Machine(home / who, templates.directory / who, fragile=who == moment.who)
            for who in ("node", "hub")
        }
        self._lives: dict[str, contextlib.AsyncExitStack] = {}
        self.way = Way(self)

    @property
    def fragile(self) -> Machine:
        """The one whose power may fail."""
        return self._machines[self.moment.who]

    @property
    def operations(self) -> int:
        """Of the fragile disk in this life."""
        assert self.fragile.volume is not None
        return self.fragile.volume.operations

    @property
    def has_failed(self) -> bool:
        """Whether the power has failed."""
        return self.fragile.lives > 1

    def heard(self, answer: T) -> T:
        """The answer. Raises Transient when its power has failed on somebody."""
        if self.fragile.cut is not None:
            raise Transient("cannot reach hub: no power")
        return answer

    async def open(self) -> None:
        """Starts both; the moment is counted from here."""
        await self._start("hub")
        await self._start("node")
        assert self.fragile.volume is not None
        if self.moment.operation:
            self.fragile.volume.cut_after(self.moment.operation)

    async def close(self) -> None:
        for who in list(self._lives):
            await self._lives.pop(who).aclose()

    async def start_after_cut(self) -> None:
        """The one that has lost its power is there again."""
        await self.restart(self.moment.who)

    async def restart(self, who: Who) -> None:
        await self._lives.pop(who).aclose()
        if who == self.moment.who:
            self.fragile.restore()
        await self._start(who)

    async def keep_hub(self, copy: Path) -> None:
        """Copies the hub as it is now."""
        await self._lives.pop("hub").aclose()
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self._machines["hub"].directory, copy)
        await self._start("hub")

    async def put_hub_back(self, copy: Path) -> None:
        """The hub is what it was."""
        await self._lives.pop("hub").aclose()
        shutil.rmtree(self._machines["hub"].directory)
        shutil.copytree(copy, self._machines["hub"].directory)
        await self._start("hub")

    async def _start(self, who: str) -> None:
        machine, life = self._machines[who], contextlib.AsyncExitStack()
        disk, driver = life.enter_context(machine.mounted(self.moment.fate))
        self._lives[who] = life
        if who == "hub":
            url = f"sqlite:///{machine.directory / 'hub.db'}"
            self.hub = HubRig(url, self.clock, driver=driver)
            life.callback(self.hub.stop)
            await self.hub.start()
            return
        self.node = await life.enter_async_context(
            node_in(
                machine.directory, disk, driver, self.clock, self.enrolled.node_id, sealed=self._sealed
            )
        )  # fmt: skip

    async def freeze(self) -> None:
        """What waits goes into frames, which are not sent yet."""
        for lane in ROW_LANES:
            while await self.node.frames.freeze(lane):  # one frame is of one entity
                pass

    async def push(self) -> None:
        """Everything that waits, and the answers to it."""
        for lane in ROW_LANES:
            feed = self._feed(lane)
            after = await self._greet(feed)
            while (going := await feed.unit(after)) is not None:
                if going.meanwhile is not None:
                    await going.meanwhile()
                reply = await self.way.push(going.unit)
                assert reply.outcome == "ok", (lane, reply.outcome, reply.point)
                await feed.confirm(reply)
                after = reply.point

    async def round(self) -> None:
        """All is pulled, also while answers are missing that went with the power; these are given again."""
        await self.pull()
        await self.push()
        await self.pull()

    async def pull(self) -> None:
        """Everything that the hub has, compared at the end; each question comes after another hello."""
        for lane in ROW_LANES:
            await self._greet(self._feed(lane))
        rows, pulled, state = self.node.rows, self.node.pulled, self.node.store.state
        hellos = count()
        pull = RowPull(
            self.way, rows, pulled, self.clock, random.Random(1), news=Bell(), check=Bell(),
            greeted=lambda: next(hellos), pace=Pace(), log=state.log, limit=FEW,
        )  # fmt: skip
        running = asyncio.create_task(pull.run())
        try:
            await eventually(
                lambda: pull.ended > 0 or self.fragile.cut is not None, "rows are pulled"
            )
        finally:
            running.cancel()
            await asyncio.wait([running])

    def _feed(self, lane: Lane) -> RowFeed:
        node = self.node
        return RowFeed(
            lane, 0.0, node.frames, node.pulled, node.store.state, node.rows.changed, news=Bell(), boot_id="b"
        )  # fmt: skip

    async def _greet(self, feed: RowFeed) -> LanePoint:
        """Where the lane goes on after a hello. The history is never another one, whatever was cut."""
        hello = Hello((PROTOCOL, PROTOCOL), self.node.store.state.incarnation, "0", "b")
        reply = await self.way.hello(hello)
        hub = reply.lanes.get(feed.lane, LanePoint())
        decision = decide(hub, await feed.held(hub, await feed.load()))
        assert not isinstance(decision, OtherHistory), (feed.lane, decision.cause)
        return await feed.resume(decision)
