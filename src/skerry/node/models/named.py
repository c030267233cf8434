"""Models that only scripts name: asked of the hub, kept over reboots, added to the assignments.

Implements `desired_state.LocalWishes` (after the worker groups, which say what scripts name) and `workloads.needs.Needs`
(a name without an answer is missing). What an answer brings stands in the assignment from then on, like a model of its
spec, so `fetching` fetches it, starts wait for it, and another version of it is another assignment.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from skerry.core.order_rules import models_fault
from skerry.kit.backoff import Backoff
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput, SkerryError
from skerry.kit.tasks import Guard
from skerry.wire.codec import decode, encode
from skerry.wire.models import MAX_NAMED, ModelSpec, NamedModels
from skerry.wire.workload import Assignment, Generation, LocalIntent

FACT = "named_models"
"""The store's fact: the hub's last answers, as JSON."""

AGAIN = Backoff(first=1.0, cap=60.0)
"""After a failure, and while the hub does not have one of the names."""

EVERY = 600.0
"""Seconds between two questions when nothing else asks for one: a model may have other files now."""

Ask = Callable[[Sequence[str]], Awaitable[NamedModels]]
"""Asks the hub for at most MAX_NAMED names. Raises SkerryError."""


class Facts(Protocol):
    """Single facts that survive a restart (`node.store.state.NodeStore`)."""

    async def fact(self, name: str) -> str | None: ...

    async def set_fact(self, name: str, value: str, *, durable: bool = True) -> None: ...


class Link(Protocol):
    """The way to the hub (`sync.reachability.Reachability`)."""

    changed: Bell

    @property
    def connected(self) -> bool: ...


class ScriptModels:
    """The models that scripts of this node name. Call `restore` before anything else."""

    def __init__(
        self, facts: Facts, ask: Ask | None, link: Link, clock: Clock, chance: random.Random
    ) -> None:
        self.changed = Bell()
        self.told = Bell()
        self._facts = facts
        self._ask = ask
        self._link = link
        self._clock = clock
        self._chance = chance
        self._wake = Bell()
        self._groups: dict[str, tuple[Generation, LocalIntent]] = {}
        self._names: set[str] = set()
        self._wishing: dict[str, Assignment] = {}
        self._given: dict[str, set[str]] = {}
        """What workloads that only wish got with their assignments; it may have been taken out again (`on_demand`)."""
        self._specs: dict[str, ModelSpec] = {}
        self._unknown: frozenset[str] = frozenset()
        self._problem = ""
        self._failures = 0

    async def restore(self) -> None:
        """Takes up the last answers."""
        stored = await self._facts.fact(FACT)
        if stored:
            specs = decode(stored.encode(), list[ModelSpec], "models that scripts name")
            self._specs = {spec.name: spec for spec in specs}

    def amended(self, wish: Assignment) -> Assignment:
        """The assignment with the models that its scripts name, as far as they are known."""
        found = [self._specs[name] for name in only_named(wish) if name in self._specs]
        if is_wish(wish):
            self._given[wish.workload] = {model.name for model in found}
        return msgspec.structs.replace(wish, models=[*wish.models, *found]) if found else wish

    def remark(self, _workload: str) -> str:
        """Nothing: what is missing says enough."""
        return ""

    def want(self, assignments: Iterable[Assignment]) -> None:
        """From now on the names of these assignments count. Another script or assignment is a reason to ask."""
        naming = [one for one in assignments if only_named(one)]
        self._wishing = {one.workload: one for one in naming if is_wish(one)}
        groups = {one.workload: (one.generation, one.local) for one in naming}
        if groups == self._groups:
            return
        self._groups = groups
        self._names = {name for one in naming for name in only_named(one)}
        self._ask_soon()

    def missing(self, assignment: Assignment) -> str:
        """Which names have no answer, and why; empty: the assignment brings all."""
        lacking = self._without(assignment)
        if is_wish(assignment):
            lacking = [name for name in lacking if self._may_come(name)]
        return "; ".join(map(self._lacks, lacking))

    def lacking(self, workload: str) -> dict[str, str]:
        """What a workload that only wishes for its models is without, by name, and why."""
        wish = self._wishing.get(workload)
        names = [] if wish is None else self._without(wish)
        return {name: self._lacks(name) for name in names if not self._may_come(name)}

    async def check(self, assignment: Assignment) -> None:
        """Nothing to look at: `fetching` reads the files."""

    async def close(self) -> None:
        """Nothing is under way that `run` does not end."""

    async def run(self) -> None:
        """Asks until cancelled."""
        guard = Guard("models that scripts name", self._clock, self._chance)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_link(self._link.changed.count), name="link")
            while True:
                await guard.run(self._once)

    async def _follow_link(self, seen: int) -> None:
        while True:
            seen = await self._link.changed.after(seen)
            self._ask_soon()
            self.changed.ring()

    def _ask_soon(self) -> None:
        self._failures = 0
        self._wake.ring()

    async def _once(self) -> None:
        seen = self._wake.count
        if self._ask is None or not self._names or not self._link.connected:
            await self._wake.after(seen)
            return
        try:
            answers = [_checked(await self._ask(part)) for part in _parts(self._names)]
        except SkerryError as error:
            self._tell(str(error), self._unknown)
        else:
            await self._take([model for answer in answers for model in answer.models])
            self._tell("", frozenset(name for answer in answers for name in answer.unknown))
        again = bool(self._problem or self._unknown)
        self._failures = self._failures + 1 if again else 0
        pause = AGAIN.delay(self._failures, self._chance) if again else EVERY
        await self._wake.within(seen, pause, self._clock)

    async def _take(self, models: Iterable[ModelSpec]) -> None:
        """What the hub has no more stays known for as long as a script names it: workloads can start from what is here."""
        specs = {**self._specs, **{model.name: model for model in models}}
        kept = {name: specs[name] for name in sorted(specs.keys() & self._names)}
        if kept == self._specs:
            return
        await self._facts.set_fact(FACT, encode(list(kept.values())).decode())
        self._specs = kept
        self.told.ring()

    def _tell(self, problem: str, unknown: frozenset[str]) -> None:
        if (problem, unknown) != (self._problem, self._unknown):
            self._problem, self._unknown = problem, unknown
            self.changed.ring()

    def _without(self, assignment: Assignment) -> list[str]:
        brought = {model.name for model in assignment.models}
        if is_wish(assignment):
            brought |= self._given.get(assignment.workload, set())
        return [name for name in only_named(assignment) if name not in brought]

    def _may_come(self, name: str) -> bool:
        """Whether the hub is just being asked for it."""
        asks = self._ask is not None and self._link.connected
        return asks and not self._problem and name not in self._unknown

    def _lacks(self, name: str) -> str:
        if self._ask is None:
            return f"scripts name model «{name}», and this node has no hub to ask for it"
        if name in self._unknown:
            return (
                f"scripts name model «{name}», which the hub does not have: "
                f"skerry model push FILE --name {name}"
            )
        why = self._problem or ("" if self._link.connected else "the hub is away")
        return f"scripts name model «{name}»: the hub is asked for it{why and f'; {why}'}"


def is_wish(assignment: Assignment) -> bool:
    """Whether it is started without a model that cannot be had. Pure."""
    worker = assignment.spec.worker
    return worker is not None and worker.models == "wish"


def only_named(assignment: Assignment) -> list[str]:
    """The models that the workload's scripts name and its spec does not. Pure."""
    return [name for name in assignment.local.models if name not in assignment.spec.models]


def _parts(names: Iterable[str]) -> list[list[str]]:
    """As many at a time as the hub answers for."""
    ordered = sorted(names)
    return [ordered[at : at + MAX_NAMED] for at in range(0, len(ordered), MAX_NAMED)]


def _checked(answer: NamedModels) -> NamedModels:
    """Raises InvalidInput for an answer that is none."""
    if fault := models_fault(answer.models):
        raise InvalidInput(f"cannot take the hub's answer about models: {fault}")
    return answer
