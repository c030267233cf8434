"""Encryption at rest of the hub's store: the data keys, in one row of the database itself (ADR 0014).

The row (`key_ring`) is sealed by the key-encryption key (KEK), which every hub process gets for itself. Because it lies
beside what it opens, a snapshot that shows a sealed row also shows the ring that opens it: a process that meets a key
it does not know looks there. `bodies` seals and opens with it, `rotation` changes the keys.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

import msgspec
from sqlalchemy import URL, Connection, select
from sqlalchemy.exc import DBAPIError

from skerry.hub.store import locks
from skerry.hub.store.database_time import database_time
from skerry.hub.store.engine import classify, insert, writer_engine
from skerry.hub.store.tables import FLEET, hub_process, key_ring
from skerry.kit.clock import NS, Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt, Refused
from skerry.kit.sealing.cipher import Place, Row
from skerry.kit.sealing.format import key_id_of
from skerry.kit.sealing.key_ring import Protection, fresh_keys
from skerry.kit.sealing.keys import RESERVED_AT_ONCE, DataClass, Keys, due, reserving, with_new
from skerry.kit.sealing.ring_file import Unlocked, Written, locked, unlock
from skerry.kit.sealing.sealed import SealingCipher, in_force
from skerry.kit.sealing.sources import (
    Source,
    Surroundings,
    fingerprint,
    is_beside,
    make,
    obtain,
    words,
)
from skerry.wire.local import KeyStatus, KeyView

KEYS = "skerry keys"
"""Key in a connection's `info`: the `StoreKeys` of the store that it belongs to; missing where nothing is sealed."""

CLASS: DataClass = "store"
"""The one class of data that a hub has: everything sealed is a row."""

_ALIVE = 20 * NS
"""As in `hub.peers`: another process that was heard of within this time works on the database."""


class RingGone(Corrupt):
    """Nothing can be opened any more: it is no damage of the row that was asked for."""


class Wish(msgspec.Struct, frozen=True):
    """What the settings ask for, and where this process finds its KEK."""

    protection: Protection
    where: Surroundings


