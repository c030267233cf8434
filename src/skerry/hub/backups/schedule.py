"""The hub's own backups: when, how many, and what nodes hear of them.

Of several hub processes one makes them (a lease). Nodes are told of a backup after it was read back, and not any more
before it is removed. What is wrong is kept in the database, so that every process shows it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from sqlalchemy import Connection, select

from skerry.hub.backups import ledger
from skerry.hub.backups.ledger import SEEN_FOR, Entry
from skerry.hub.backups.making import Made, Maker
from skerry.hub.store.engine import insert
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.leases import Leases
from skerry.hub.store.tables import fact
from skerry.kit.archive.rotation import is_due
from skerry.kit.clock import Clock
from skerry.kit.errors import SkerryError, Transient
from skerry.kit.ids import uuid7
from skerry.wire.people import BackupStatus, BackupView

log = logging.getLogger(__name__)

LOOK_EVERY = 60.0
"""Seconds between two looks at what is due and what is still there."""

AGAIN = 600.0
"""Seconds after a failure."""

_LEASE = 3600.0
_FACT = "backup"


@dataclass(frozen=True)
class Plan:
    """Where backups go, how often in seconds (0: never), and how many are kept."""

    directory: Path
    interval: float
    keep: int


class _Outcome(msgspec.Struct, frozen=True):
    """What every process should know: when the last one was made and tried (ns), and what went wrong then."""

    made_at: int = 0
    tried_at: int = 0
    problem: str = ""


class Schedule:
    """`own` says that the directory is ours to make; another one must be there, as when a share is mounted."""

    def __init__(
        self, store: HubStore, maker: Maker, leases: Leases, plan: Plan, clock: Clock, *, own: bool
    ) -> None:
        self._store = store
        self._maker = maker
        self._leases = leases
        self._plan = plan
        self._clock = clock
        self._own = own
        self._ending = threading.Event()

    async def once(self) -> None:
        """Forgets what is gone, and makes a backup if one is due. Raises Transient."""
        await self.look()
        if not self._plan.interval:
            return
        outcome = await self._store.read(_read)
        now = self._clock.wall_ns()
        if not is_due(outcome.made_at or None, now, self._plan.interval):
            return
        if outcome.problem and not is_due(outcome.tried_at, now, min(self._plan.interval, AGAIN)):
            return
        if await self._leases.hold("backup", _LEASE):
            await self._make(outcome)

    async def look(self) -> None:
        """Whatever of the known backups can be seen counts on; what cannot be seen does not, for long."""
        known = await self._store.read(ledger.entries)
        seen = await asyncio.to_thread(_seen, known)
        now = self._clock.wall_ns()

        def work(connection: Connection) -> list[Entry]:
            ledger.prolong(connection, seen, now + SEEN_FOR)
            if not self._store.shared:  # nobody else could see it
                ledger.forget(connection, [e.id for e in known if e.path and e.id not in seen])
            return ledger.forget_overdue(connection, now)

        if known:
            for gone in await self._store.write(work):
                log.warning("backup %s does not count any more", gone.path or "by other tools")

    async def status(self) -> BackupStatus:
        """For people."""
        outcome, known = await self._store.read(lambda c: (_read(c), ledger.entries(c)))
        return BackupStatus(
            self._plan.interval,
            str(self._plan.directory),
            outcome.made_at or None,
            outcome.problem,
            [BackupView(entry.path, entry.size, entry.taken_at) for entry in known],
        )

    async def problem(self) -> str:
        """What is wrong with the backups, in a sentence; empty when nothing is."""
        return (await self._store.read(_read)).problem if self._plan.interval else ""

    async def _make(self, before: _Outcome) -> None:
        now = self._clock.wall_ns()
        try:
            made = await self._made()
        except (SkerryError, OSError) as error:
            cause = (
                f"cannot make a backup: {error.strerror}" if isinstance(error, OSError) else error
            )
            log.warning("%s", cause)
            outcome = _Outcome(before.made_at, now, str(cause))
        else:
            log.info("backup %s: %d bytes", made.path, made.size)
            if made.encrypted and made.plain:
                log.warning("%d blobs beside %s are not encrypted", made.plain, made.path)
            await self._store.write(lambda connection: note(connection, made))
            return
        await self._store.write(lambda connection: _write(connection, outcome))

    async def _made(self) -> Made:
        directory, hub_id = self._plan.directory, self._store.facts.hub_id
        if self._own:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._remove(await asyncio.to_thread(self._maker.in_the_way, directory, hub_id))
        making = self._maker.to_directory
        try:
            made = await asyncio.to_thread(making, directory, hub_id, self._go_on)
        except asyncio.CancelledError:
            self._ending.set()
            raise
        await self._remember(made)
        keep = self._plan.keep
        await self._remove(await asyncio.to_thread(self._maker.too_many, directory, hub_id, keep))
        return made

    def _go_on(self, _: int) -> None:
        """The thread that makes a backup cannot be cancelled, and the process would wait for it."""
        if self._ending.is_set():
            raise Transient("cannot finish the backup: the hub ends")

    async def _remember(self, made: Made) -> None:
        entry = counted(made, uuid7(self._clock), made.taken_at + SEEN_FOR)
        if entry is not None:
            await self._store.write(lambda c: ledger.remember(c, entry, made.points))

    async def _remove(self, paths: Collection[Path]) -> None:
        if not paths:
            return
        names = {str(path) for path in paths}

        def work(connection: Connection) -> None:
            gone = [each.id for each in ledger.entries(connection) if each.path in names]
            ledger.forget(connection, gone)

        await self._store.write(work)
        hub_id = self._store.facts.hub_id
        await asyncio.to_thread(self._maker.remove, self._plan.directory, hub_id, paths)


def note(connection: Connection, made: Made) -> None:
    """The hub's own directory has a new one."""
    _write(connection, _Outcome(made.taken_at, made.taken_at))


def counted(made: Made, id_: str, until: int) -> Entry | None:
    """What nodes may be told of a backup; None when both it and the database would be lost with one disk."""
    if not made.apart:
        return None
    return Entry(id_, str(made.path.absolute()), made.size, made.taken_at, until)


def _seen(known: Sequence[Entry]) -> list[str]:
    return [each.id for each in known if each.path and _size(Path(each.path)) == each.size]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _read(connection: Connection) -> _Outcome:
    found = connection.execute(select(fact.c.value).where(fact.c.name == _FACT)).scalar()
    return _Outcome() if found is None else msgspec.json.decode(found, type=_Outcome)


def _write(connection: Connection, outcome: _Outcome) -> None:
    value = msgspec.json.encode(outcome).decode()
    connection.execute(
        insert(connection, fact)
        .values(name=_FACT, value=value)
        .on_conflict_do_update(index_elements=["name"], set_={"value": value})
    )
