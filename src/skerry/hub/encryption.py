"""Encryption at rest as a part of the composition root: what the settings say becomes what the store is asked for."""

from __future__ import annotations

import logging

from skerry.hub.settings import HubSettings
from skerry.hub.store.keys import Wish
from skerry.kit.sealing.key_ring import Protection
from skerry.kit.sealing.keys import ALGORITHMS, Rule
from skerry.kit.sealing.sources import Surroundings, parse
from skerry.wire.local import KeyStatus

log = logging.getLogger(__name__)


def wish(settings: HubSettings) -> Wish | None:
    """None where encryption is off."""
    wanted = settings.encryption.storage
    if not wanted.enabled:
        return None
    algorithm = next(name for name in ALGORITHMS if name == wanted.algorithm)
    protection = Protection(parse(wanted.key), Rule(wanted.key_rotation, algorithm))
    return Wish(protection, Surroundings(settings.data_dir.absolute(), settings.credentials))


def tell(status: KeyStatus) -> None:
    """Says in the log what protects the store, and what it is worth."""
    if status.beside:
        log.warning(
            "encryption at rest: %s; who copies the disk has both. Set encryption.storage.key",
            status,
        )
    else:
        log.info("encryption at rest: %s", status)
