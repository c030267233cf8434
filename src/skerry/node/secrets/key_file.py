"""The node's key of secrets: a file that is nobody else's to read, sealed where encryption at rest is on.

It is in no backup: a node that was put back from one makes another, tells it, and is sealed its secrets anew.
"""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import msgspec

from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt, Refused
from skerry.kit.sealing.cipher import Cipher, Place
from skerry.kit.sealing.format import is_sealed

KEY_FILE = Path("trust", "secrets.key")
"""In the data directory."""

_PLACE = Place("file", "secrets.key", ())
_LENGTH = 32

log = logging.getLogger(__name__)


class NodeKey(msgspec.Struct, frozen=True):
    """A pair of keys, 32 bytes each."""

    private: bytes
    public: bytes

    def __repr__(self) -> str:
        return "NodeKey()"


def read_key(data_dir: Path, cipher: Cipher) -> NodeKey | None:
    """The node's key; None when there is none, or none that anybody can read. Raises Refused when others may read it."""
    path = data_dir / KEY_FILE
    try:
        mode, content = stat.S_IMODE(path.stat().st_mode), path.read_bytes()
        plain = cipher.open(content, _PLACE) if is_sealed(content) else content
    except FileNotFoundError:
        return None
    except Corrupt as error:
        log.warning("cannot read %s: %s. The node makes another key of secrets.", path, error)
        return None
    if mode & 0o077:
        raise Refused(f"cannot use {path}: it may be read by others. Run: chmod 600 {path}")
    if len(plain) != 2 * _LENGTH:
        log.warning("%s is no key. The node makes another key of secrets.", path)
        return None
    return NodeKey(plain[:_LENGTH], plain[_LENGTH:])


def keep_key(data_dir: Path, key: NodeKey, cipher: Cipher, disk: Disk) -> None:
    """Raises OSError."""
    path, plain = data_dir / KEY_FILE, key.private + key.public
    disk.make_directory("secrets.directory", path.parent)
    disk.write_atomic("secrets.key", path, cipher.seal(plain, _PLACE) if cipher.seals else plain)


def seal_key(data_dir: Path, cipher: Cipher, disk: Disk) -> bool:
    """Seals the key under the one in force. False: it is already, or there is none. Raises Corrupt and OSError."""
    path = data_dir / KEY_FILE
    if not cipher.seals or not path.exists() or cipher.is_current(path.read_bytes()):
        return False
    content = path.read_bytes()
    plain = cipher.open(content, _PLACE) if is_sealed(content) else content
    disk.write_atomic("secrets.key", path, cipher.seal(plain, _PLACE))
    return True
