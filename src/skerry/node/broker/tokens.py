"""The tokens of instances: made of the instance's id and a secret of the node, so that none is kept anywhere.

The gate gets a file of digests; with each goes what its holder may speak for (`skerry.gate.topics`).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import msgspec

from skerry.kit.disk import Disk
from skerry.node.twin_ports import Grant

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LARGEST_NUMBER = 65535


class _Line(msgspec.Struct, frozen=True):
    n: int
    role: str
    workload: str
    twins: tuple[str, ...]
    environment: str
    workflows: tuple[str, ...]
    prefix: str


def token_of(secret: bytes, instance: str) -> str:
    """The token of an instance: the same whenever it is asked for, another for every other instance and node."""
    value = int.from_bytes(hmac.digest(secret, instance.encode(), "sha256"), "big")
    digits = []
    while value:
        value, digit = divmod(value, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "cw_" + "".join(reversed(digits)).rjust(43, "0")


def digest_of(token: str) -> str:
    """What the gate knows it by."""
    return sha256(token.encode()).hexdigest()


class TokensFile:
    """The file at `path`. A token keeps its number, by which the journal names it, as long as it is in the file."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path = path
        self._disk = disk
        self._lines: dict[str, _Line] = {}
        if path.exists():
            self._lines = msgspec.json.decode(path.read_bytes(), type=dict[str, _Line])
        self._last = max((line.n for line in self._lines.values()), default=0)

    def write(self, grants: Mapping[str, Grant]) -> bool:
        """From now on these tokens hold and no other; whether anything is new. Raises OSError."""
        lines = {
            digest_of(token): self._line(digest_of(token), grant) for token, grant in grants.items()
        }
        if lines == self._lines and self._path.exists():
            return False
        self._disk.write_atomic("broker.tokens", self._path, msgspec.json.encode(lines))
        self._lines = lines
        return True

    def workload_of(self, number: int) -> str | None:
        """Whose messages have that number in the journal; None when its token has ended."""
        found = (line.workload for line in self._lines.values() if line.n == number)
        return next(found, None)

    def _line(self, digest: str, grant: Grant) -> _Line:
        known = self._lines.get(digest)
        number = known.n if known else self._next_number()
        return _Line(number, **msgspec.structs.asdict(grant))

    def _next_number(self) -> int:
        """Round and round, so that a number means something else as late as can be."""
        used = {line.n for line in self._lines.values()}
        self._last = self._last % _LARGEST_NUMBER + 1
        while self._last in used:
            self._last = self._last % _LARGEST_NUMBER + 1
        return self._last