class StoreKeys:
    """The ring of one process. Everything may be called from any thread."""

    def __init__(self, url: URL, wish: Wish, disk: Disk, clock: Clock) -> None:
        self._url = url
        self._wish = wish
        self._disk = disk
        self._clock = clock
        self._installing = threading.Lock()
        self._granted: dict[int, int] = {}
        self._unlocked: Unlocked
        self._cipher: SealingCipher

    def open(self, connection: Connection) -> None:
        """Opens the ring, in the transaction that opens the store; makes one where there is none. Raises Refused."""
        locks.of_keys(connection)
        written = _read(connection)
        unlocked = self._made(connection) if written is None else self._found(connection, written)
        _write(connection, unlocked)
        self._granted = {key.id: RESERVED_AT_ONCE for key in unlocked.keys.keys if not key.retired}
        keys = unlocked.keys
        self._cipher = SealingCipher(
            in_force(keys.of_class(CLASS), None, plain=keys.plain, used_before=True)
        )
        self._unlocked = unlocked

    @property
    def keys(self) -> Keys:
        """As this process knows them."""
        return self._unlocked.keys

    @property
    def head(self) -> bytes:
        """What everything that is sealed now begins with."""
        return self._cipher.now.sealing.head

    def takes_plain(self, connection: Connection) -> bool:
        """Whether what is not sealed may be read in this snapshot: from before encryption was switched on."""
        return self._cipher.now.plain or self._read(connection).keys.plain

    def seal(self, plain: bytes, place: Place) -> bytes:
        """In a transaction of the writer only, whose `fence` saw to it that the key is still in force."""
        return self._cipher.seal(plain, place)

    def open_body(self, connection: Connection, sealed: bytes, place: Place) -> bytes:
        """The inverse of `seal`. Raises Corrupt."""
        if key_id_of(sealed) in self._cipher.now.opening:
            return self._cipher.open(sealed, place)
        return self._as_seen_by(connection).open(sealed, place)

    def seal_rows(self, rows: Sequence[Row], within: Place) -> list[bytes]:
        """As `seal`, for many rows (`Cipher.seal_rows`)."""
        return self._cipher.seal_rows(rows, within)

    def open_rows(
        self,
        rows: Sequence[Row],
        within: Place,
        otherwise: Callable[[str | tuple[str, ...], bytes], bytes],
    ) -> list[bytes]:
        """The inverse of `seal_rows`; `otherwise` is asked about each that the key in force did not seal for its place."""
        words = (within.table, within.column, *within.row)
        return self._cipher.now.sealing.open_rows(rows, words, otherwise)

    def fence(self, connection: Connection) -> None:
        """Begins a writing transaction: until its end nobody changes the ring, and this process has the newest one."""
        locks.of_sealing(connection)
        self.refresh(connection)

    def refresh(self, connection: Connection) -> None:
        """Takes over what other processes have made of the ring."""
        query = select(key_ring.c.generation).where(key_ring.c.fleet_id == FLEET)
        if connection.execute(query).scalar_one() > self.keys.generation:
            self._install(self._read(connection))

    def rotate(self, *, forced: bool) -> bool:
        """A new key, in force everywhere when this returns, if the old one has served (or `forced`). Blocks."""

        def step(keys: Keys) -> Keys:
            now, rule = self._clock.wall_ns(), self._wish.protection.rule
            if not forced and not due(keys, now, rule):
                return keys
            fresh = fresh_keys([CLASS], rule.algorithm, now, keys.keys)
            self._granted |= {key.id: RESERVED_AT_ONCE for key in fresh}
            return with_new(keys, fresh)

        return self.change(step)

    def top_up(self) -> None:
        """Reserves messages where half of what this process reserved is used. Blocks."""
        wanting = [key.id for key in self.keys.keys if not key.retired and self._left(key.id) < 0]
        if wanting:
            self.change(lambda keys: reserving(keys, {key.id: key.reserved for key in keys.keys}))
            for id_ in wanting:
                self._granted[id_] = self._granted.get(id_, 0) + RESERVED_AT_ONCE

    def change(self, step: Callable[[Keys], Keys]) -> bool:
        """Writes what `step` makes of the newest ring, when no transaction that seals is under way; whether it did.

        Blocks, and must not be called in the writer's thread. Raises Transient.
        """
        engine = writer_engine(self._url)
        try:
            with engine.begin() as connection:
                locks.of_keys(connection)
                unlocked = self._read(connection)
                changed = msgspec.structs.replace(unlocked, keys=step(unlocked.keys))
                if changed.keys != unlocked.keys:
                    _write(connection, changed)
        except DBAPIError as error:
            raise classify(error, self._url) from error
        finally:
            engine.dispose()
        self._install(changed)
        return changed.keys != unlocked.keys

    def status(self) -> KeyStatus:
        """The ring for people."""
        source, where = self._unlocked.source, self._wish.where
        views = [
            KeyView(
                f"{key.id:08x}",
                key.of,
                key.algorithm,
                key.made_at,
                key.reserved - self._granted.get(key.id, 0) + self._used(key.id),
                key.retired,
            )
            for key in self.keys.keys
        ]
        return KeyStatus(
            enabled=True,
            source=words(source, where),
            beside=is_beside(source, where) and self._url.get_backend_name() == "sqlite",
            keys=views,
            plain=self.keys.plain,
        )

    def _made(self, connection: Connection) -> Unlocked:
        _refuse_while_others_work(connection, "switch encryption on for")
        protection = self._wish.protection
        source, kek = self._make(connection)
        fresh = fresh_keys([CLASS], protection.rule.algorithm, self._clock.wall_ns(), ())
        return Unlocked(source, kek, Keys(1, fresh, plain=True))

    def _found(self, connection: Connection, written: Written) -> Unlocked:
        unlocked = self._open_with(written, obtain(written.source, self._wish.where))
        keys = reserving(unlocked.keys, {key.id: key.reserved for key in unlocked.keys.keys})
        if not self._wish.protection.kek.is_same(unlocked.source):
            _refuse_while_others_work(connection, "change the key-encryption key of")
            source, kek = self._make(connection)
            return Unlocked(source, kek, keys)
        return msgspec.structs.replace(unlocked, keys=keys)

    def _make(self, connection: Connection) -> tuple[Source, bytes]:
        wanted = self._wish.protection.kek
        if wanted.kind == "tpm" and connection.dialect.name == "postgresql":
            raise Refused(
                "cannot seal the keys by a TPM: the other hubs of the database could not open them. Use file:/PATH, "
                "passphrase:/PATH or credential:NAME, with the same content on all of them (encryption.storage.key)."
            )
        return make(wanted, self._wish.where, self._disk)

    def _open_with(self, written: Written, kek: bytes) -> Unlocked:
        if written.check != fingerprint(kek):
            raise Refused(
                f"cannot open {self._url}: its keys are sealed with another key-encryption key than this hub was given "
                f"({words(written.source, self._wish.where)}). Nothing was touched: give every hub of the database the "
                "same one (encryption.storage.key)."
            )
        unlocked = unlock(written, kek)
        if unlocked is None:
            raise Refused(
                f"cannot open {self._url}: its key ring is not what was written. Nothing was touched: put the database "
                "back from a backup."
            )
        return unlocked

    def _read(self, connection: Connection) -> Unlocked:
        written = _read(connection)
        if written is None:
            raise RingGone(f"cannot read {self._url}: its key ring is gone")
        return self._open_with(written, self._unlocked.kek)

    def _as_seen_by(self, connection: Connection) -> SealingCipher:
        """A cipher with the ring of this connection's snapshot, which may be older than ours."""
        unlocked = self._read(connection)
        self._install(unlocked)
        keys = unlocked.keys
        return SealingCipher(in_force(keys.of_class(CLASS), None, plain=keys.plain))

    def _install(self, unlocked: Unlocked) -> None:
        with self._installing:
            keys = unlocked.keys
            if keys.generation <= self.keys.generation:
                return
            now = in_force(
                keys.of_class(CLASS), self._cipher.now, plain=keys.plain, used_before=True
            )
            self._cipher.install(now)
            self._unlocked = unlocked

    def _used(self, id_: int) -> int:
        held = self._cipher.now.opening.get(id_)
        return 0 if held is None else held.used

    def _left(self, id_: int) -> int:
        """Messages until it is time to reserve more."""
        return self._granted.get(id_, 0) - RESERVED_AT_ONCE // 2 - self._used(id_)


