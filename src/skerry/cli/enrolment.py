"""Enrolling the node in a data directory, for `skerry node enroll` and `skerry up`; the node must not run yet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import skerry
from skerry.core.setting_values import without_password
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, Refused
from skerry.kit.file_lock import Held, locked
from skerry.kit.sealing.cipher import Cipher, NullCipher
from skerry.node.audit.left_outside import entered
from skerry.node.enrolment import Site, enrol_node
from skerry.node.identity import Identity
from skerry.node.keys import open_keys
from skerry.node.node_settings import NodeSettings
from skerry.node.store.opening import LOCK_FILE
from skerry.node.sync.enrol import check_unknown
from skerry.wire.sync import Enrol


async def enrol_here(
    settings: NodeSettings, hub_url: str, token: str, *, again: bool = False
) -> Identity:
    """Makes the data directory the home of a node of the hub at `hub_url`. Raises Refused, InvalidInput or Transient.

    `again`: of the node that it was before the hub deleted it, withdrew its key or gave certificates.
    """
    if len(token.split()) != 1:
        raise InvalidInput(
            "cannot enrol: what was given holds no token, which is one word. Make one: skerry token create"
        )
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"cannot make directory {settings.data_dir}: {error.strerror}") from error
    request = Enrol(token.strip(), settings.name, settings.labels, skerry.__version__, "")
    disk = RealDisk()
    detail = f"at {without_password(hub_url)}{', again' if again else ''}"
    with entered(settings.data_dir, disk, SystemClock(), "enrol_node", detail) as say:
        check_unknown(settings.data_dir, again=again)
        with _stopped(settings.data_dir):
            cipher = _cipher(settings)
            site = Site(
                settings.data_dir, disk, cipher, settings.proxies, settings.hub.ca_file, settings.trust.key
            )  # fmt: skip
            identity = await enrol_node(hub_url, request, site, again=again)
        say(f"{detail}, as «{identity.name}» ({identity.node_id})")
    return identity


@contextlib.contextmanager
def _stopped(data_dir: Path) -> Iterator[None]:
    """The directory is nobody else's meanwhile: an agent that runs would put back what it was. Raises Refused."""
    try:
        with locked(data_dir / LOCK_FILE):
            yield
    except Held as error:
        raise Refused(
            f"cannot enrol: the node in {data_dir} runs (process {error.holder}), and would go on as what it was. "
            "Stop it first: skerry node stop"
        ) from error


def _cipher(settings: NodeSettings) -> Cipher:
    """What seals the node's own key from the beginning. Raises Refused when encryption is on and its keys cannot be had."""
    if not settings.encryption.storage.enabled:
        return NullCipher()
    return open_keys(settings, RealDisk(), SystemClock()).cipher("store")
