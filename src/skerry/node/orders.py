"""Orders of the hub's to this node: restart, drain before it goes out of service, and what concerns twins. `core.order_steps` decides.

An order is a row that the hub writes, what became of it a row that only this node writes; both live in the store, so
an agent that starts anew knows what the one before it was at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol

from skerry.core.audit_entries import Deed
from skerry.core.order_steps import DRAINING, RESTARTING, step_of
from skerry.kit.clock import NS
from skerry.kit.errors import InvalidInput, SkerryError
from skerry.kit.one_line import one_line
from skerry.kit.tasks import Guard, Tasks
from skerry.node.host import Host
from skerry.node.store.state import NodeStore
from skerry.node.twin_ports import EdgeOrders, Told
from skerry.wire.codec import decode, encode
from skerry.wire.devices import (
    EDGE_ACTIONS,
    ENDED,
    MAX_MESSAGE,
    Action,
    Command,
    CommandState,
    Outcome,
)

log = logging.getLogger(__name__)

COMMAND, OUTCOME = "command", "outcome"

LOOK_EVERY = 0.5
"""Seconds between two looks at what the hub does not have yet."""

TELL_EVERY = 5
"""Looks between two words to the hub about it."""

_EXPIRED = "it came too late: nothing was done"
_UNKNOWN = "the agent that had begun it ended before it was done; it is not begun again"
_BROKEN = "an unexpected error ended it; the device's log has it"
_NEWER = "Install the release of Skerry that its hub has on this device"
_NO_TWINS = "this device serves no twins: cyberwave.enabled is not set there"


class Means(Protocol):
    """What carrying out orders takes (`services.Node`)."""

    async def end_workloads(self) -> None:
        """Nothing is wanted from now on; returns when nothing runs and the hub is being told."""
        ...

    async def unsent(self) -> Mapping[str, int]:
        """What the hub does not have yet, by lane, but for what this node states about itself."""
        ...

    def restart(self) -> None:
        """Has the agent end and start anew."""
        ...

    def ahead(self) -> float:
        """Seconds by which the clock here is ahead of the hub's, as far as is known."""
        ...


class Audit(Protocol):
    """Enters what is done (`audit.desk.AuditDesk`)."""

    async def begun(self, deed: Deed) -> int:
        """Raises Transient: then it must not be done."""
        ...

    async def hurry(self) -> None:
        """From now on the hub is told without delay."""
        ...


