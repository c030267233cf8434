"""Whether a request's Host header means this machine.

A browser sends the name that its page came from. A page of a stranger's name that resolves to 127.0.0.1 (DNS
rebinding) would otherwise read whatever a loopback port answers without a credential.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_HOST = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[^:\[\]\s]+))(?::\d{1,5})?")

LOOPBACK = "127.0.0.1"
"""Where this device, and a program in its own network, reaches it."""


def own_hosts(*names: str) -> frozenset[str]:
    """The loopback names, and `names` of this machine."""
    return frozenset({"localhost", LOOPBACK, "::1"} | {_plain(name) for name in names if name})


def is_own_host(header: str | None, own: Iterable[str]) -> bool:
    """Whether the header means one of `own`. No header (HTTP/1.0, which no browser speaks) is fine."""
    if header is None:
        return True
    match = _HOST.fullmatch(header.strip())
    return match is not None and _plain(match["six"] or match["name"]) in own


def _plain(name: str) -> str:
    return name.strip().rstrip(".").lower()
