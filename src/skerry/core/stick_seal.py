"""The seal of what is carried by hand: only this node and its hub can write and read it. See docs/adr/0016.

Both have the hash of the node's secret: the node because it has the secret, the hub because it keeps the hash. Each
file gets a key of its own, derived (HKDF, RFC 5869) from the hash, the file's random id and which way it goes, so that
neither can pass for the other. A block is bound to the file's header, its number and whether it is the last.
"""

from __future__ import annotations

import hashlib
import hmac

from skerry.kit.errors import Corrupt
from skerry.kit.sealing.sealed import KeyInUse, aead
from skerry.wire.stick import StickHeader

_USE = b"skerry stick 1 "
_KEY = 1


class StickSeal:
    """Seals or opens the blocks of one file; `header_text` is its header as it stands in the file.

    Raises Refused when the package «cryptography» is not installed.
    """

    def __init__(self, secret_hash: str, header: StickHeader, header_text: bytes) -> None:
        key = _derive(secret_hash, header)
        self._key = KeyInUse(_KEY, aead("AES-256-GCM", key))
        self._header = hashlib.sha256(header_text).hexdigest()

    def seal(self, content: bytes, number: int, *, last: bool) -> bytes:
        """Block `number` (0, 1, 2, …) of the file."""
        return self._key.seal(content, self._words(number, last=last))

    def open(self, sealed: bytes, number: int, *, last: bool) -> bytes:
        """The content of that block. Raises Corrupt when this node or hub did not write it there."""
        content = self._key.open(sealed, self._words(number, last=last))
        if content is None:
            raise Corrupt(
                f"block {number + 1} is not what was written, or was sealed with another secret"
            )
        return content

    def _words(self, number: int, *, last: bool) -> tuple[str, ...]:
        return ("stick", self._header, str(number), "last" if last else "more")


def _derive(secret_hash: str, header: StickHeader) -> bytes:
    salt = bytes.fromhex(header.id)
    drawn = hmac.digest(salt, bytes.fromhex(secret_hash), "sha256")
    return hmac.digest(drawn, _USE + header.kind.encode() + b"\x01", "sha256")
