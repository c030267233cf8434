"""What the node's features say to each other about certificates: `trust` has them, `sync` and `health` need to know."""

from __future__ import annotations

from typing import Protocol

import msgspec

from skerry.node.node_settings import KeyKind
from skerry.wire.trust import TrustBundle


class FleetTrust(Protocol):
    """What this node believes of its fleet's hubs (`trust.credentials`)."""

    @property
    def number(self) -> int:
        """Of the bundle of roots."""
        ...

    @property
    def digest(self) -> str:
        """Of those roots."""
        ...

    def heard(self, hub_time: int, bundle: TrustBundle | None) -> None:
        """What a hub said that has proved itself: its time (ns since 1970), and another bundle if it has one."""
        ...


class CertificateStatus(msgspec.Struct, frozen=True):
    """What a node proves itself by: from when to when (ns since 1970; 0: it has none), and by which bundle of roots.

    `key` is where its key is; `now` is the time as the node knows it best; `is_over`: it cannot be renewed any more; `problem` is why the last
    renewal failed, empty: it did not.
    """

    begins: int
    ends: int
    now: int
    roots: int
    is_over: bool = False
    problem: str = ""
    key: KeyKind = "file"
