"""Who holds which token: a file that the agent writes, with digests of tokens and never a token."""

from __future__ import annotations

import json

from skerry.gate.digests import sha256
from skerry.gate.records import NamedTuple
from skerry.gate.topics import Scope

_ROLES = frozenset(("driver", "worker", "node"))
_ANYBODY = "mqttcyb"
_LARGEST_NUMBER = 65535


class Holder(NamedTuple):
    """Of a token: its digest, and what may be done with it."""

    digest: str
    scope: Scope


class Tokens:
    """The tokens that hold now. Until `load` has succeeded, none."""

    def __init__(self) -> None:
        self._scopes: dict[str, Scope] = {}

    def load(self, path: str) -> int:
        """Reads the file anew and returns how many there are. Raises OSError, ValueError; then those of before hold on."""
        with open(path, "rb") as file:
            self._scopes = scopes_of(file.read())
        return len(self._scopes)

    def scope_of(self, digest: str) -> Scope | None:
        """What the token with that digest is good for; None if it has ended."""
        return self._scopes.get(digest)

    def holder(self, user: str | None, password: bytes | None) -> Holder | None:
        """Whoever signs in so: with the token for a password, and its digest or `mqttcyb` for a name."""
        if user is None or password is None:
            return None
        # No comparison here tells by its time what a token is: a digest is looked up, and who gets further knows the token.
        digest = sha256(password)
        scope = self._scopes.get(digest)
        if scope is None or user not in (_ANYBODY, f"cwh_{digest}"):
            return None
        return Holder(digest, scope)


def scopes_of(body: bytes) -> dict[str, Scope]:
    """What is in a tokens file. Raises ValueError."""
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("a tokens file holds no object")  # noqa: TRY004 - one error for all that is wrong in it
    return {digest: _scope(digest, entry) for digest, entry in found.items()}


def _scope(digest: str, entry: object) -> Scope:
    if not isinstance(entry, dict) or len(digest) != 64:
        raise ValueError("an entry of a tokens file is not for a SHA-256 digest, or no object")
    number, role = entry.get("n"), entry.get("role")
    if not isinstance(number, int) or not 0 <= number <= _LARGEST_NUMBER or role not in _ROLES:
        raise ValueError(f"the entry {digest[:12]} of a tokens file has no proper «n» or «role»")
    environment = entry.get("environment")
    return Scope(
        number,
        role,
        _text(entry.get("prefix", "")),
        _texts(entry.get("twins", [])),
        frozenset((_text(environment),)) if environment else frozenset(),
        _texts(entry.get("workflows", [])),
        _text(entry.get("workload", "")),
    )


def _texts(value: object) -> frozenset[str]:
    if not isinstance(value, list):
        raise ValueError("a list is missing in a tokens file")  # noqa: TRY004 - see above
    return frozenset(_text(item) for item in value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is missing in a tokens file")  # noqa: TRY004 - see above
    return value
