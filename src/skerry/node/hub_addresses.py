"""Where the hub is, when it is in several places: which address is used now, and in which order the others follow.

`uplink` asks the others when one does not answer; whoever else talks to the hub takes the address that did. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

import msgspec

from skerry.kit.errors import InvalidInput
from skerry.node.identity import Enrolled, Identity


class HubAddresses:
    """At least one address; the first is used first. The one that answered last is used until it does not answer."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._all = _once(addresses)
        self.current = self._all[0]

    def in_turn(self) -> Sequence[str]:
        """Every address once: the current one, then those that follow it, round to those before it."""
        start = self._all.index(self.current)
        return (*self._all[start:], *self._all[:start])

    def answered(self, address: str) -> None:
        """The hub was there."""
        self.current = address

    def told(self, addresses: Sequence[str]) -> None:
        """What a hub says of its fleet's addresses. These here are a person's: they stay."""


class ToldAddresses(HubAddresses):
    """What the hub told, in this node's own order, and behind it the `door` where the node was enrolled.

    `keep` is called with what a hub tells when it is something new. Told addresses that do not begin with `scheme` are not
    used.
    """

    def __init__(
        self,
        node_id: str,
        told: Sequence[str],
        door: str,
        keep: Callable[[list[str]], None],
        scheme: str = "",
    ) -> None:
        self._scheme = scheme
        told = self._usable(told)
        super().__init__([*ranked(node_id, told), door])
        self._node_id = node_id
        self._told = set(told)
        self._door = door
        self._keep = keep

    def _usable(self, addresses: Sequence[str]) -> list[str]:
        return [address for address in addresses if address.startswith(self._scheme)]

    def told(self, addresses: Sequence[str]) -> None:
        addresses = self._usable(addresses)
        if not addresses or set(addresses) == self._told:
            return
        current = self.current
        self._told = set(addresses)
        self._all = _once([*ranked(self._node_id, addresses), self._door])
        if current not in self._all:
            self._all = (current, *self._all)  # it answers, whatever it is called elsewhere
        self._keep(sorted(self._told))


class HubAccount(msgspec.Struct, frozen=True):
    """Whom this node talks to, and as whom; without a secret its certificate says so."""

    node_id: str
    addresses: HubAddresses
    secret: str

    @property
    def authorization(self) -> str:
        """The header of this name; empty: none is sent."""
        return f"Bearer {self.node_id}.{self.secret}" if self.secret else ""

    def __repr__(self) -> str:
        return f"HubAccount({self.node_id})"


def account_of(
    url: str | None, enrolled: Enrolled | None, keep: Callable[[Identity], None]
) -> HubAccount | None:
    """The account of an enrolled node; `url` is the setting `hub.url`, which goes before what the hub told.

    `keep` is called with the node's identity when the hub tells other addresses. Who proves itself by certificate has
    no secret to show. Raises InvalidInput when such a node is sent to an address where it would go unproven.
    """
    if enrolled is None:
        return None
    identity = enrolled.identity
    scheme = "https://" if identity.certificate else ""
    if identity.certificate and url is not None:
        _refuse_plain(written(url))

    def told(addresses: list[str]) -> None:
        keep(msgspec.structs.replace(identity, hub_urls=addresses))

    addresses = (
        ToldAddresses(identity.node_id, identity.hub_urls, identity.hub_url, told, scheme)
        if url is None
        else HubAddresses(written(url))
    )
    return HubAccount(identity.node_id, addresses, "" if identity.certificate else enrolled.secret)


def written(text: str) -> list[str]:
    """The addresses of the setting `hub.url`: one, or several with commas, the first preferred."""
    return [address.strip() for address in text.split(",")]


def _refuse_plain(addresses: Sequence[str]) -> None:
    plain = [address for address in addresses if not address.startswith("https://")]
    if plain:
        raise InvalidInput(
            f"cannot use hub.url {plain[0]}: this node proves itself by its certificate, and that takes https. "
            "Write the hub's address for nodes, for example https://HOST:8601."
        )


def _once(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(address.rstrip("/") for address in addresses))


def ranked(node_id: str, addresses: Iterable[str]) -> list[str]:
    """What the hub told, in an order of this node's own, so that a fleet spreads over its hubs."""

    def rank(address: str) -> bytes:
        return hashlib.blake2b(f"{node_id} {address}".encode(), digest_size=8).digest()

    return sorted(addresses, key=rank)
