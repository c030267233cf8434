"""Enters what people do at this device, and counts what they may not. `api.guard` and the agent tell it."""

from __future__ import annotations

import logging
import random
import sqlite3
from pathlib import Path

from msgspec.structs import replace

from skerry.core.audit_entries import Deed, outcome_of
from skerry.core.refusals import Refusals
from skerry.kit.clock import NS, Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import SkerryError
from skerry.kit.tasks import Guard, Tasks
from skerry.node.audit.exchange import Exchange
from skerry.node.audit.left_outside import LeftOutside, take_in
from skerry.node.store.audit_log import AGENT_STARTS, AGENT_STOPS, AuditLog, enter, runs_on

log = logging.getLogger(__name__)

FLUSH_EVERY = 10.0
"""Seconds between two looks for counted refusals, and for what commands beside the agent have left."""

OF_WORKLOADS_A_DAY = 200
"""Entries about what workloads ask for: the log is kept for ever, and a workload may ask as cleverly as it likes."""

AGENT = Deed("skerry", "", AGENT_STARTS)
"""The agent itself."""

_OTHERS = Deed("", "", "others", outcome="refused")


class AuditDesk:
    """The way into the audit log of a running node."""

    def __init__(
        self,
        audit: AuditLog,
        data_dir: Path,
        disk: Disk,
        clock: Clock,
        chance: random.Random,
        exchange: Exchange | None = None,
    ) -> None:
        self._exchange = exchange
        self._audit = audit
        self._outside = LeftOutside(data_dir, disk, clock)
        self._clock = clock
        self._chance = chance
        # Apart, so that a workload that asks for ever does not hide what people are refused.
        self._of_people: Refusals[Deed] = Refusals(_OTHERS)
        self._of_workloads: Refusals[Deed] = Refusals(
            replace(_OTHERS, action="others, of workloads"), a_day=OF_WORKLOADS_A_DAY
        )

    async def starts(self, version: str, rebuilt: str) -> None:
        """The agent begins; `rebuilt` says how the database came to be another one, if it did. A full disk is no reason not to."""
        at = self._clock.wall_ns()
        outside = self._outside.read()

        def work(db: sqlite3.Connection) -> None:
            gone = runs_on(db)
            take_in(db, outside)
            if rebuilt:
                enter(db, replace(AGENT, action="database_rebuilt", detail=rebuilt), at)
            words = "; the one before ended without saying so" if gone else ""
            enter(db, replace(AGENT, detail=f"version {version}{words}"), at)

        try:
            await self._audit.write(work)
        except SkerryError as error:
            log.warning("cannot enter the start into the audit log: %s", error)
            return
        self._outside.taken(outside)

    async def stops(self) -> None:
        """The agent ends in good order."""
        await self.flush(everything=True)
        await self._add_if_possible(replace(AGENT, action=AGENT_STOPS))

    async def begun(self, deed: Deed) -> int:
        """Enters that something is about to be done; returns the entry's number. Raises Transient: then it must not be done."""
        return await self._audit.add(replace(deed, outcome="begun"))

    async def ended(self, deed: Deed, of: int, status: int) -> None:
        """Enters what came of it: by now it cannot be undone, so an outcome that cannot be entered is only logged."""
        await self._add_if_possible(replace(deed, outcome=outcome_of(status), status=status, of=of))

    async def refused(self, deed: Deed, status: int, *, of_workload: bool = False) -> None:
        """Tells a refusal at once, or counts it when there was an equal one, whatever its detail."""
        counts = self._of_workloads if of_workload else self._of_people
        kind = replace(deed, outcome="refused", status=status, detail="")
        told = counts.note(kind, self._clock.monotonic_ns())
        if told is not None:
            await self._add_if_possible(replace(told, detail=deed.detail))

    async def flush(self, *, everything: bool = False) -> None:
        """Tells of the refusals that were counted."""
        now = self._clock.monotonic_ns()
        for counts in (self._of_people, self._of_workloads):
            for told, count, window in counts.due(now, everything=everything):
                words = f"counted for up to {window // NS} s; {told.detail}".rstrip("; ")
                await self._add_if_possible(replace(told, count=count, detail=words))

    async def take_outside(self) -> None:
        """Enters what commands beside the agent have left. Raises Transient."""
        outside = self._outside.read()
        if outside:
            await self._audit.write(lambda db: take_in(db, outside))
            self._outside.taken(outside)

    async def hurry(self) -> None:
        """The device is about to go: what was counted is told now, and the hub of all of it without delay."""
        await self.flush(everything=True)
        if self._exchange is not None:
            self._exchange.hurry()

    def untold(self) -> int:
        """Entries that the hub does not have, and those that commands beside the agent have left."""
        exchange = self._exchange
        return 0 if exchange is None else exchange.untold() + len(self._outside.read())

    def follow(self, tasks: Tasks) -> None:
        """Tells of what was counted and left, and the hub of all of it, for as long as the tasks run."""
        guard = Guard("the audit log", self._clock, self._chance)
        tasks.forever(self._run(guard), name="audit log")
        if self._exchange is not None:
            self._exchange.follow(tasks)

    async def _run(self, guard: Guard) -> None:
        while True:
            await self._clock.sleep(FLUSH_EVERY)
            await guard.run(self._once)

    async def _once(self) -> None:
        await self.flush()
        await self.take_outside()

    async def _add_if_possible(self, deed: Deed) -> None:
        try:
            await self._audit.add(deed)
        except SkerryError as error:
            log.warning("cannot enter «%s» into the audit log: %s", deed.action, error)
