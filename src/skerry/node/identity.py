"""Who this node is: a file of its own, because it must outlive a damaged database.

Written by `sync.enrol`, read by the agent. The secret lies beside it in a file with mode 0600; where encryption at
rest is on, the agent seals it when it starts.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt, Refused
from skerry.kit.sealing.cipher import Cipher, Place
from skerry.kit.sealing.format import is_sealed
from skerry.wire.codec import decode, encode

log = logging.getLogger(__name__)

IDENTITY_FILE = "identity.json"
SECRET_FILE = "node.secret"  # noqa: S105 - the file's name, not a secret

_PLACE = Place("file", SECRET_FILE, ())


class Identity(msgspec.Struct, frozen=True):
    """What an enrolled node is called, by which hub, and what workloads select it by.

    `hub_urls` are the addresses that the hub told, when it is in several places. `certificate`: it proves itself by its
    certificate, over https only, and never by the secret.
    """

    node_id: str
    name: str
    labels: dict[str, str]
    hub_url: str
    hub_id: str
    hub_urls: list[str] = []
    certificate: bool = False


class Enrolled(msgspec.Struct, frozen=True):
    """An identity with the secret that proves it; empty where a restore brought none (`lacks_secret`)."""

    identity: Identity
    secret: str

    def __repr__(self) -> str:
        return f"Enrolled({self.identity.node_id})"


def read_identity(data_dir: Path) -> Identity | None:
    """This node's identity, or None when it was never enrolled. Raises InvalidInput when the file is damaged."""
    path = data_dir / IDENTITY_FILE
    if not path.exists():
        return None
    return decode(path.read_bytes(), Identity, str(path))


def write_identity(data_dir: Path, identity: Identity, secret: str, disk: Disk) -> None:
    """Keeps identity and secret; the identity is written last, so that there is never one without a secret."""
    disk.write_atomic("enrol.secret", data_dir / SECRET_FILE, f"{secret}\n".encode())
    write_name(data_dir, identity, disk)


def write_name(data_dir: Path, identity: Identity, disk: Disk) -> None:
    """Replaces the identity beside a secret that stays. Raises OSError."""
    disk.write_atomic("enrol.identity", data_dir / IDENTITY_FILE, encode(identity))


def keep_identity(data_dir: Path, disk: Disk, identity: Identity) -> None:
    """Replaces what the node was called. On a full disk it stays as it was: the hub tells again."""
    try:
        disk.write_atomic("identity.kept", data_dir / IDENTITY_FILE, encode(identity))
    except OSError as error:
        log.warning("cannot write %s: %s", data_dir / IDENTITY_FILE, error.strerror)


def lacks_secret(data_dir: Path) -> bool:
    """Whether there is no secret, as after a restore from a backup that was not sealed."""
    return not (data_dir / SECRET_FILE).exists()


def read_secret(data_dir: Path, cipher: Cipher) -> str:
    """The secret of an enrolled node. Raises Refused when the file is gone or unreadable."""
    path = data_dir / SECRET_FILE
    try:
        content = path.read_bytes()
        if is_sealed(content):
            content = cipher.open(content, _PLACE)
        return content.decode().strip()
    except (OSError, Corrupt, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is not what was written"
        raise Refused(
            f"cannot read {path}: {cause}. Enrol this node again with a new token."
        ) from error


def with_secret(
    data_dir: Path, identity: Identity | None, cipher: Cipher, disk: Disk
) -> Enrolled | None:
    """An identity with its secret, which is sealed from here on where the cipher does. Raises as `read_secret`.

    Without a secret the node works as without its hub, until it is enrolled again.
    """
    if identity is None:
        return None
    if lacks_secret(data_dir):
        log.warning("%s is not there: enrol this node again", data_dir / SECRET_FILE)
        return Enrolled(identity, "")
    secret = read_secret(data_dir, cipher)
    seal_secret(data_dir, cipher, disk)
    return Enrolled(identity, secret)


def seal_secret(data_dir: Path, cipher: Cipher, disk: Disk) -> bool:
    """Seals the secret under the key in force. False: it is already, or there is none. Raises Corrupt and OSError."""
    path = data_dir / SECRET_FILE
    if not cipher.seals or not path.exists() or cipher.is_current(path.read_bytes()):
        return False
    content = path.read_bytes()
    plain = content if not is_sealed(content) else cipher.open(content, _PLACE)
    disk.write_atomic("secret.seal", path, cipher.seal(plain, _PLACE))
    return True
