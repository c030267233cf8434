"""What to do about this node's certificate, by what it says and what time it is. Pure.

The node never turns itself away: it shows what it has, and the hub judges. What is decided here is when to ask for
the next one, and what to tell people.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

import msgspec

from skerry.kit.clock import BUILD_TIME_NS, NS, iso
from skerry.kit.errors import InvalidInput
from skerry.node.trust.der import SERVER_AUTH, Read, certificates_in, read_certificate

DAY = 86_400 * NS
RENEWABLE = 90 * DAY
"""How long after its end a certificate still serves to ask for the next one."""

JITTER = 0.05
"""Of a certificate's life, so that a fleet that was enrolled at once does not renew at once."""


class Pinned(msgspec.Struct, frozen=True):
    """A token as people pass it on: the hub's secret, and which root to believe; empty: the hub issues no certificates."""

    secret: str
    fingerprint: str

    def __repr__(self) -> str:
        return "Pinned()"


def read_token(token: str) -> Pinned:
    """«SECRET» or «SECRET.FINGERPRINT»."""
    secret, _, fingerprint = token.strip().partition(".")
    return Pinned(secret, fingerprint)


def fingerprint(der: bytes) -> str:
    """Of a root, as a token names it."""
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")


def pinned_root(roots: Sequence[str], wanted: str, hub: str) -> str:
    """The root (PEM) that the token names. Raises InvalidInput when the hub's bundle does not have it."""
    for root in roots:
        if [fingerprint(der) for der in certificates_in(root)] == [wanted]:
            return root
    raise InvalidInput(
        f"cannot enrol: what answers at {hub} does not have the root that the token names: this is another hub, "
        "somebody stands between, or the token is cut off or mistyped. Make one at the right hub: skerry token create"
    )


def renews_at(leaf: Read, chance: float) -> int:
    """When to ask for the next one: after two thirds of its life and a little; `chance` is 0 to 1."""
    life = leaf.not_after - leaf.not_before
    return leaf.not_before + life * 2 // 3 + int(life * JITTER * chance)


def floor(leaf: Read | None, heard: int) -> int:
    """A time that has surely passed, whatever the clock says: of this build, of our certificate's issue, or `heard` of the hub."""
    return max(BUILD_TIME_NS, heard, leaf.not_before if leaf is not None else 0)


def is_over(leaf: Read, now: int) -> bool:
    """Whether not even the next one can be had with it: the node must be enrolled again."""
    return now >= leaf.not_after + RENEWABLE


def first_end(chain: Sequence[bytes]) -> int:
    """When the first certificate of a chain ends, that `why_not` has nothing against."""
    return min(read_certificate(der).not_after for der in chain)


def why_not(chain: Sequence[bytes], floor_ns: int) -> str:
    """Why a hub's chain is not to be believed that OpenSSL has verified but for the time; empty: it is."""
    try:
        read = [read_certificate(der) for der in chain]
    except InvalidInput as error:
        return str(error)
    if not read or SERVER_AUTH not in read[0].usages:
        return "its certificate is not a hub's"
    ended = [one for one in read if one.not_after <= floor_ns]
    return f"its certificate ended at {iso(ended[0].not_after)[:19]}Z" if ended else ""
