"""One node's conversation with its hub: hello, and after it four lanes that push and one task that pulls.

`link` decides when to greet and when to part. A greeting on a living connection disturbs nothing that goes
well: it starts what has ended and turns back only the lanes of which the hub lost something.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

import msgspec

from skerry import __version__
from skerry.kit.bell import Bell
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import Transient
from skerry.kit.tasks import Tasks
from skerry.node.ports import Uplink
from skerry.node.proof import FleetTrust
from skerry.node.store.state import NodeStore
from skerry.node.sync.decide import (
    Continue,
    Decision,
    Held,
    HubWentBack,
    anchor,
    decide,
    hub_lost,
    other_history,
)
from skerry.node.sync.incarnation import begin_again
from skerry.node.sync.pull import PullLoop
from skerry.node.sync.push import LanePush
from skerry.wire.local import PullCounters
from skerry.wire.sync import PROTOCOL, RECORD_LANES, ROW_LANES, Hello, HelloReply, Lane, LanePoint

log = logging.getLogger(__name__)

LAST_SUCCESS = "last_success"
"""The fact's name; its value is in nanoseconds since 1970, as text."""


DOUBLE_STANDS = 300 * NS
"""How long the hub's word of a second agent holds when the hub can no longer be asked."""

DOUBLE_ASKED_EVERY = 60.0
"""Seconds between two hellos while there is a second agent."""


class Agent(msgspec.Struct, frozen=True):
    """This agent process: a random id of its own, and the machine's name for people."""

    run: str
    host: str


class Puller(Protocol):
    """A loop that takes over changes of the hub's: `pull.PullLoop`, `row_pull.RowPull`."""

    @property
    def problem(self) -> str:
        """Why the hub does not answer it as it should; empty when it does."""
        ...

    @property
    def last_success(self) -> int:
        """In ns since 1970; 0: never."""
        ...

    @property
    def begun(self) -> int:
        """Pulls that have begun since the start; they come one after the other."""
        ...

    @property
    def ended(self) -> int:
        """The last pull that ended well, by its number among those that have begun."""
        ...

    @property
    def refusals(self) -> int:
        """In a row."""
        ...

    @property
    def counts(self) -> PullCounters:
        """Since the start."""
        ...

    @property
    def may_be_held(self) -> bool:
        """Whether its questions wait while only high priority goes."""
        ...

    def hurry(self) -> None:
        """A pull that was refused is tried now."""
        ...

    async def save(self) -> None:
        """Keeps over a restart what only memory knows."""
        ...

    async def run(self) -> None:
        """Until cancelled."""
        ...


class _Finding(msgspec.Struct, frozen=True):
    """A lane as it is here, and what follows from the hub's point."""

    held: Held
    decision: Decision


