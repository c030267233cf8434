"""Who holds which token: a file that the agent writes, with digests of tokens and never a token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from skerry.gate.digests import sha256
from skerry.gate.records import NamedTuple
from skerry.gate.topics import Scope
from skerry.keeper.protocol import Message, decode, encode

_ROLES = frozenset(("driver", "worker", "node"))
_ANYBODY = "mqttcyb"
LARGEST_NUMBER = 65535
"""Of a token, by which the journal names it."""


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


def body_of(scopes: Mapping[str, Scope]) -> bytes:
    """A tokens file: of each token a message of the keeper's form (`keeper.protocol`), and an empty field. Raises ValueError."""
    return b"".join(encode(_fields(digest, scope)) + b"\0" for digest, scope in scopes.items())


def scopes_of(body: bytes) -> dict[str, Scope]:
    """What is in a tokens file. Raises ValueError."""
    *entries, rest = body.split(b"\0\0")
    if rest:
        raise ValueError("the end of a tokens file is missing")
    return dict(_entry(decode(entry + b"\0")) for entry in entries)


def _fields(digest: str, scope: Scope) -> Iterator[tuple[str, object]]:
    yield "digest", digest
    yield "number", scope.number
    yield "role", scope.role
    yield "prefix", scope.prefix
    yield "workload", scope.workload
    for name, values in (
        ("twin", scope.twins),
        ("environment", scope.environments),
        ("workflow", scope.workflows),
    ):
        for value in sorted(values):
            yield name, value


def _entry(fields: Message) -> tuple[str, Scope]:
    digest, number, role = fields.text("digest"), fields.number("number"), fields.text("role")
    if len(digest) != 64 or not 0 <= number <= LARGEST_NUMBER or role not in _ROLES:
        raise ValueError(
            f"the entry {digest[:12]} of a tokens file has no proper digest, number or role"
        )
    return digest, Scope(
        number,
        role,
        fields.text("prefix"),
        frozenset(fields.all("twin")),
        frozenset(fields.all("environment")),
        frozenset(fields.all("workflow")),
        fields.text("workload"),
    )
