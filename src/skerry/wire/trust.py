"""What node and hub say to each other about certificates: the roots to believe, and renewal. See ADR 24."""

from __future__ import annotations

import msgspec


class TrustBundle(msgspec.Struct, frozen=True):
    """The roots (PEM, the oldest first) that a fleet believes. `number` grows with every change."""

    number: int
    roots: list[str]


class Renew(msgspec.Struct, frozen=True):
    """A node asks for its next certificate, in a connection that proves the key of the one it has; `csr` is PEM."""

    csr: str


class Renewed(msgspec.Struct, frozen=True):
    """The next certificate (PEM, leaf before intermediate), and the roots to believe from now on."""

    certificate: str
    trust: TrustBundle
