"""Where the hub is, when it is in several places: which address is used now, and in which order the others follow.

`uplink` asks the others when one does not answer; whoever else talks to the hub takes the address that did. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from skerry.node.identity import Enrolled


class HubAddresses:
    """At least one address; the first is used first. The one that answered last is used until it does not answer."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._all = tuple(dict.fromkeys(address.rstrip("/") for address in addresses))
        self.current = self._all[0]

    def in_turn(self) -> Sequence[str]:
        """Every address once: the current one, then those that follow it, round to those before it."""
        start = self._all.index(self.current)
        return (*self._all[start:], *self._all[:start])

    def answered(self, address: str) -> None:
        """The hub was there."""
        self.current = address


class HubAccount(msgspec.Struct, frozen=True):
    """Whom this node talks to, and as whom."""

    node_id: str
    addresses: HubAddresses
    secret: str

    def __repr__(self) -> str:
        return f"HubAccount({self.node_id})"


def account_of(url: str | None, enrolled: Enrolled | None) -> HubAccount | None:
    """The account of an enrolled node; `url` is the setting `hub.url`, which goes before what the hub told."""
    if enrolled is None:
        return None
    identity = enrolled.identity
    told = [*ranked(identity.node_id, identity.hub_urls), identity.hub_url]
    addresses = HubAddresses(told if url is None else written(url))
    return HubAccount(identity.node_id, addresses, enrolled.secret)


def written(text: str) -> list[str]:
    """The addresses of the setting `hub.url`: one, or several with commas, the first preferred."""
    return [address.strip() for address in text.split(",")]


def ranked(node_id: str, addresses: Iterable[str]) -> list[str]:
    """What the hub told, in an order of this node's own, so that a fleet spreads over its hubs."""

    def rank(address: str) -> bytes:
        return hashlib.blake2b(f"{node_id} {address}".encode(), digest_size=8).digest()

    return sorted(addresses, key=rank)
