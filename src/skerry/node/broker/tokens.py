"""The tokens of instances: made of the instance's id and a secret of the node, so that none is kept anywhere.

The gate gets a file of digests; with each goes what its holder may speak for (`skerry.gate.topics`).
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from skerry.gate.tokens import LARGEST_NUMBER, body_of, scopes_of
from skerry.gate.topics import Scope
from skerry.kit.disk import Disk
from skerry.node.twin_ports import Grant

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MOST_REMEMBERED = 1000

log = logging.getLogger(__name__)


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
        self._scopes: dict[str, Scope] = {}
        self._workloads: dict[int, str] = {}
        if path.exists():
            try:
                self._scopes = scopes_of(path.read_bytes())
            except ValueError as error:
                log.warning("cannot read %s, writing it anew: %s", path, error)
        self._remember()

    def write(self, grants: Mapping[str, Grant]) -> bool:
        """From now on these tokens hold and no other; whether anything is new. Raises OSError."""
        scopes: dict[str, Scope] = {}
        for token, grant in grants.items():
            digest = digest_of(token)
            taken = {scope.number for scope in scopes.values()}
            scopes[digest] = self._scope(digest, grant, taken)
        if scopes == self._scopes and self._path.exists():
            return False
        self._disk.write_atomic("broker.tokens", self._path, body_of(scopes))
        self._scopes = scopes
        self._remember()
        return True

    def workload_of(self, number: int) -> str | None:
        """Whose messages have that number in the journal, also when the token has ended since; None: nobody knows any more."""
        return self._workloads.get(number)

    def _remember(self) -> None:
        for scope in self._scopes.values():
            self._workloads.pop(scope.number, None)
            self._workloads[scope.number] = scope.workload
        for number in list(self._workloads)[:-_MOST_REMEMBERED]:
            del self._workloads[number]

    def _scope(self, digest: str, grant: Grant, taken: set[int]) -> Scope:
        known = self._scopes.get(digest)
        return Scope(
            known.number if known else self._free_number(digest, taken),
            grant.role,
            grant.prefix,
            frozenset(grant.twins),
            frozenset({grant.environment} - {""}),
            frozenset(grant.workflows),
            grant.workload,
        )

    def _free_number(self, digest: str, taken: set[int]) -> int:
        """By the digest, so that no other one is likely to have it while the journal has messages of this one."""
        used = taken | {scope.number for scope in self._scopes.values()}
        number = int(digest[:8], 16)
        while number % LARGEST_NUMBER + 1 in used:
            number += 1
        return number % LARGEST_NUMBER + 1
