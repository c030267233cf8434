"""The key ring of one data directory: opened with its key-encryption key, it gives the ciphers and changes the keys.

`keys` decides, `ring_file` keeps, `sources` finds the KEK. Methods that write block on the disk, one at a time.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import secrets
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import Refused
from skerry.kit.sealing.keys import (
    CLASSES,
    RESERVED_AT_ONCE,
    RESERVED_AT_START,
    Algorithm,
    DataClass,
    DataKey,
    Keys,
    Rule,
    due,
    reserving,
    sealed_throughout,
    with_new,
    without,
)
from skerry.kit.sealing.ring_file import (
    RING_FILE,
    Coming,
    RingFile,
    Uncounted,
    Unlocked,
    unlock,
    unlock_by_successor,
)
from skerry.kit.sealing.sealed import KeyInUse, SealingCipher, in_force
from skerry.kit.sealing.sources import (
    Reader,
    Source,
    Surroundings,
    Wanted,
    fingerprint,
    from_passphrase,
    is_beside,
    is_replaceable,
    make,
    obtain,
    read_secret,
    words,
)

_KEY_BYTES = 32

log = logging.getLogger(__name__)


class Protection(msgspec.Struct, frozen=True):
    """What encryption at rest is wanted: by which KEK, and when data keys have served."""

    kek: Wanted
    rule: Rule


class KeyRing:
    """An open ring. `cipher` may be used from any thread."""

    def __init__(  # noqa: PLR0913 - the file, what opened it, and what surrounds both
        self,
        file: RingFile,
        unlocked: Unlocked,
        rule: Rule,
        where: Surroundings,
        disk: Disk,
        clock: Clock,
        *,
        used_before: bool,
    ) -> None:
        self._file = file
        self._unlocked = unlocked
        self._rule = rule
        self._where = where
        self._disk = disk
        self._clock = clock
        self._writing = threading.RLock()
        self._uncounted = Uncounted(where.data_dir, disk)
        self._complained = False
        keys = unlocked.keys
        self._ciphers = {
            of: SealingCipher(
                in_force(keys.of_class(of), None, plain=keys.plain, used_before=used_before)
            )
            for of in CLASSES
        }

    @property
    def keys(self) -> Keys:
        """As they are kept."""
        return self._unlocked.keys

    @property
    def source(self) -> Source:
        """How the ring itself is sealed."""
        return self._unlocked.source

    @property
    def passphrase_waits(self) -> bool:
        """Whether a new passphrase opens the ring as well, and the old one until the new one has."""
        return self._unlocked.coming is not None

    @property
    def kek(self) -> bytes:
        """What the ring itself is sealed with; backups wrap their keys with it."""
        return self._unlocked.kek

    @property
    def source_words(self) -> str:
        """The same for people."""
        return words(self.source, self._where)

    @property
    def key_is_beside(self) -> bool:
        """Whether who copies the data directory can read it."""
        return is_beside(self.source, self._where)

    def cipher(self, of: DataClass) -> SealingCipher:
        """The cipher of a class of data, always the same one."""
        return self._ciphers[of]

    def messages(self, key: DataKey) -> int:
        """Sealed with this key, at most."""
        held = self._ciphers[key.of].now.opening.get(key.id)
        return key.reserved if held is None else held.messages

    def due(self) -> list[DataClass]:
        """The classes whose key has served."""
        return due(self.keys, self._clock.wall_ns(), self._rule)

    def rotate(self, classes: Collection[DataClass]) -> None:
        """Gives these classes new keys, in force when this returns; the old ones retire. Raises OSError."""
        now = self._clock.wall_ns()
        with self._writing:
            held = self.keys
            fresh = fresh_keys(sorted(classes), self._rule.algorithm, now, held.keys)
            self._keep(with_new(held, fresh))

    def destroy(self, ids: Collection[int]) -> None:
        """Forgets retired keys for ever. Raises OSError."""
        with self._writing:
            self._keep(without(self.keys, ids))

    def refuse_plain(self) -> None:
        """Everything is sealed now: plain bodies are damage from here on. Raises OSError."""
        with self._writing:
            self._keep(sealed_throughout(self.keys))

    def begin(self) -> None:
        """The keys may seal from here on what is counted first. Never fails: on a full disk a node starts, too."""
        with self._writing:
            earlier = self._uncounted.times * RESERVED_AT_START
            for key in self._sealing():
                key.before += earlier
                key.until, key.reserve = self._counted(key.id) + earlier, self._reserve
            self._reserve()
            if not self._uncounted.times:
                with contextlib.suppress(OSError):
                    self._uncounted.keep(0)

    def top_up(self) -> None:
        """Reserves messages where half of the reservation is used. Raises OSError."""
        with self._writing:
            held = self._sealing()
            more = min(RESERVED_AT_ONCE, max(RESERVED_AT_START, *(key.used for key in held)))
            if any(key.messages > key.until - more // 2 for key in held):
                self._keep(reserving(self.keys, {key.id: key.messages for key in held}, more))
                self._uncounted.keep(0)

    def reseal(self, source: Source, kek: bytes) -> None:
        """Another KEK from here on; no data is touched. Raises OSError."""
        with self._writing:
            self._write(Unlocked(source, kek, self.keys))

    def change_passphrase(self, passphrase: bytes) -> bool:
        """Another passphrase from here on, in the file that it comes from. Killed anywhere, what is in that file opens.

        False: somebody else has to put it there; until the first start with it, the old one opens the ring as well.
        Raises Refused and OSError.
        """
        with self._writing:
            place = self.source.place
            if self.source.kind != "passphrase":
                raise Refused(
                    f"cannot change the passphrase: the keys are sealed by {self.source_words}. Set "
                    "encryption.storage.key to passphrase:/PATH and restart the node."
                )
            coming = Coming(*from_passphrase(place, passphrase))
            self._write(msgspec.structs.replace(self._unlocked, coming=coming))
            if not is_replaceable(Path(place)):
                return False
            self._disk.write_atomic("keys.passphrase", Path(place), passphrase + b"\n")
            # With a salt of its own: who has the old passphrase and the file of a moment ago knows the other KEK.
            self.reseal(*from_passphrase(place, passphrase))
            return True

    def _reserve(self) -> None:
        """What a key needs that has nothing left, if there is a way to have it counted."""
        with self._writing:
            try:
                self.top_up()
                self._complained = False
            except OSError as error:
                if not self._complained:
                    log.warning("cannot write %s: %s. The node goes on", self._file.path, error)
                self._complained = True
                self._reserve_uncounted()

    def _reserve_uncounted(self) -> None:
        held = self._sealing()
        if all(key.messages < key.until for key in held):
            return
        times = self._uncounted.times + 1
        try:
            self._uncounted.keep(times)
        except OSError as error:
            log.warning("cannot count what is sealed: %s", error)
            return
        for key in held:
            key.until = max(key.until, self._counted(key.id) + times * RESERVED_AT_START)

    def _counted(self, id_: int) -> int:
        """Messages that the written ring accounts for."""
        return next(key.reserved for key in self.keys.keys if key.id == id_)

    def _sealing(self) -> list[KeyInUse]:
        return [cipher.now.sealing for cipher in self._ciphers.values()]

    def _write(self, unlocked: Unlocked) -> None:
        self._file.write(unlocked)
        self._unlocked = unlocked

    def _keep(self, keys: Keys) -> None:
        self._write(msgspec.structs.replace(self._unlocked, keys=keys))
        for of, cipher in self._ciphers.items():
            now = in_force(keys.of_class(of), cipher.now, plain=keys.plain)
            counted = keys.in_force(of).reserved
            known = now.sealing is cipher.now.sealing
            now.sealing.until = max(now.sealing.until, counted) if known else counted
            now.sealing.reserve = self._reserve
            cipher.install(now)


def open_ring(
    wanted: Protection,
    where: Surroundings,
    disk: Disk,
    clock: Clock,
    *,
    in_use: Callable[[], Mapping[int, int]],
    in_blobs: Callable[[], Mapping[int, int]] = dict,
) -> KeyRing:
    """The ring of a data directory, made when there is none. Raises Refused, having changed nothing.

    `in_use`: ids of keys that something there names, and how often, which only a ring with those keys can open;
    `in_blobs`: the same of blobs, which only look sealed as long as some of them may be plain. Where
    the settings name another source of the KEK than the ring is sealed by, the ring is sealed anew.
    """
    file = RingFile(where.data_dir, disk)
    named = in_use()
    if not file.exists:
        if named:
            raise Refused(
                f"cannot open {where.data_dir}: its data is sealed and {RING_FILE} is gone. Nothing was touched: put "
                f"{RING_FILE} back, or restore a backup, which has the keys."
            )
        return _new_ring(wanted, file, where, disk, clock)
    read = functools.cache(read_secret)  # a passphrase in a pipe can be read once
    unlocked = _unlocked(file, where, read)
    names = [named] if unlocked.keys.plain else [named, in_blobs()]
    missing = sorted(
        id_
        for found in names
        for id_, times in found.items()
        if times > 1 and id_ not in {key.id for key in unlocked.keys.keys}
    )  # a bad sector makes up a key, but not the same one twice
    if missing:
        raise Refused(
            f"cannot open {where.data_dir}: key {missing[0]:08x} of its data is not in {RING_FILE}, which is older than "
            "the data. Nothing was touched: put the newest one back."
        )
    ring = KeyRing(file, unlocked, wanted.rule, where, disk, clock, used_before=True)
    if unlocked.takes_over or not wanted.kek.is_same(ring.source):
        try:
            ring.reseal(*make(wanted.kek, where, disk, read))
        except OSError as error:
            log.warning("cannot seal the keys anew, the next start tries again: %s", error)
    ring.begin()
    return ring


def unlocked_ring(rule: Rule, where: Surroundings, disk: Disk, clock: Clock) -> KeyRing:
    """The ring of a directory for reading only: nothing is made, changed or reserved. Raises Refused."""
    file = RingFile(where.data_dir, disk)
    unlocked = _unlocked(file, where, functools.cache(read_secret))
    return KeyRing(file, unlocked, rule, where, disk, clock, used_before=True)


def _new_ring(
    wanted: Protection, file: RingFile, where: Surroundings, disk: Disk, clock: Clock
) -> KeyRing:
    source, kek = make(wanted.kek, where, disk)
    fresh = fresh_keys(CLASSES, wanted.rule.algorithm, clock.wall_ns(), ())
    unlocked = Unlocked(source, kek, Keys(0, fresh, plain=True))
    file.write(unlocked)
    ring = KeyRing(file, unlocked, wanted.rule, where, disk, clock, used_before=False)
    ring.begin()
    return ring


def _unlocked(file: RingFile, where: Surroundings, read: Reader) -> Unlocked:
    obtained = functools.cache(obtain)

    def kek_of(source: Source, check: str) -> bytes:
        handed = where.kek
        return handed if handed and fingerprint(handed) == check else obtained(source, where, read)

    refusal: Refused | None = None
    for written in file.candidates():
        try:
            unlocked = unlock(written, kek_of(written.source, written.check))
        except Refused as error:
            refusal = refusal or error
            coming = written.successor
            if coming is None:
                continue
            unlocked = unlock_by_successor(written, kek_of(coming.source, coming.check))
        if unlocked is not None:
            return unlocked
    raise refusal or Refused(
        f"cannot unlock {file.path}: its key-encryption key is right, but it is not what was written. Nothing was "
        "touched: put the file or its copy back, or restore a backup, which has the keys."
    )


def fresh_keys(
    classes: Sequence[DataClass], algorithm: Algorithm, now_ns: int, held: Collection[DataKey]
) -> list[DataKey]:
    """A new key for each of these classes; none has the id of one that is `held`."""
    taken = {key.id for key in held}
    fresh: list[DataKey] = []
    for of in classes:
        number = 0
        while number == 0 or number in taken:
            number = secrets.randbits(32)
        taken.add(number)
        secret = secrets.token_bytes(_KEY_BYTES)
        fresh.append(DataKey(number, of, algorithm, now_ns, secret, RESERVED_AT_ONCE))
    return fresh
