"""Tells the hub of this node's audit log, and keeps what the hub tells of its own: each is the other's witness.

The log itself is the outbox: the hub says how far it has the chain, and what follows is sent, so an outage, a restored
hub or a lost answer cost nothing but time. See ADR 30.
"""

from __future__ import annotations

import logging
import random
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from skerry.core.audit_chain import GENESIS
from skerry.core.audit_witness import head_bytes
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import InvalidInput, NotFound, Refused, SkerryError, Transient
from skerry.kit.ids import random_token
from skerry.kit.tasks import Guard, Tasks
from skerry.node.store.audit_log import AuditLog, head_of, hub_heads, keep_hub_head, page_of
from skerry.wire.audit import AuditHead, AuditPush, AuditPushReply, HubHead, SignedHead
from skerry.wire.records import Meta, Value

log = logging.getLogger(__name__)

LOOK_EVERY = 5.0
"""Seconds between two looks whether it is time."""

TELL_AFTER = 60.0
"""Seconds after which new entries are told, if there are not `MANY` before."""

MANY = 100
ANYWAY_AFTER = 3600.0
"""Seconds after which the hub is asked for its head, whatever there is to tell."""

_AT_ONCE = 500
_CONTRADICTED = "skerry.audit.contradicted"

Ask = Callable[[AuditPush], Awaitable[AuditPushReply]]
Sign = Callable[[bytes], Awaitable[tuple[str, str]]]
"""The key and the signature of a message, both in base64."""


class Tell(Protocol):
    """Tells an event of the node's own."""

    async def __call__(self, name: str, value: Value, meta: Meta) -> None: ...


class Exchange:
    """Runs under the caller's tasks. `ask` sends to the hub; without `sign`, heads go unsigned and are marked so."""

    def __init__(  # noqa: PLR0913 - both ends, by whom, and when
        self,
        audit: AuditLog,
        reader: sqlite3.Connection,
        node_id: str,
        ask: Ask,
        *,
        sign: Sign | None,
        tell: Tell,
        is_linked: Callable[[], bool],
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._audit = audit
        self._reader = reader
        self._node_id = node_id
        self._ask = ask
        self._sign = sign
        self._tell = tell
        self._is_linked = is_linked
        self._clock = clock
        self._chance = chance
        self._run = random_token()
        self._turn = 0
        self._have: AuditHead | None = None
        self._told = GENESIS
        self._signed: SignedHead | None = None
        self._asked_at = -ANYWAY_AFTER * NS
        self._hurries = False

    def follow(self, tasks: Tasks) -> None:
        """Exchanges heads for as long as the tasks run."""
        guard = Guard("exchanging heads of audit logs", self._clock, self._chance)
        tasks.forever(self._follow(guard), name="audit exchange")

    async def once(self) -> None:
        """Tells all that the hub does not have. Raises as `ask`, and Refused when it cannot be signed."""
        self._asked_at = self._clock.monotonic_ns()
        head = await self._head()
        reply = await self._push(head, self._have or AuditHead(head.seq, head.hash))
        while reply.have.seq < head.seq:
            before = reply.have
            reply = await self._push(head, before)
            if reply.have == before:
                raise Transient(
                    f"cannot tell the hub this node's audit log: it stays at entry {before.seq}"
                )
        self._have = reply.have
        self._told = AuditHead(head.seq, head.hash)

    def is_due(self) -> bool:
        """Whether there is something new, and enough time has passed, or enough of it."""
        since = (self._clock.monotonic_ns() - self._asked_at) / NS
        new = head_of(self._reader).seq - self._told.seq
        enough = self._hurries or since >= TELL_AFTER
        return since >= ANYWAY_AFTER or new >= MANY or (new != 0 and enough)

    def hurry(self) -> None:
        """From now on, whatever is new is told as soon as there is a link."""
        self._hurries = True

    def untold(self) -> int:
        """Entries that the hub does not have; 0 also where it does not want them."""
        return max(head_of(self._reader).seq - self._told.seq, 0)

    async def _follow(self, guard: Guard) -> None:
        while True:
            if self._is_linked() and self.is_due():
                await guard.run(self._once_or_later)
            await self._clock.sleep(LOOK_EVERY)

    async def _once_or_later(self) -> None:
        """A hub that does not answer is asked again in a minute; one that does not know this, in an hour."""
        try:
            await self.once()
        except Transient as error:
            log.info("%s", error)
        except (NotFound, Refused, InvalidInput) as error:
            self._told = head_of(self._reader)
            log.warning("cannot exchange heads of audit logs: %s", error)

    async def _head(self) -> SignedHead:
        head = head_of(self._reader)
        signed = self._signed
        if signed is not None and (signed.seq, signed.hash) == (head.seq, head.hash):
            return signed
        plain = SignedHead(head.seq, head.hash, self._clock.wall_ns())
        if self._sign is None:
            return plain
        key, signature = await self._sign(head_bytes(self._node_id, plain))
        self._signed = msgspec.structs.replace(plain, key=key, signature=signature)
        return self._signed

    async def _push(self, head: SignedHead, after: AuditHead) -> AuditPushReply:
        page = page_of(self._reader, self._node_id, after.seq, _AT_ONCE)
        rows = [row for row in page.entries if row.entry.seq <= head.seq]
        self._turn += 1
        seen = hub_heads(self._reader)
        reply = await self._ask(AuditPush(head, self._run, self._turn, rows, seen))
        await self._keep(reply.hub)
        if reply.finding:
            log.error(
                "the hub finds that this node's audit log contradicts itself: %s", reply.finding
            )
            await self._tell(_CONTRADICTED, reply.finding, {})
        return reply

    async def _keep(self, head: HubHead) -> None:
        if not head.seq:
            return
        at = self._clock.wall_ns()
        try:
            await self._audit.note(lambda db: keep_hub_head(db, head, at))
        except SkerryError as error:  # a full disk: the hub tells it again
            log.warning("cannot keep the head of the hub's audit log: %s", error)
