"""What `opening` has done, in a child or not: loads «cryptography»."""

from __future__ import annotations

from skerry.kit.errors import Corrupt
from skerry.kit.sealing import envelopes
from skerry.node.secrets.opening import Answer, Order


def carry_out(order: Order) -> Answer:
    """Makes a key where there is none, and opens what can be opened."""
    private = order.private or envelopes.new_key()
    values = [_opened(sealed, private, purpose) for purpose, sealed in order.sealed]
    return Answer(private, envelopes.public_of(private), values)


def _opened(sealed: bytes, private: bytes, purpose: bytes) -> bytes | None:
    try:
        return envelopes.unseal(sealed, private, purpose)
    except Corrupt:
        return None
