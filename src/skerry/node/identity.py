"""Who this node is: a file of its own, because it must outlive a damaged database.

Written by `sync.enrol`, read by the agent. The secret lies beside it in a file with mode 0600.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from skerry.kit.disk import Disk
from skerry.kit.errors import Refused
from skerry.wire.codec import decode, encode

IDENTITY_FILE = "identity.json"
SECRET_FILE = "node.secret"  # noqa: S105 - the file's name, not a secret


class Identity(msgspec.Struct, frozen=True):
    """What an enrolled node is called, by which hub, and what workloads select it by.

    `hub_urls` are the addresses that the hub told, when it is in several places.
    """

    node_id: str
    name: str
    labels: dict[str, str]
    hub_url: str
    hub_id: str
    hub_urls: list[str] = []


def read_identity(data_dir: Path) -> Identity | None:
    """This node's identity, or None when it was never enrolled. Raises InvalidInput when the file is damaged."""
    path = data_dir / IDENTITY_FILE
    if not path.exists():
        return None
    return decode(path.read_bytes(), Identity, str(path))


def write_identity(data_dir: Path, identity: Identity, secret: str, disk: Disk) -> None:
    """Keeps identity and secret; the identity is written last, so that there is never one without a secret."""
    disk.write_atomic("enrol.secret", data_dir / SECRET_FILE, f"{secret}\n".encode())
    disk.write_atomic("enrol.identity", data_dir / IDENTITY_FILE, encode(identity))


def read_secret(data_dir: Path) -> str:
    """The secret of an enrolled node. Raises Refused when the file is gone or unreadable."""
    path = data_dir / SECRET_FILE
    try:
        return path.read_text().strip()
    except OSError as error:
        raise Refused(
            f"cannot read {path}: {error.strerror}. Enrol this node again with a new token."
        ) from error
