"""Which proxy a request takes: HTTP_PROXY, HTTPS_PROXY and NO_PROXY as `settings` found them in the environment. Pure.

aiohttp would read them itself, and with them passwords of ~/.netrc for servers that nobody meant.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from skerry.node.node_settings import Proxies


def takes_proxy(url: str, direct: Sequence[str]) -> bool:
    """Whether a request to `url` takes the proxy of its scheme; `direct` are the entries of NO_PROXY."""
    address = urlsplit(url)
    host, port = address.hostname or "", address.port
    return not _is_here(host) and not any(_names(one, host, port) for one in direct)


def proxies_in(environment: Mapping[str, str]) -> Proxies:
    """What the environment asks for; small letters go before capitals, as for other programs."""

    def found(name: str) -> str:
        return environment.get(name) or environment.get(name.upper()) or ""

    direct = tuple(one.strip().lower() for one in found("no_proxy").split(",") if one.strip())
    return Proxies(_with_scheme(found("http_proxy")), _with_scheme(found("https_proxy")), direct)


def _with_scheme(proxy: str) -> str:
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _names(entry: str, host: str, port: int | None) -> bool:
    """Whether an entry of NO_PROXY means this host: «*», a name with all below it, an address, a network, with or without a port."""
    if entry == "*":
        return True
    network = _network(entry)
    address = _address(host)
    if network is not None:
        return address is not None and address in network
    name, _, wanted = entry.partition(":")
    if wanted and wanted != str(port):
        return False
    name = name.removeprefix("*").removeprefix(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _is_here(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return None
