"""Registries that want a password: from a secret or the settings to the header that the engine is sent."""

from __future__ import annotations

import base64
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from skerry.kit.errors import Refused
from skerry.node.node_settings import Registry
from skerry.wire.workload import Assignment

DOCKER_HUB = "docker.io"
_HUB_ADDRESS = "https://index.docker.io/v1/"


def registry_of(image: str) -> str:
    """The host (with port) that an image's name stands for, as the engines read it."""
    first, slash, _ = image.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return first if is_host else DOCKER_HUB


SecretOf = Callable[[Assignment, str], Awaitable[bytes]]
"""The value of a secret of an assignment. Raises Transient while it is not there."""


async def registry_auth(
    registries: Mapping[str, Registry],
    secret_of: SecretOf,
    image: str,
    users: Sequence[Assignment],
) -> str | None:
    """The value of X-Registry-Auth for pulling `image`: of the first user that names a secret, else of the settings.

    None: there are no credentials. Raises Refused when they cannot be used, Transient while the secret is not there.
    """
    host = registry_of(image)
    for user in users:
        if user.spec.container is not None and (name := user.spec.container.pull_secret):
            return _header(host, *_parts(name, await secret_of(user, name)))
    registry = registries.get(host)
    if registry is None:
        return None
    return _header(host, registry.username, password_of(host, registry))


def _parts(name: str, value: bytes) -> tuple[str, str]:
    try:
        user, colon, password = value.decode().strip().partition(":")
    except UnicodeDecodeError:
        user = colon = password = ""
    if not (user and colon and password):
        raise Refused(f"cannot use secret «{name}» for a registry: it is not «USER:PASSWORD»")
    return user, password


def _header(host: str, username: str, password: str) -> str:
    auth = {
        "username": username,
        "password": password,
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
