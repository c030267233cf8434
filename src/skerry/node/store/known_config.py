"""What the configuration directory said when it could last be read: a row of an entity of this device's own, as `last_good`.

Neither digests nor the outbox know it.
"""

from __future__ import annotations

from pathlib import Path

from skerry.kit.sealing.cipher import Cipher
from skerry.kit.sqlite import SqliteWriter, read_queries
from skerry.kit.sqlite_connections import Reader
from skerry.node.store.bodies import STATE

SQL = read_queries(Path(__file__).with_name("state.sql"))

ENTITY, KNOWN = "cyberwave_config", "known"


class KnownConfigStore:
    """Of one node's database."""

    def __init__(self, writer: SqliteWriter, reader: Reader, cipher: Cipher) -> None:
        self._writer = writer
        self._reader = reader
        self._cipher = cipher

    def read(self) -> bytes | None:
        """None: nothing was ever kept. Raises Corrupt."""
        row = self._reader.execute(SQL["row"], (ENTITY, KNOWN)).fetchone()
        return None if row is None else self._cipher.open(row["body"], STATE.place(ENTITY, KNOWN))

    async def keep(self, body: bytes) -> None:
        """Durably. Raises Transient."""
        sealed = self._cipher.seal(body, STATE.place(ENTITY, KNOWN))
        columns = (ENTITY, KNOWN, 0, 0, "", 0, sealed)
        await self._writer.run(
            lambda db: db.execute(SQL["put_row"], columns).rowcount, label="config.known"
        )
