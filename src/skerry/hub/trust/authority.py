"""The fleet's certificate authority as this hub process has it: makes root and intermediate once, then signs. ADR 24.

`certificates` says what is signed, `files` keeps the keys, `roots` the public certificates in the database. The root's
key is needed to renew the intermediate and to change the root; everything else works without it.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from datetime import datetime
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from skerry.hub.store.hub_store import HubStore
from skerry.hub.trust import roots
from skerry.hub.trust.certificates import (
    Signer,
    instant,
    pem,
    sign_hub,
    sign_node,
)
from skerry.hub.trust.files import Kept, TrustFiles
from skerry.hub.trust.keeper import Keeper
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.errors import Refused, Transient
from skerry.wire.trust import TrustBundle

log = logging.getLogger(__name__)

_PATIENCE = 100
"""Tenths of a second for which another hub process may write."""


class Authority:
    """Signs with the intermediate, below the root of this `number`.

    `bundle` are the roots to believe, as of the last look; `changed` rings when there are others. `domain` begins all names.
    """

    def __init__(
        self, keeper: Keeper, kept: Kept, number: int, store: HubStore, clock: Clock
    ) -> None:
        self.domain = keeper.domain
        self.number = number
        self.bundle = TrustBundle(0, [])
        self.changed = Bell()
        self._keeper = keeper
        self._kept = kept
        self._store = store
        self._clock = clock

    async def look(self) -> None:
        """Renews the intermediate when it is due, and reads the fleet's roots; to be called now and then."""
        self._kept = await asyncio.to_thread(self._keeper.renewed, self._kept)
        self.bundle = roots.bundle(await self._store.read(roots.read))

    @property
    def can_issue(self) -> bool:
        """Whether there is an intermediate that has not ended."""
        signer = self._kept.intermediate
        return signer is not None and signer.certificate.not_valid_after_utc > self._now()

    @property
    def fingerprint(self) -> str:
        """Of the root that this hub's certificate hangs on, as enrolment tokens end with it."""
        der = self._kept.root.public_bytes(serialization.Encoding.DER)
        return base64.urlsafe_b64encode(sha256(der).digest()).decode().rstrip("=")

    def for_node(
        self, key: ec.EllipticCurvePublicKey, node_id: str
    ) -> tuple[x509.Certificate, str]:
        """A node's next certificate, and it with its intermediate (PEM). Raises Transient. From any thread."""
        signer = self._signer()
        leaf = sign_node(signer, key, self.domain, node_id, self._now())
        return leaf, pem(leaf, signer.certificate)

    def for_hub(self, key: ec.EllipticCurvePublicKey) -> tuple[x509.Certificate, str]:
        """The same for this hub's listener for nodes."""
        signer = self._signer()
        leaf = sign_hub(signer, key, self.domain, self._store.facts.hub_id, self._now())
        return leaf, pem(leaf, signer.certificate)

    def _signer(self) -> Signer:
        signer = self._kept.intermediate
        if signer is None or not self.can_issue:
            raise Transient(
                "cannot issue a certificate: the hub's intermediate has ended, and the root's key is not here to renew "
                "it. Bring it back: skerry hub ca import."
            )
        return signer

    def _now(self) -> datetime:
        return instant(self._clock.wall_ns())


async def open_authority(
    files: TrustFiles, store: HubStore, domain: str, clock: Clock
) -> Authority:
    """The fleet's authority; what is missing is made, once for the fleet. After HubStore.start().

    Raises Refused when this directory's root is none of the fleet's, or what is needed is not here, and Corrupt.
    """
    keeper = Keeper(files, domain, clock)
    known = await store.read(roots.read)
    kept = await asyncio.to_thread(keeper.opened, may_begin=not known)
    mine = pem(kept.root)
    root = await store.write(lambda connection: roots.join(connection, mine, clock.wall_ns()))
    authority = Authority(keeper, kept, root.number, store, clock)
    await authority.look()
    if not authority.can_issue:
        raise Refused(
            f"cannot issue certificates: {files.directory} has no intermediate that is good, and the root's key is not "
            "here to make one. Bring it back: skerry hub ca import."
        )
    return authority
