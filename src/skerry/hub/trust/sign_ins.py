"""Signing in with a user's name and password, as often as `trust.attempts` allows, whichever hub process is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

from sqlalchemy import Connection, delete, func, select, update

from skerry.hub.store.engine import insert
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.people_tables import login_failure
from skerry.hub.store.tables import FLEET
from skerry.hub.trust import attempts
from skerry.hub.trust.accounts import Accounts
from skerry.hub.trust.api_tokens import Holder
from skerry.hub.trust.attempts import Count, Counts, Kind
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import SkerryError

MOST = 50_000
"""Rows: who tries more names from more addresses within a day makes the oldest failures be forgotten, never who was here before."""

_ROW = select(login_failure)


@dataclass(frozen=True)
class Attempt:
    """What came of it: whom the password proved, or for how many seconds nobody may try; `locked`: this one began that.

    `user` is who was tried, if there is one: other names may be anything, also a password in the wrong field.
    """

    holder: Holder | None
    wait: float = 0.0
    locked: bool = False
    user: str = ""


class SignIns:
    """Attempts to sign in at one fleet's hubs."""

    def __init__(self, store: HubStore, clock: Clock, accounts: Accounts) -> None:
        self._store = store
        self._clock = clock
        self._accounts = accounts

    async def attempt(self, user: str, password: str, address: str) -> Attempt:
        """Counts first and looks then, so that many at once are as many. Raises Busy."""
        subjects = _subjects(user, attempts.network_of(address))
        now = self._clock.wall_ns()

        def count(connection: Connection) -> tuple[int, Counts]:
            # Who has to wait anyway leaves no row: nobody fills the table who is held up.
            wait = attempts.wait(_read(connection, subjects), now)
            if wait:
                return wait, {}
            before = _locked_rows(connection, subjects, now)
            wait = attempts.wait(before, now)
            if not wait:
                _store(connection, subjects, attempts.tried(before, now))
            return wait, before

        wait, before = await self._store.write(count)
        if wait:
            return Attempt(None, wait / NS, user=await self._accounts.known(user))
        try:
            holder = await self._accounts.proven(user, password)
        except SkerryError:
            await self._correct(subjects, lambda counts: attempts.withdrawn(counts, before, now))
            raise
        if holder is None:
            begun = attempts.wait(attempts.tried(before, now), now)
            known = await self._accounts.known(user)
            return Attempt(None, begun / NS, locked=begun > 0, user=known)

        await self._correct(subjects, lambda counts: attempts.passed(counts, before, now))
        return Attempt(holder)

    async def _correct(
        self, subjects: Mapping[Kind, str], right: Callable[[Counts], Counts]
    ) -> None:
        def work(connection: Connection) -> None:
            counts = _locked_rows(connection, subjects, self._clock.wall_ns())
            _store(connection, subjects, right(counts))

        await self._store.write(work)


def _subjects(user: str, network: str) -> Mapping[Kind, str]:
    """What is counted, as hashes: names that people have mistaken for the password field stay out of the database."""
    texts: dict[Kind, str] = {
        "pair": f"pair\0{user}\0{network}", "user": f"user\0{user}", "address": f"address\0{network}",
    }  # fmt: skip
    return {
        kind: hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()[:32]
        for kind, text in texts.items()
    }


def _read(connection: Connection, subjects: Mapping[Kind, str], *, lock: bool = False) -> Counts:
    its = login_failure.c
    query = _ROW.where(its.fleet_id == FLEET, its.subject.in_(subjects.values()))
    query = query.order_by(its.subject)
    found = {
        row.subject: Count(row.failures, row.last_at, row.until, row.succeeded_at)
        for row in connection.execute(query.with_for_update() if lock else query)
    }
    return {kind: found.get(subjects[kind], Count()) for kind in get_args(Kind)}


def _locked_rows(connection: Connection, subjects: Mapping[Kind, str], now: int) -> Counts:
    """The counts, which nobody else changes until the end of the transaction."""
    _prune(connection, now)
    rows = [
        {"fleet_id": FLEET, "subject": each, "failures": 0, "last_at": now, "until": 0, "succeeded_at": 0}
        for each in sorted(subjects.values())
    ]  # fmt: skip
    for row in rows:
        connection.execute(insert(connection, login_failure).values(row).on_conflict_do_nothing())
    return _read(connection, subjects, lock=True)


def _store(connection: Connection, subjects: Mapping[Kind, str], counts: Counts) -> None:
    its = login_failure.c
    for kind, count in counts.items():
        connection.execute(
            update(login_failure)
            .where(its.fleet_id == FLEET, its.subject == subjects[kind])
            .values(
                failures=count.failures,
                last_at=count.last_at,
                until=count.until,
                succeeded_at=count.succeeded_at,
            )
        )


def _prune(connection: Connection, now: int) -> None:
    its = login_failure.c
    old = (
        its.fleet_id == FLEET,
        its.last_at < now - attempts.FORGET,
        its.succeeded_at < now - attempts.KNOWN,
    )
    connection.execute(delete(login_failure).where(*old))
    count = connection.execute(select(func.count()).select_from(login_failure)).scalar_one()
    if count > MOST:
        # Who was here before must not be taken for a stranger because strangers try names.
        forgotten = (its.fleet_id == FLEET, its.until <= now, its.succeeded_at == 0)
        stale = select(its.subject).where(*forgotten).order_by(its.last_at).limit(MOST // 10)
        connection.execute(
            delete(login_failure).where(its.fleet_id == FLEET, its.subject.in_(stale))
        )
