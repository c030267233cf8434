"""The keys of sealed blobs: one for each blob, in a row of the database that is sealed like every other.

So a rotation seals the rows again and touches no blob, and a blob whose row is gone can be read by nobody.
"""

from __future__ import annotations

import os
import secrets

import msgspec
from sqlalchemy import Connection, delete, select

from skerry.hub.store.bodies import BLOB_KEY, Bodies
from skerry.hub.store.engine import insert
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import blob_key
from skerry.kit.sealing.keys import DataKey
from skerry.kit.sealing.sealed import SealingCipher, in_force

_KEY_BYTES = 32


class BlobKeys:
    """Those of the blobs in one place, «blobs» or «files», at all hub processes of the database."""

    def __init__(self, store: HubStore, place: str) -> None:
        self._store = store
        self._place = place

    @property
    def takes_plain(self) -> bool:
        """Whether there may be plain blobs from before encryption was switched on, as far as this process knows."""
        keys = self._store.keys
        return keys is not None and keys.keys.plain

    async def find(self, sha256: str) -> SealingCipher | None:
        """The cipher of a blob that is sealed already; None: nobody can read it."""
        return await self._store.read(lambda connection: self._read(connection, sha256))

    async def make(self, sha256: str) -> SealingCipher:
        """The cipher of a blob that is to be sealed."""

        def work(connection: Connection) -> SealingCipher:
            held = self._read(connection, sha256)
            if held is not None:
                return held
            key = DataKey(
                1 + secrets.randbelow(2**32 - 1), "files", "AES-256-GCM", 0, os.urandom(_KEY_BYTES)
            )
            plain = msgspec.msgpack.encode(key)
            sealed = Bodies.of(connection).seal(BLOB_KEY, plain, self._place, sha256)
            row = {"place": self._place, "sha256": sha256, "key": sealed}
            connection.execute(insert(connection, blob_key).on_conflict_do_nothing(), row)
            return self._read(connection, sha256) or _cipher(key)

        return await self._store.write(work)

    async def forget(self, sha256: str) -> None:
        """Nobody can read the blob any more."""
        gone = delete(blob_key).where(blob_key.c.place == self._place, blob_key.c.sha256 == sha256)
        _ = await self._store.write(lambda connection: connection.execute(gone))

    def _read(self, connection: Connection, sha256: str) -> SealingCipher | None:
        query = select(blob_key.c.key).where(
            blob_key.c.place == self._place, blob_key.c.sha256 == sha256
        )
        sealed = connection.execute(query).scalar()
        if sealed is None:
            return None
        plain = Bodies.of(connection).open(BLOB_KEY, sealed, self._place, sha256)
        return _cipher(msgspec.msgpack.decode(plain, type=DataKey))


def _cipher(key: DataKey) -> SealingCipher:
    return SealingCipher(in_force([key], None, plain=False))