class Session:
    """Runs under `tasks` of the caller. `check` is rung when only another hello can tell how things stand."""

    def __init__(  # noqa: PLR0913 - both ends of the conversation and all that takes part
        self,
        uplink: Uplink,
        store: NodeStore,
        pushes: Mapping[Lane, LanePush],
        pull: PullLoop,
        clock: Clock,
        check: Bell,
        *,
        agent: Agent,
        trust: FleetTrust | None = None,
    ) -> None:
        self._agent = agent
        self.fingerprint = ""
        """As which device Cyberwave's twins know this one; empty: it serves none."""
        self._trust = trust
        self._uplink = uplink
        self._store = store
        self._pushes = pushes
        self._pull = pull
        self._clock = clock
        self._check = check
        self._pushing: dict[Lane, asyncio.Task[None]] = {}
        self.pullers: list[Puller] = [pull]
        """The state's first, then those of shared rows where there are any: one, or one of each class."""
        self.row_news = Bell()
        """Rings for the pullers of shared rows, as `pull.news` for the state's."""
        self._pulling: dict[int, asyncio.Task[None]] = {}
        self.greetings = 0
        """Hellos that were answered since the start."""
        self._asking: asyncio.Task[None] | None = None
        self._saved_success = 0
        self._double = ""
        self._double_told_at = 0
        self.clock_skew: float | None = None
        """Seconds by which our wall clock was ahead of the hub's at the last hello."""

    async def greet(self, tasks: Tasks) -> None:
        """Says hello and takes up what the hub answers. Raises Transient, Refused or InvalidInput."""
        before = {lane: push.acknowledged for lane, push in self._pushes.items()}
        hello = self._hello()
        reply = await self._uplink.hello(hello)
        self.clock_skew = (self._clock.wall_ns() - reply.hub_time) / NS
        if self._trust is not None:
            self._trust.heard(reply.hub_time, reply.trust)
        self._double, self._double_told_at = reply.double, self._clock.monotonic_ns()
        findings = await self._compare(reply, before)
        cause = other_history({lane: found.decision for lane, found in findings.items()})
        if cause is not None:
            log.warning("the hub knows another history of this node (%s)", cause)
            reply, findings = await self._begin_again(hello, reply, findings)
        for lane, push in self._pushes.items():
            backed_up = reply.backed_up_through.get(lane, 0)
            # A unit's answer that came meanwhile may be the newer word: then the smaller one is safe.
            answered = push.acknowledged != before[lane]
            push.backed_up = min(backed_up, push.backed_up) if answered else backed_up
        for lane, found in findings.items():
            await self._resume(tasks, lane, found.decision)
        self._start_pulling(tasks)
        self.greetings += 1
        self._pull.news.ring()
        self.row_news.ring()
        if reply.double and (self._asking is None or self._asking.done()):
            self._asking = tasks.start(self._ask_again(), name="question after the other agent")

    def follow(self, puller: Puller) -> None:
        """It runs, too, from the next hello on."""
        self.pullers.append(puller)

    def _start_pulling(self, tasks: Tasks) -> None:
        for number, puller in enumerate(self.pullers):
            task = self._pulling.get(number)
            if task is None or task.done():
                self._pulling[number] = tasks.start(puller.run(), name=f"pull {number}")

    async def _ask_again(self) -> None:
        """The other agent may have ended: only a hello tells, and what it has stated must then be put right."""
        await self._clock.sleep(DOUBLE_ASKED_EVERY)
        self._check.ring()

    async def part(self) -> None:
        """The hub is out of reach: nothing is pushed or pulled until the next greeting."""
        for lane in self._pushes:
            await self._stop(lane)
        for task in self._pulling.values():
            await _end(task)
        await self.save()

    async def save(self) -> None:
        """Keeps over a restart what only memory knows; losing it, as on a full disk, costs a repeat."""
        try:
            for push in self._pushes.values():
                await push.save()
            for puller in self.pullers:
                await puller.save()
            if self.last_success > self._saved_success:
                await self._store.set_fact(LAST_SUCCESS, str(self.last_success), durable=False)
                self._saved_success = self.last_success
        except Transient as error:
            log.info("%s", error)

    @property
    def double(self) -> str:
        """Where another agent with this node's identity speaks to the hub, as the hub said lately; else empty."""
        age = self._clock.monotonic_ns() - self._double_told_at
        return self._double if age <= DOUBLE_STANDS else ""

    @property
    def row_pulls(self) -> PullCounters | None:
        """Those of shared rows together. None: there are none."""
        counts = [puller.counts for puller in self.pullers[1:]]
        return sum(counts, PullCounters()) if counts else None

    @property
    def last_success(self) -> int:
        """When the hub last took or gave something, in ns since 1970; 0 if not since the start."""
        pushed = [push.last_success for push in self._pushes.values()]
        return max(*(puller.last_success for puller in self.pullers), *pushed)

    @property
    def problems(self) -> list[str]:
        """Why something is not synced although the hub answers."""
        found = [puller.problem for puller in self.pullers]
        found += [push.problem for push in self._pushes.values()]
        return [problem for problem in found if problem]

    def _hello(self) -> Hello:
        return Hello(
            (PROTOCOL, PROTOCOL),
            self._store.incarnation,
            __version__,
            self._clock.boot_id(),
            self._agent.run,
            self._agent.host,
            trust=self._trust.number if self._trust else 0,
            trust_digest=self._trust.digest if self._trust else "",
            fingerprint=self.fingerprint,
        )

    async def _compare(
        self, reply: HelloReply, before: Mapping[Lane, LanePoint]
    ) -> dict[Lane, _Finding]:
        findings = {}
        for lane, push in self._pushes.items():
            hub = reply.lanes.get(lane, LanePoint())
            held = await push.feed.held(hub, before[lane])
            findings[lane] = _Finding(held, decide(hub, held))
        return findings

    async def _begin_again(
        self, hello: Hello, reply: HelloReply, findings: Mapping[Lane, _Finding]
    ) -> tuple[HelloReply, dict[Lane, _Finding]]:
        """What the hub says to the new incarnation: its word about backups was for another history, too."""
        await self.part()
        anchors = {
            lane: anchor(findings[lane].decision, findings[lane].held) for lane in RECORD_LANES
        }
        # Kept first: afterwards nothing tells rows that the hub has lost from rows that were deleted there.
        for lane in ROW_LANES:
            found = findings.get(lane)
            if found is not None and hub_lost(reply.lanes.get(lane, LanePoint()), found.held):
                await self._pushes[lane].feed.resume(HubWentBack(found.decision.after))
        await begin_again(self._uplink, self._store, hello, reply, anchors)
        for push in self._pushes.values():
            await push.load()
        before = {lane: push.acknowledged for lane, push in self._pushes.items()}
        fresh = await self._uplink.hello(self._hello())
        findings = await self._compare(fresh, before)
        if other_history({lane: found.decision for lane, found in findings.items()}) is not None:
            raise Transient("cannot go on as a new incarnation: the hub answers as if it were old")
        return fresh, findings

    async def _resume(self, tasks: Tasks, lane: Lane, decision: Decision) -> None:
        if isinstance(decision, Continue) and self._is_pushing(lane):
            return
        await self._stop(lane)
        push = self._pushes[lane]
        after = await push.feed.resume(decision)
        if isinstance(decision, HubWentBack):
            log.warning("the hub lost part of lane «%s»; sending again after %d", lane, after.n)
        self._pushing[lane] = tasks.start(self._push(push, after), name=f"push {lane}")

    async def _push(self, push: LanePush, after: LanePoint) -> None:
        cause = await push.run(after)
        if push.failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th … time: no flood
            log.info("%s", cause)
        self._check.ring()

    def _is_pushing(self, lane: Lane) -> bool:
        task = self._pushing.get(lane)
        return task is not None and not task.done()

    async def _stop(self, lane: Lane) -> None:
        await _end(self._pushing.pop(lane, None))


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task])
