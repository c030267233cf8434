"""Hears the notices of the other hub processes (`store.notices`), on a PostgreSQL connection of its own.

What was told while the connection was cut is lost: `resumed` is called each time that listening begins, and has
to take everything as changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable

from sqlalchemy import URL

from skerry.hub.store.engine import CONNECT
from skerry.hub.store.notices import CHANNEL, Notice, read_notice
from skerry.kit.backoff import Backoff
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput, Transient

log = logging.getLogger(__name__)

AGAIN = Backoff(first=0.1, cap=1.5)

BEGIN_WITHIN = 5.0
"""Seconds."""


class Listening:
    """`heard` gets every notice of another process than `origin`, in the order of their commits."""

    def __init__(
        self,
        url: URL,
        origin: str,
        heard: Callable[[Notice], None],
        resumed: Callable[[], Awaitable[None]],
    ) -> None:
        from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - 10 MB that a hub with SQLite does not need

        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._where = make_conninfo(plain, **CONNECT)
        self._origin = origin
        self._heard = heard
        self._resumed = resumed
        self._began = asyncio.Event()

    async def run(self, clock: Clock, chance: random.Random) -> None:
        """Listens for ever."""
        import psycopg  # noqa: PLC0415 - as above

        failures = 0
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(self._where, autocommit=True)
                async with connection:
                    _ = await connection.execute(f"LISTEN {CHANNEL}")
                    await self._resumed()
                    self._began.set()
                    failures = 0
                    async for notify in connection.notifies():
                        self._take(notify.payload)
            except (psycopg.OperationalError, Transient) as error:
                failures += 1
                if failures.bit_count() == 1:
                    cause = str(error).strip()
                    log.warning("cannot hear what other hubs tell: %s", cause)
            await clock.sleep(AGAIN.delay(failures, chance))

    async def begun(self) -> None:
        """Returns when it has begun to listen, or after BEGIN_WITHIN: a hub that does not hear the others can serve."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BEGIN_WITHIN):
                await self._began.wait()

    def _take(self, payload: str) -> None:
        try:
            told = read_notice(payload)
        except InvalidInput as error:
            log.warning("%s", error)
            return
        if told.origin != self._origin:
            self._heard(told.notice)
