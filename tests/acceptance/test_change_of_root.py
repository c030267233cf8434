"""The fleet's root is changed under agents that publish all the time, while the hub is killed within its steps.

Some nodes are always there. Some are away from before the change until it waits for nothing but them. Some hear of the
new root, and are away until everything else hangs on it and certificates have ended; one may do both. In the end nobody
enrolled again, everything that was accepted is at the hub once, and the former root is of no use, neither to a node nor
to a hub.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tests.installation import Installation, Node, installation, sleeper
from tests.live_load import WORKLOAD, Load, all_there, under_load
from tests.stolen_root import Stolen

from skerry.cli.http import Unreachable
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Refused
from skerry.kit.sealing.cipher import NullCipher
from skerry.node.identity import read_identity
from skerry.node.trust.files import TrustFiles, key_in
from skerry.testing.chaos_proxy import ChaosProxy
from skerry.testing.waiting import eventually
from skerry.wire.trust import TrustView

log = logging.getLogger(__name__)

AWAY = 4 * 86_400.0
"""By so many seconds the hub's clock moves when the new root is in use: all certificates of before have ended."""

Death = tuple[str, int]
"""At the operation of this label and number since the hub's start."""


@dataclass(frozen=True)
class Deaths:
    """Of the hub: while the change begins, while it ends (there the first one has begun it, too), and in the start after that."""

    rotating: Sequence[Death]
    finishing: Sequence[Death]
    starting: Sequence[Death] = ()


AT_ITS_END = Deaths([], [("trust.next-root.key", 2)])
BETWEEN_CERTIFICATE_AND_KEY = Deaths([("trust.next-root.key", 1)], [("trust.next-root.key", 2)])
EVERYWHERE = Deaths(
    [("trust.next-root.crt", 1), ("trust.next-root.key", 1)],
    [("trust.next-root.crt", 2), ("trust.next-root.key", 1)],
    [("trust.intermediate.key", 1), ("trust.intermediate.crt", 1)],
)


class Member:
    """A node of the fleet, behind a way that can be cut."""

    def __init__(self, node: Node, way: ChaosProxy) -> None:
        self.node = node
        self._way = way

    async def leave(self) -> None:
        self._way.refuse()
        self._way.reset_all()
        await eventually(partial(self.node.link_is, "offline"), f"{self.node.name} is cut off")

    def come_back(self) -> None:
        self._way.heal()

    @property
    def files(self) -> TrustFiles:
        return TrustFiles(self.node.directory, RealDisk(), NullCipher())

    def roots(self) -> list[str]:
        return self.files.bundle().roots

    def who(self) -> tuple[str, bytes]:
        """What enrolling anew would change."""
        own = self.files.own()
        assert own is not None
        return read_identity(self.node.directory).node_id, key_in(own)


@dataclass(frozen=True)
class Fleet:
    """Nodes by what they do while the root is changed: `absent` before it is told, `asleep` when it is in use."""

    site: Installation
    lively: list[Member]
    absent: list[Member]
    asleep: list[Member]

    @property
    def awake(self) -> list[Member]:
        """Who is there when the new root is in use."""
        return [each for each in self.all if each not in self.asleep]

    @property
    def all(self) -> list[Member]:
        return list(dict.fromkeys([*self.lively, *self.absent, *self.asleep]))

    async def trust(self) -> TrustView:
        async with self.site.hub.api() as api:
            return await api.get("/api/v1/trust", TrustView)

    async def is_retired(self, number: int) -> bool:
        return (await self.trust()).roots[number - 1].state == "retired"

    async def waits_for(self, names: list[str]) -> bool:
        return (await self.trust()).behind == names

    async def hang_on(self, number: int, count: int) -> bool:
        return (await self.trust()).roots[number - 1].nodes == count

    async def restart(self, ahead: float, label: str = "-", nth: int = 0) -> None:
        """By SIGKILL."""
        await self.site.hub.kill()
        await self.site.hub.begin(ahead, label, nth)

    async def dies(self) -> None:
        process = self.site.hub.process.process
        assert process is not None
        async with asyncio.timeout(60):
            assert await process.wait() == -signal.SIGKILL, self.site.hub.log.read_text()

    async def dies_at(self, step: str) -> None:
        await self.site.hub.ready()
        with pytest.raises(Unreachable):
            await self.ask(step)
        await self.dies()

    async def ask(self, step: str) -> None:
        """What `skerry hub ca rotate` asks for: «rotate», and with --finish «finish»."""
        async with self.site.hub.api() as api:
            await api.send("POST", f"/api/v1/trust/{step}", None, TrustView)

    async def believe(self, members: Sequence[Member], count: int) -> None:
        for each in members:
            said = f"{each.node.name} believes {count}"
            await eventually(lambda each=each: len(each.roots()) == count, said, 60)

    async def online(self, members: Sequence[Member]) -> None:
        for each in members:
            said = f"{each.node.name} is online"
            await eventually(partial(each.node.link_is, "online"), said, 60)


