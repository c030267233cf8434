"""Encryption at rest as a part of the composition root: what the settings say becomes ciphers and their rotation.

`kit.sealing` and «cryptography» are loaded by nodes that encrypt; the others keep the memory.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec

from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import Refused, Transient
from skerry.kit.sealing.cipher import Cipher
from skerry.kit.tasks import Guard, Tasks
from skerry.node.files.on_demand import FilesOnDemand
from skerry.node.host import Host
from skerry.node.identity import seal_secret
from skerry.node.node_settings import NodeSettings
from skerry.node.ports import CertificateStatus
from skerry.node.secrets.key_file import seal_key
from skerry.node.store.encryption import Encryption, open_encryption, reading
from skerry.node.store.opening import OpenedStore
from skerry.node.store.records import RecordStore
from skerry.wire.local import KeyStatus

if TYPE_CHECKING:
    from skerry.kit.sealing.key_ring import Protection
    from skerry.kit.sealing.sources import Surroundings
    from skerry.node.store.rotation import Rotation
    from skerry.node.trust.renewal import Renewal

LOOK_EVERY = 60.0
"""Seconds between two looks at the age of the keys and how often they were used."""


def open_keys(settings: NodeSettings, disk: Disk, clock: Clock, kek: bytes = b"") -> Encryption:
    """The ciphers of the node's data directory, which must be locked. Raises Refused, having changed nothing.

    `kek`: what the agent of a moment ago had.
    """
    wanted, where = _wanted(settings), _surroundings(settings, kek)
    return open_encryption(wanted, where, disk, clock, database=settings.storage.path)


def read_keys(settings: NodeSettings, disk: Disk, clock: Clock) -> Encryption:
    """The ciphers for a look into the directory of a node that does not run. Raises Refused."""
    return reading(_surroundings(settings), _wanted(settings), disk, clock)


class KeyRotation(msgspec.Struct):
    """Rotates the keys of a node that encrypts; of another one it says that it does not.

    `renewal` keeps the certificate of the node's own key fresh, where it has one.
    """

    rotation: Rotation | None
    clock: Clock
    chance: random.Random
    renewal: Renewal | None

    def status(self) -> KeyStatus:
        """For people."""
        return KeyStatus(enabled=False) if self.rotation is None else self.rotation.status()

    def certificate(self) -> CertificateStatus | None:
        """What this node proves itself by; None: it needs no certificate."""
        return None if self.renewal is None else self.renewal.status()

    def rotate(self) -> KeyStatus:
        """Asks for new keys; they follow at once, and what is sealed with the old ones after that. Raises Refused."""
        if self.rotation is None:
            raise Refused(
                "cannot rotate keys: encryption is off on this node. Set encryption.storage.enabled."
            )
        self.rotation.ask()
        return self.rotation.status()

    async def change_passphrase(self, passphrase: str) -> KeyStatus:
        """Seals the keys with another passphrase. Raises Refused, Transient."""
        if self.rotation is None:
            raise Refused("cannot change the passphrase: encryption is off on this node")
        try:
            return await self.rotation.change_passphrase(passphrase.encode())
        except OSError as error:
            raise Transient(
                f"cannot change the passphrase: {error.strerror}. Both may open the keys now; do it again."
            ) from error

    def follow(self, tasks: Tasks) -> None:
        """Rotates and renews for as long as the tasks run."""
        if self.renewal is not None:
            self.renewal.follow(tasks)
        if self.rotation is not None:
            tasks.forever(self._run(self.rotation), name="keys")

    async def _run(self, rotation: Rotation) -> None:
        guard = Guard("rotating keys", self.clock, self.chance)
        while True:
            seen = rotation.bell.count
            if await guard.run(rotation.once):
                await rotation.bell.within(seen, LOOK_EVERY, self.clock)


def build_rotation(
    store: OpenedStore,
    records: RecordStore,
    files: FilesOnDemand,
    host: Host,
    settings: NodeSettings,
    renewal: Renewal | None,
) -> KeyRotation:
    """What keeps the promises about keys on this node."""
    ring = store.encryption.ring
    if ring is None:
        return KeyRotation(None, host.clock, host.chance, renewal)
    from skerry.node.store.rotation import Beside, Rotation  # noqa: PLC0415 - only where there are keys
    from skerry.node.trust.files import TrustFiles  # noqa: PLC0415

    def secrets(cipher: Cipher) -> bool:
        sealed = seal_secret(settings.data_dir, cipher, host.disk)
        sealed = TrustFiles(settings.data_dir, host.disk, cipher).seal() or sealed
        sealed = seal_key(settings.data_dir, cipher, host.disk) or sealed
        return store.started.seal_again(cipher) or sealed

    beside = Beside(secrets, files.renew)
    rotation = Rotation(ring, store.writer, records, beside, host.disk, host.clock)
    return KeyRotation(rotation, host.clock, host.chance, renewal)


def _surroundings(settings: NodeSettings, kek: bytes = b"") -> Surroundings:
    from skerry.kit.sealing.sources import Surroundings as Where  # noqa: PLC0415

    return Where(settings.data_dir.absolute(), settings.credentials, kek)


def _wanted(settings: NodeSettings) -> Protection | None:
    wish = settings.encryption.storage
    if not wish.enabled:
        return None
    from skerry.kit.sealing.key_ring import Protection as Wanted  # noqa: PLC0415 - only where it is on
    from skerry.kit.sealing.keys import ALGORITHMS, Rule  # noqa: PLC0415
    from skerry.kit.sealing.sources import parse  # noqa: PLC0415

    algorithm = next(name for name in ALGORITHMS if name == wish.algorithm)
    return Wanted(parse(wish.key), Rule(wish.key_rotation, algorithm))
