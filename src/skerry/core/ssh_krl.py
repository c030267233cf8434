"""OpenSSH's list of revoked certificates (PROTOCOL.krl), for one authority and by serial number. Pure.

Written here because `ssh-keygen -k` would be a process for each change, and a hub has no OpenSSH.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable

_MAGIC = b"SSHKRL\n\0"
_FORMAT = 1
_CERTIFICATES, _SERIALS = 1, 0x20


def key_blob(public_key: str) -> bytes:
    """The bytes of a public key that OpenSSH wrote as «TYPE BASE64 [COMMENT]»."""
    return base64.b64decode(public_key.split()[1])


def revocation_list(
    authority: str, serials: Iterable[int], *, number: int, made_at: int, comment: str = ""
) -> bytes:
    """The list, for certificates of the key `authority`. `number` grows with each version; `made_at` is in seconds."""
    told = b"".join(struct.pack(">Q", serial) for serial in sorted(set(serials)))
    head = _MAGIC + struct.pack(">IQQQ", _FORMAT, number, made_at, 0)
    head += _string(b"") + _string(comment.encode())
    if not told:
        return head
    section = _string(key_blob(authority)) + _string(b"")
    section += struct.pack(">B", _SERIALS) + _string(told)
    return head + struct.pack(">B", _CERTIFICATES) + _string(section)


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