@contextlib.asynccontextmanager
async def fleet(directory: Path, counts: Sequence[int]) -> AsyncIterator[Fleet]:
    """So many `lively`, `absent` and `asleep` nodes, whose workloads run; without a third number the second are both."""
    numbers = itertools.count(1)
    async with installation(directory) as site, contextlib.AsyncExitStack() as ways:

        async def member() -> Member:
            way = await ways.enter_async_context(ChaosProxy("127.0.0.1", site.hub.nodes_port))
            node = site.node(f"n{next(numbers)}", f"https://127.0.0.1:{way.port}")
            await node.enrol(site.hub)
            await node.start()
            return Member(node, way)

        await site.hub.apply(sleeper(WORKLOAD))
        kinds = [[await member() for _ in range(count)] for count in counts]
        found = Fleet(site, kinds[0], kinds[1], kinds[-1])
        for each in found.all:
            await eventually(partial(each.node.runs, WORKLOAD), f"{each.node.name} works", 60)
        yield found


async def change(fleet: Fleet, loads: list[Load], deaths: Deaths, number: int) -> None:
    """From root `number`, under which everything was issued until now, to the next one."""
    before, after = (number - 1) * AWAY, number * AWAY
    stolen = Stolen(fleet.site.hub, fleet.lively[0].node, after)
    for each in fleet.absent:
        await each.leave()
    for death in deaths.rotating:
        await fleet.restart(before, *death)
        await fleet.dies_at("rotate")
    await fleet.restart(before, *deaths.finishing[0])
    await fleet.site.hub.ready()
    await fleet.ask("rotate")
    there = [each for each in fleet.all if each not in fleet.absent]
    await fleet.believe(there, 2)
    late = sorted(each.node.name for each in fleet.absent)
    await eventually(partial(fleet.waits_for, late), f"the change waits for {late}", 60)
    with pytest.raises(Refused, match=", ".join(late)):
        await fleet.ask("finish")
    for each in fleet.absent:
        each.come_back()
    await fleet.believe(fleet.absent, 2)
    await eventually(partial(fleet.waits_for, []), "the change waits for nobody", 60)
    for each in fleet.asleep:
        await each.leave()
    await asyncio.gather(*(load.go_on() for load in loads))
    await fleet.dies_at("finish")
    for death in deaths.finishing[1:]:
        await fleet.restart(before, *death)
        await fleet.dies_at("finish")
    for death in deaths.starting:
        await fleet.restart(after, *death)
        await fleet.dies()
    await fleet.restart(after)
    await fleet.site.hub.ready()
    await fleet.online(fleet.awake)
    await eventually(
        partial(fleet.hang_on, number, len(fleet.asleep)), "who is there hangs on the new root", 60
    )
    assert await stolen.node_is_let_in()
    assert await stolen.hub_is_believed()
    for each in fleet.asleep:
        each.come_back()
    await eventually(partial(fleet.hang_on, number, 0), "nobody hangs on the former root", 60)
    await fleet.restart(after)
    await fleet.site.hub.ready()
    await eventually(partial(fleet.is_retired, number), "the former root is retired", 60)
    await fleet.believe(fleet.all, 1)
    await fleet.online(fleet.all)
    assert not await stolen.node_is_let_in()
    assert not await stolen.hub_is_believed()
    await asyncio.gather(*(load.go_on() for load in loads))


async def live_through(directory: Path, counts: Sequence[int], changes: Sequence[Deaths]) -> None:
    async with fleet(directory, counts) as found:
        nodes = [each.node for each in found.all]
        pids = [await node.pids() for node in nodes]
        who = [each.who() for each in found.all]
        async with under_load(nodes) as loads:
            for number, deaths in enumerate(changes, start=1):
                await change(found, loads, deaths, number)
        counted = await all_there(found.site, loads)
        log.info("%d nodes, %d changes: %s", len(nodes), len(changes), counted)
        assert [each.who() for each in found.all] == who, "somebody enrolled again"
        assert [await node.pids() for node in nodes] == pids


@pytest.mark.guarantee("G1")
@pytest.mark.timeout(240)
async def test_a_change_of_root_under_load_loses_nothing(short_dir: Path) -> None:
    await live_through(short_dir, [1, 1], [AT_ITS_END])


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_three_changes_of_root_in_a_larger_fleet(short_dir: Path) -> None:
    await live_through(short_dir, [4, 3, 3], [EVERYWHERE, BETWEEN_CERTIFICATE_AND_KEY, EVERYWHERE])
