"""Whom the node's credentials are shown to: the hub, by its parsed origin, and nobody else. Pure.

Parsed by the same library that opens the connection, so that both agree what an address means.
"""

from __future__ import annotations

import msgspec
from yarl import URL

from skerry.kit.errors import Refused
from skerry.node.hub_addresses import HubAddresses


class HubAccess(msgspec.Struct, frozen=True):
    """The hub's addresses and what a node shows there; nothing where its certificate speaks for it."""

    hub: HubAddresses
    authorization: str

    def blob_url(self, sha256: str) -> str:
        """Where the hub serves a blob now."""
        return f"{self.hub.current}/sync/v1/blobs/{sha256}"


def headers_for(url: URL, hub: HubAccess | None) -> dict[str, str]:
    """The credentials that a request to `url` carries: those for the hub where it is the hub's origin, else none."""
    if hub is not None and hub.authorization and is_hub(url, hub):
        return {"Authorization": hub.authorization}
    return {}


def is_hub(url: URL, hub: HubAccess | None) -> bool:
    """Whether `url` is of the hub's origin."""
    return hub is not None and _origin(url) in {_origin(URL(one)) for one in hub.hub.in_turn()}


def parsed(address: str) -> URL:
    """An http or https address without a user. Raises Refused."""
    return _checked(_parse(address), address)


def redirected(url: URL, location: str) -> URL:
    """Where a redirect from `url` leads. Raises Refused."""
    return _checked(url.join(_parse(location)), location)


def _origin(url: URL) -> tuple[str, str | None, int | None]:
    """A port that is written and one that the scheme means are the same."""
    return url.scheme, url.host, url.port


def _parse(address: str) -> URL:
    try:
        return URL(address)
    except ValueError as error:
        raise Refused(f"cannot fetch from «{address:.200}»: it is no address") from error


def _checked(url: URL, address: str) -> URL:
    if url.scheme not in {"http", "https"} or not url.host or url.user is not None:
        raise Refused(
            f"cannot fetch from «{address:.200}»: it is no http or https address without a user"
        )
    return url
