"""The tokens of instances: made of the instance's id and a secret of the node, so that none is kept anywhere.

The gate gets a file of digests; with each goes what its holder may speak for (`skerry.gate.topics`).
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import msgspec

from skerry.kit.disk import Disk
from skerry.node.twin_ports import Grant

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LARGEST_NUMBER = 65535
_MOST_REMEMBERED = 1000

log = logging.getLogger(__name__)


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
    """The file at `path`. A token keeps its number, by which the journal names it, as long as it is in the file.

    A file that cannot be read, as of another release, is none: whoever lives is granted a token again.
    """

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path = path
        self._disk = disk
        self._lines: dict[str, _Line] = {}
        self._workloads: dict[int, str] = {}
        if path.exists():
            try:
                self._lines = msgspec.json.decode(path.read_bytes(), type=dict[str, _Line])
            except msgspec.DecodeError as error:
                log.warning("cannot read %s, writing it anew: %s", path, error)
        self._remember()

    def write(self, grants: Mapping[str, Grant]) -> bool:
        """From now on these tokens hold and no other; whether anything is new. Raises OSError."""
        lines: dict[str, _Line] = {}
        for token, grant in grants.items():
            digest = digest_of(token)
            lines[digest] = self._line(digest, grant, {line.n for line in lines.values()})
        if lines == self._lines and self._path.exists():
            return False
        self._disk.write_atomic("broker.tokens", self._path, msgspec.json.encode(lines))
        self._lines = lines
        self._remember()
        return True

    def workload_of(self, number: int) -> str | None:
        """Whose messages have that number in the journal, also when the token has ended since; None: nobody knows any more."""
        return self._workloads.get(number)

    def _remember(self) -> None:
        for line in self._lines.values():
            self._workloads.pop(line.n, None)
            self._workloads[line.n] = line.workload
        for number in list(self._workloads)[:-_MOST_REMEMBERED]:
            del self._workloads[number]

    def _line(self, digest: str, grant: Grant, taken: set[int]) -> _Line:
        known = self._lines.get(digest)
        number = known.n if known else self._free_number(digest, taken)
        return _Line(number, **msgspec.structs.asdict(grant))

    def _free_number(self, digest: str, taken: set[int]) -> int:
        """By the digest, so that no other one is likely to have it while the journal has messages of this one."""
        used = taken | {line.n for line in self._lines.values()}
        number = int(digest[:8], 16)
        while number % _LARGEST_NUMBER + 1 in used:
            number += 1
        return number % _LARGEST_NUMBER + 1
