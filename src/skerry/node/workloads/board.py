"""What the loops of this room share: wishes, rows as they were committed, exits that wait, and who must be woken.

Lives in one event loop and never waits. It is a copy: the store has the truth, and a new agent fills it again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable

import msgspec

from skerry.kit.bell import Bell
from skerry.kit.errors import SkerryError
from skerry.node.ports import EngineRestart, Excess, InstanceExit, InstanceNews, Living, Restarted
from skerry.node.store.instances import ActualWorkload, Instance
from skerry.node.workloads.admission import reservation
from skerry.node.workloads.dependencies import dependants
from skerry.node.workloads.ledger import MemoryLedger
from skerry.node.workloads.locks import LockOrder
from skerry.wire.workload import Assignment, own_directory_limit


class Order(msgspec.Struct, frozen=True):
    """An order, and where its giver waits for what comes of it."""

    order: LockOrder
    answer: asyncio.Future[ActualWorkload]

    def done(self, actual: ActualWorkload) -> None:
        """It has been carried out."""
        if not self.answer.done():
            self.answer.set_result(actual)

    def fail(self, error: SkerryError) -> None:
        """It cannot be carried out."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Board:
    """Every change goes through a method, which rings the bell of each workload that it may concern."""

    def __init__(self, memory_limit: int | None, now: Callable[[], int]) -> None:
        self.desired: dict[str, Assignment] = {}
        self.actual: dict[str, ActualWorkload] = {}
        self.exits: dict[str, InstanceExit] = {}
        """Exits by instance that are not committed yet."""
        self.restarts: dict[str, EngineRestart] = {}
        """Restarts by an engine, by instance, that are not committed yet."""
        self.listeners: list[Callable[[Restarted], None]] = []
        self.unacknowledged: set[str] = set()
        """Instances whose end is committed and that the runtime may forget."""
        self.unreported: set[str] = set()
        """Workloads whose status has changed since it was reported."""
        self.news = Bell()
        """Rings when one of the two sets has changed."""
        self.bells: defaultdict[str, Bell] = defaultdict(Bell)
        self.orders: defaultdict[str, deque[Order]] = defaultdict(deque)
        """Orders of workloads and people about locks, which the workload's unit takes in their turn."""
        self._excesses: dict[str, Excess] = {}
        self.ledger = MemoryLedger(memory_limit, lambda name: self.bells[name].ring(), now)
        self._owners: dict[str, str] = {}
        self.attached = False

    def want(self, assignments: Iterable[Assignment]) -> None:
        """Takes the whole set of wishes."""
        before, self.desired = self.desired, {wish.workload: wish for wish in assignments}
        for name in before.keys() | self.desired.keys():
            if before.get(name) != self.desired.get(name):
                self.bells[name].ring()
                self._ring_dependants(name)

    def exceeds(self, excess: Excess) -> None:
        """An instance is over a limit. One that is not here any more is left alone."""
        owner = self._owners.get(excess.instance)
        if owner is not None:
            self._excesses[excess.instance] = excess
            self.bells[owner].ring()

    def excesses_of(self, actual: ActualWorkload | None) -> tuple[Excess, ...]:
        """The limits that its instances are over."""
        instances = () if actual is None else actual.instances
        return tuple(self._excesses[one.id] for one in instances if one.id in self._excesses)

    def living(self) -> list[Living]:
        """Every live instance, by workload, as the limits see it."""
        return [
            Living(
                workload=name,
                instance=row.instance.id,
                identity=row.instance.identity,
                reserved=reservation(row.assignment.spec),
                storage=own_directory_limit(row.assignment.spec),
                ending=self._ending(row.instance),
            )
            for name, one in sorted(self.actual.items())
            for row in (one, one.beside)
            if row is not None and row.instance is not None
        ]

    def _ending(self, instance: Instance) -> str:
        told = self._excesses.get(instance.id)
        return instance.cause if told is None else told.reason

    def put(self, name: str, actual: ActualWorkload | None) -> None:
        """Takes a committed row; None: the workload is forgotten."""
        before = self.actual.pop(name, None)
        if before is None and actual is None:
            return
        if actual is not None:
            self.actual[name] = actual
        self._follow_instances(name, before, actual)
        self.unreported.add(name)
        self.news.ring()
        if before is None or actual is None or _condition(before) != _condition(actual):
            self._ring_dependants(name)

    def hear(self, news: InstanceNews) -> None:
        """Takes what the runtime tells of an instance."""
        if isinstance(news, InstanceExit):
            self.exited(news)
            return
        owner = self._owners.get(news.instance)
        if owner is None and self.attached:  # it was written off, and yet runs: it must not
            self._release(news.instance)
            return
        self.restarts[news.instance] = news
        if owner is not None:
            self.bells[owner].ring()

    def restart_of(self, actual: ActualWorkload) -> EngineRestart | None:
        """The restart of one of its instances that is to be written next."""
        told = (self.restarts.get(instance.id) for instance in actual.instances)
        return next((one for one in told if one is not None), None)

    def written(self, restart: EngineRestart) -> None:
        """It is committed; another may have been told meanwhile."""
        if self.restarts.get(restart.instance) is restart:
            del self.restarts[restart.instance]

    def tell(self, restarted: Restarted) -> None:
        """A workload has ended by itself."""
        for listener in self.listeners:
            listener(restarted)

    def exited(self, exit_: InstanceExit) -> None:
        """Takes an exit from the runtime. One that no row waits for was committed before and is acknowledged again."""
        owner = self._owners.get(exit_.instance)
        if owner is None and self.attached:
            self._release(exit_.instance)
            return
        self.exits[exit_.instance] = exit_
        if owner is not None:
            self.bells[owner].ring()

    def attach(self, actual: Iterable[ActualWorkload]) -> None:
        """Takes the rows that a new agent starts from; exits that came meanwhile and concern none are let go."""
        for one in actual:
            self.put(one.name, one)
        self.ledger.take_over(self.actual.values())
        self.attached = True
        for instance in self.exits.keys() - self._owners.keys():
            self._release(instance)
        for instance in self.restarts.keys() - self._owners.keys():
            self._release(instance)

    def owns(self, instance: str) -> bool:
        """Whether a row has this instance."""
        return instance in self._owners

    def acknowledged(self, instance: str) -> None:
        """The runtime has forgotten the instance."""
        self.unacknowledged.discard(instance)
        self.news.ring()

    async def order(self, name: str, order: LockOrder) -> ActualWorkload:
        """Returns the row as it is committed with the order. Raises Refused or NotFound."""
        waiting = Order(order, asyncio.get_running_loop().create_future())
        self.orders[name].append(waiting)
        self.bells[name].ring()
        return await waiting.answer

    def refuse_orders(self, name: str, error: SkerryError) -> None:
        """Nobody is there any more to take them."""
        for waiting in self.orders.pop(name, ()):
            waiting.fail(error)

    def ring_all(self) -> None:
        """Something changed that concerns everybody."""
        for name in self.desired.keys() | self.actual.keys():
            self.bells[name].ring()

    def _follow_instances(
        self, name: str, before: ActualWorkload | None, actual: ActualWorkload | None
    ) -> None:
        old = {instance.id for instance in before.instances} if before else set()
        new = {instance.id for instance in actual.instances} if actual else set()
        self._owners.update(dict.fromkeys(new, name))
        for instance in old - new:
            self._owners.pop(instance, None)
            self._release(instance)

    def _release(self, instance: str) -> None:
        self.exits.pop(instance, None)
        self.restarts.pop(instance, None)
        self._excesses.pop(instance, None)
        self.unacknowledged.add(instance)
        self.news.ring()

    def _ring_dependants(self, name: str) -> None:
        for other in dependants(name, self.desired, self.actual):
            self.bells[other].ring()


def _condition(actual: ActualWorkload) -> tuple[object, ...]:
    return actual.phase, actual.ready, actual.assignment