class Orders:
    """Carries out orders for as long as the agent lives; `edge` those about twins (None: this device serves none)."""

    def __init__(
        self,
        store: NodeStore,
        means: Means,
        audit: Audit,
        host: Host,
        edge: EdgeOrders | None = None,
    ) -> None:
        self._edge = edge
        self._store = store
        self._means = means
        self._audit = audit
        self._clock, self._chance = host.clock, host.chance
        self._guard = Guard("orders of the hub", host.clock, host.chance)
        self._doing: dict[str, asyncio.Task[None]] = {}

    async def run(self, tasks: Tasks) -> None:
        """Takes up what the store has, then whatever comes."""
        seen = self._store.orders_changed.count - 1
        while True:
            seen = await self._store.orders_changed.after(seen)
            while not await self._guard.run(partial(self._look, tasks)):
                pass

    async def _look(self, tasks: Tasks) -> None:
        told = {
            row.id: decode(row.body, Outcome, "an outcome")
            for row in await self._store.rows(OUTCOME)
        }
        rows = await self._store.rows(COMMAND)
        for row in rows:
            try:
                order = decode(row.body, Command, "an order")
            except InvalidInput as error:
                await self._refuse(row.id, told.get(row.id), error)
                continue
            if order.id not in self._doing:
                await self._take(order, told.get(order.id), tasks)
        for done in told.keys() - {row.id for row in rows}:
            if done not in self._doing:
                await self._store.remove(OUTCOME, done)

    async def _take(self, order: Command, told: Outcome | None, tasks: Tasks) -> None:
        match step_of(order, told, self._clock.wall_ns() - int(self._means.ahead() * NS)):
            case "begin":
                log.info("the hub orders: %s (%s)", order.action, order.issuer)
                about = f"{order.issuer}, twin {order.twin}" if order.twin else order.issuer
                deed = Deed("hub", "", f"order_{order.action}", order.id, detail=about)
                await self._audit.begun(deed)
                ends = order.action not in EDGE_ACTIONS
                await self._tell(order, "started", step=DRAINING if ends else "")
                work = self._work(order.action)
                name = f"order: {order.action}"
                self._doing[order.id] = tasks.start(self._do(order, work), name=name)
            case "expire":
                await self._tell(order, "expired", _EXPIRED)
            case "finish":
                await self._tell(order, "done")
            case "give up":
                await self._tell(order, "unknown", _UNKNOWN)
            case "nothing":
                pass

    async def _do(self, order: Command, work: Callable[[Command], Awaitable[None]]) -> None:
        try:
            await work(order)
        finally:
            del self._doing[order.id]
            self._store.orders_changed.ring()

    def _work(self, action: Action) -> Callable[[Command], Awaitable[None]]:
        if action == "restart":
            return self._restart
        return self._drain if action == "decommission" else self._about_twins

    async def _about_twins(self, order: Command) -> None:
        if self._edge is None:
            await self._close(order, "failed", _NO_TWINS)
            return
        told = Told(_BROKEN, failed=True)
        edge = self._edge

        async def once() -> None:
            nonlocal told
            try:
                told = await edge.do(order)
            except SkerryError as error:
                told = Told(str(error), failed=True)

        await self._guard_of(order).run(once)
        state: CommandState = "failed" if told.failed else "done"
        await self._close(order, state, told.message, reply=told.reply)

    async def _restart(self, order: Command) -> None:
        await self._means.end_workloads()
        await self._tell(order, "started", step=RESTARTING)
        self._means.restart()
        await asyncio.Event().wait()  # the agent ends, and this with it

    async def _drain(self, order: Command) -> None:
        await self._means.end_workloads()
        await self._audit.hurry()
        looks = 0
        before: dict[str, int] = {}
        while left := dict(await self._means.unsent()):
            if left != before and looks % TELL_EVERY == 0:
                await self._tell(order, "started", step=DRAINING, left=left)
                before = left
            looks += 1
            await self._clock.sleep(LOOK_EVERY)
        await self._close(order, "done", "the hub has everything")

    async def _close(
        self, order: Command, state: CommandState, message: str, *, reply: str = ""
    ) -> None:
        """Tells how it has ended; a disk that is full now keeps that, and nothing else, waiting."""
        guard = self._guard_of(order)
        tell = partial(self._tell, order, state, message, reply=reply)
        while not await guard.run(tell):
            pass

    def _guard_of(self, order: Command) -> Guard:
        return Guard(f"the hub's order to {order.action}", self._clock, self._chance)

    async def _refuse(self, order: str, told: Outcome | None, error: InvalidInput) -> None:
        """One that only a newer agent can read: it has an end, and the others are carried out."""
        if told is not None and told.state in ENDED:
            return
        words = one_line(f"{error}. {_NEWER}")[:MAX_MESSAGE]
        log.warning("the hub's order %s is not carried out: %s", order, words)
        state: CommandState = "failed" if told is None else "unknown"
        outcome = Outcome(order, state, self._clock.wall_ns(), words)
        await self._store.put(OUTCOME, order, encode(outcome), durable=True)

    async def _tell(
        self,
        order: Command,
        state: CommandState,
        message: str = "",
        *,
        step: str = "",
        left: dict[str, int] | None = None,
        reply: str = "",
    ) -> None:
        words = one_line(message)[:MAX_MESSAGE]
        outcome = Outcome(order.id, state, self._clock.wall_ns(), words, step, left or {}, reply)
        await self._store.put(OUTCOME, order.id, encode(outcome), durable=True)
        if state in ENDED:
            log.info("the hub's order to %s: %s", order.action, state)
