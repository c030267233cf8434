"""The secrets that this node's workloads need: opened once, kept in memory only, so that a restart waits for nothing.

`SecretRoom` is the work behind `on_demand.SecretsOnDemand`. What is opened belongs to an envelope: one that was sealed
anew is opened anew. The values of what still runs are kept besides those of what is wanted.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from skerry.core.secrets import bound_to, key_id, names_used
from skerry.kit.backoff import Backoff
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.errors import Refused, Transient
from skerry.node.secrets.forms import masked_forms
from skerry.node.secrets.key_file import NodeKey
from skerry.node.secrets.opening import Answer as Opened
from skerry.node.secrets.opening import Order
from skerry.wire.secrets import SealedSecret
from skerry.wire.workload import Assignment

log = logging.getLogger(__name__)

_AGAIN = Backoff(first=0.5, cap=60.0)


class Keys:
    """The node's key and who it is for: `read`, `keep` it, and `tell` the hub about the public one."""

    def __init__(
        self,
        node_id: str,
        read: Callable[[], NodeKey | None],
        keep: Callable[[NodeKey], None],
        tell: Callable[[bytes], Awaitable[None]],
    ) -> None:
        self.node_id = node_id
        self.read = read
        self.keep = keep
        self.tell = tell


class SecretRoom:
    """`living` are the assignments that instances were made from; `renewed` is told each wish whose secrets are all open."""

    def __init__(
        self,
        keys: Keys,
        open_: Callable[[Order], Awaitable[Opened]],
        living: Callable[[], Iterable[Assignment]],
        renewed: Callable[[Assignment, Mapping[str, bytes], Sequence[str]], Awaitable[None]],
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self.changed = Bell()
        self._keys = keys
        self._open = open_
        self._living = living
        self._renewed = renewed
        self._clock = clock
        self._chance = chance
        self._key: NodeKey | None = None
        self._values: dict[bytes, bytes | None] = {}
        self._wanted: list[Assignment] = []
        self._work: asyncio.Task[None] | None = None
        self._problem = ""
        self._opening = asyncio.Lock()

    def want(self, assignments: Iterable[Assignment]) -> None:
        """As `Needs.want`."""
        self._wanted = [one for one in assignments if one.secrets]
        keep = {_name_of(each) for one in self._all() for each in one.secrets}
        self._values = {name: value for name, value in self._values.items() if name in keep}
        if self._wanted and (self._work is None or self._work.done()):
            self._work = asyncio.create_task(self._insist(), name="secrets")

    def missing(self, assignment: Assignment) -> str:
        """As `Needs.missing`."""
        sent = {each.name: each for each in assignment.secrets}
        reasons = (self._missing(name, sent.get(name)) for name in names_used(assignment.spec))
        return "; ".join(filter(None, reasons))

    def values(self, assignment: Assignment) -> dict[str, bytes] | None:
        """By name; None unless all are there."""
        found = {each.name: self._values.get(_name_of(each)) for each in assignment.secrets}
        values = {name: value for name, value in found.items() if value is not None}
        return values if values.keys() >= set(names_used(assignment.spec)) else None

    def masked(self, workload: str) -> list[str]:
        """What must not stand in the log of this workload, of the values that it has and of those that it is to have."""
        mine = [one for one in self._all() if one.workload == workload]
        found = {self._values.get(_name_of(each)) for one in mine for each in one.secrets}
        return masked_forms(value for value in found if value is not None)

    async def open_all(self) -> None:
        """Opens what is not open yet; makes the node's key if there is none. Raises Transient, Refused, OSError."""
        async with self._opening:
            await self._open_all()

    async def close(self) -> None:
        """Ends what is under way."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    def _all(self) -> list[Assignment]:
        return [*self._wanted, *self._living()]

    async def _insist(self) -> None:
        tries = 0
        while True:
            wanted = self._wanted
            try:
                await self.open_all()
                await self._renew(wanted)
            except (Transient, Refused, OSError) as error:
                tries += 1
                if tries.bit_count() == 1:  # the 1st, 2nd, 4th, 8th … time: no flood
                    log.warning("secrets: %s", error)
                self._problem = str(error)
                self.changed.ring()
                await self._clock.sleep(_AGAIN.delay(tries, self._chance))
            else:
                self._problem = ""
                self.changed.ring()
                if wanted is self._wanted:
                    return

    async def _open_all(self) -> None:
        self._key = self._key or self._keys.read()
        todo = {
            _name_of(each): each
            for one in self._all()
            for each in one.secrets
            if each.sealed and _name_of(each) not in self._values and self._is_ours(each)
        }
        if self._key is not None and not todo:
            return
        private = b"" if self._key is None else self._key.private
        purposes = [(bound_to(each, self._keys.node_id), each.sealed) for each in todo.values()]
        answer = await self._open(Order(private, purposes))
        if self._key is None:
            self._key = NodeKey(answer.private, answer.public)
            await asyncio.to_thread(self._keys.keep, self._key)
            await self._keys.tell(answer.public)
        self._values |= dict(zip(todo, answer.values, strict=True))

    async def _renew(self, wanted: list[Assignment]) -> None:
        for one in wanted:
            values = self.values(one)
            if values is not None:
                await self._renewed(one, values, self.masked(one.workload))

    def _is_ours(self, secret: SealedSecret) -> bool:
        return self._key is not None and secret.to == key_id(self._key.public)

    def _missing(self, name: str, secret: SealedSecret | None) -> str:
        about = f"secret «{name}»: "
        if secret is None:
            return f"waits for {about}only the hub can send it"
        if secret.why:
            return f"waits for {about}{secret.why}"
        if self._key is None or not secret.sealed or not self._is_ours(secret):
            return (
                f"waits for {about}{self._problem or 'the hub has not sealed it to this node yet'}"
            )
        if _name_of(secret) not in self._values:
            return f"waits for {about}{self._problem or 'it is being opened'}"
        if self._values[_name_of(secret)] is None:
            return f"waits for {about}what came was not sealed for this node, name and version"
        return ""


def _name_of(secret: SealedSecret) -> bytes:
    """Of one envelope, bound to what it claims to be."""
    return hashlib.sha256(bound_to(secret, secret.to) + secret.sealed).digest()