def keys_of(connection: Connection) -> StoreKeys | None:
    """The keys of the store that this connection belongs to; None where nothing is sealed."""
    keys = connection.info.get(KEYS)
    return keys if isinstance(keys, StoreKeys) else None


def source_of(connection: Connection) -> Source | None:
    """How the key-encryption key of this database is got; None where nothing is sealed."""
    written = _read(connection)
    return None if written is None else written.source


def has_ring(connection: Connection) -> bool:
    """Whether encryption is on for this database."""
    return _read(connection) is not None


def _read(connection: Connection) -> Written | None:
    query = select(key_ring.c.written).where(key_ring.c.fleet_id == FLEET)
    found = connection.execute(query).scalar()
    return None if found is None else msgspec.json.decode(found, type=Written)


def _write(connection: Connection, unlocked: Unlocked) -> None:
    row = {
        "generation": unlocked.keys.generation,
        "written": msgspec.json.encode(locked(unlocked)),
    }
    connection.execute(
        insert(connection, key_ring)
        .values(fleet_id=FLEET, **row)
        .on_conflict_do_update(index_elements=["fleet_id"], set_=row)
    )


def _refuse_while_others_work(connection: Connection, verb: str) -> None:
    """They would go on with what they know. A process that was killed counts for as long as its peers give it."""
    if connection.dialect.name != "postgresql":
        return
    living = select(hub_process.c.address).where(
        hub_process.c.seen_at > database_time() - _ALIVE, hub_process.c.token_hash != ""
    )
    others: Collection[str] = connection.execute(living).scalars().all()
    if others:
        raise Refused(
            f"cannot {verb} {connection.engine.url}: the hub at {', '.join(sorted(others))} works on it, or did so within "
            "20 seconds. Stop every hub of the database, and start one; then the others with the same settings."
        )
