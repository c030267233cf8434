"""Registries that want a password: from the settings to the header that the engine is sent.

`password_of` is the one place where a password comes from; a store of secrets replaces what it does.
"""

from __future__ import annotations

import base64
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from skerry.kit.errors import Refused
from skerry.node.node_settings import Registry

DOCKER_HUB = "docker.io"
_HUB_ADDRESS = "https://index.docker.io/v1/"


def registry_of(image: str) -> str:
    """The host (with port) that an image's name stands for, as the engines read it."""
    first, slash, _ = image.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return first if is_host else DOCKER_HUB


def registry_auth(image: str, registries: Mapping[str, Registry]) -> str | None:
    """The value of X-Registry-Auth for pulling `image`; None: its registry has no credentials in the settings.

    Raises Refused when the password cannot be used.
    """
    host = registry_of(image)
    registry = registries.get(host)
    if registry is None:
        return None
    auth = {
        "username": registry.username,
        "password": password_of(host, registry),
        "serveraddress": _HUB_ADDRESS if host == DOCKER_HUB else host,
    }
    return base64.urlsafe_b64encode(msgspec.json.encode(auth)).decode()


def password_of(host: str, registry: Registry) -> str:
    """The password, read anew for each pull. Its file is nobody else's to read."""
    path = Path(registry.password_file)
    trouble = f"cannot use the password of registry {host}: {path}"
    try:
        mode = path.stat().st_mode
        password = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{trouble}: {getattr(error, 'strerror', None) or 'no text'}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise Refused(f"{trouble} may be read by others. Run: chmod 600 {path}")
    return password
