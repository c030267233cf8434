"""What node and hub say to each other about certificates: the roots to believe, and renewal. See ADR 24."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec


class TrustBundle(msgspec.Struct, frozen=True):
    """The roots (PEM, the oldest first) that a fleet believes. `number` grows with every change.

    A hub that was put back from a backup may use a number again, for other roots.
    """

    number: int
    roots: list[str]

    @property
    def digest(self) -> str:
        """Of the roots, whatever their order and line ends; empty without any."""
        if not self.roots:
            return ""
        texts = sorted("".join(root.split()) for root in self.roots)
        return hashlib.sha256("".join(texts).encode()).hexdigest()


class Renew(msgspec.Struct, frozen=True):
    """A node asks for its next certificate, in a connection that proves the key of the one it has; `csr` is PEM."""

    csr: str


class Renewed(msgspec.Struct, frozen=True):
    """The next certificate (PEM, leaf before intermediate), and the roots to believe from now on."""

    certificate: str
    trust: TrustBundle


class RootView(msgspec.Struct, frozen=True):
    """A root for people. The hub that was asked issues under one, `next` ones come after it; times in ns since 1970.

    `nodes` have certificates that hang on it and may still be renewed.
    """

    number: int
    fingerprint: str
    state: Literal["issuing", "next", "former", "retired"]
    added_at: int
    expires_at: int
    nodes: int


class TrustView(msgspec.Struct, frozen=True):
    """The fleet's trust as one hub has it. `behind` are nodes that do not have the bundle of this `number` yet.

    `root_key` says whether the root's key is on the hub; times in ns since 1970.
    """

    number: int
    roots: list[RootView]
    root_key: bool
    intermediate_expires_at: int
    behind: list[str]
