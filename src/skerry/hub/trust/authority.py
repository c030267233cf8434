"""The fleet's certificate authority as this hub process has it: makes root and intermediate once, then signs. ADR 24.

`certificates` says what is signed, `files` keeps the keys, `roots` the public certificates in the database. The root's
key is needed to renew the intermediate and to change the root; everything else works without it.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from skerry.hub.store.hub_store import HubStore
from skerry.hub.trust import roots
from skerry.hub.trust.certificates import (
    Signer,
    fingerprint,
    instant,
    nanoseconds,
    pem,
    sign_hub,
    sign_node,
)
from skerry.hub.trust.files import Kept, TrustFiles
from skerry.hub.trust.keeper import Keeper
from skerry.hub.trust.roots import Root
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.errors import Refused, Transient
from skerry.wire.trust import RootView, TrustBundle, TrustView

log = logging.getLogger(__name__)

_SHOWN = 10
"""Names of nodes in a sentence."""


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
        """Renews the intermediate when it is due, takes what the files and the fleet's roots are now, and retires roots.

        To be called now and then.
        """
        now = self._clock.wall_ns()
        kept = await asyncio.to_thread(self._keeper.renewed, self._kept)
        current, mine = self.number, pem(kept.root)
        if await self._store.read(lambda connection: roots.unused(connection, current, now)):
            gone = await self._store.write(
                lambda connection: roots.retire(connection, current, now)
            )
            log.info("retired roots that nobody hangs on any more: %s", gone)
        known = await self._store.read(roots.read)
        self._kept = kept
        self.number = next((root.number for root in known if root.pem == mine), self.number)
        self.bundle = roots.bundle(known)

    async def rotate(self) -> None:
        """From now on the fleet believes one more root; nothing is issued under it yet. Raises Refused, Transient."""
        made = await asyncio.to_thread(self._keeper.next_root, make=True)
        if made is None:
            return
        text, now = pem(made.certificate), self._clock.wall_ns()
        await self._store.write(
            lambda connection: roots.begin_change(connection, text, self.number, now)
        )
        await self.look()
        self.changed.ring()

    async def finish(self, *, force: bool) -> None:
        """The next root takes the present one's place: what is issued from now on hangs on it.

        Raises Refused while nodes would be left behind, unless `force`, or when there is no next root, or not here.
        """
        now, number = self._clock.wall_ns(), self.bundle.number
        known = await self._store.read(roots.read)
        coming = next((root for root in known if root.number > self.number), None)
        if coming is None:
            raise Refused(
                "cannot end the change of the root of trust: none is under way. Begin one: skerry hub ca rotate"
            )
        found = await asyncio.to_thread(self._keeper.next_root, make=False)
        if found is None or pem(found.certificate) != coming.pem:
            raise Refused(
                "cannot end the change of the root of trust: the new root's key is in the data directory of another hub. "
                "Do it there, and then copy its directory «trust» to this one."
            )
        late = await self._store.read(lambda connection: roots.behind(connection, number, now))
        if late and not force:
            raise Refused(left_behind(late))
        self._kept = await asyncio.to_thread(self._keeper.promoted, self._kept)
        await self.look()
        self.changed.ring()

    async def view(self) -> TrustView:
        """For people."""
        now, number = self._clock.wall_ns(), self.bundle.number
        known, held, late = await self._store.read(
            lambda connection: (
                roots.read(connection),
                roots.hanging(connection, now),
                roots.behind(connection, number, now),
            )
        )
        signer = self._kept.intermediate
        ends = nanoseconds(signer.certificate.not_valid_after_utc) if signer else 0
        views = [root_view(root, self.number, held.get(root.number, 0)) for root in known]
        return TrustView(number, views, self._kept.root_key is not None, ends, late)

    @property
    def can_issue(self) -> bool:
        """Whether there is an intermediate that has not ended."""
        signer = self._kept.intermediate
        return signer is not None and signer.certificate.not_valid_after_utc > self._now()

    @property
    def fingerprint(self) -> str:
        """Of the root that this hub's certificate hangs on, as enrolment tokens end with it."""
        return fingerprint(self._kept.root)

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


def root_view(root: Root, issuing: int, nodes: int) -> RootView:
    """A root for people, as a hub sees it that issues under that number."""
    certificate = x509.load_pem_x509_certificate(root.pem.encode())
    state: Literal["issuing", "next", "former", "retired"] = "issuing"
    if root.retired_at is not None:
        state = "retired"
    elif root.number != issuing:
        state = "next" if root.number > issuing else "former"
    ends = nanoseconds(certificate.not_valid_after_utc)
    return RootView(root.number, fingerprint(certificate), state, root.added_at, ends, nodes)


def left_behind(names: list[str]) -> str:
    """Why the change of the root must wait."""
    shown = ", ".join(names[:_SHOWN]) + (
        f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    )
    return (
        f"cannot end the change of the root of trust: {len(names)} nodes that were seen in the last 90 days have not "
        f"heard of the new one: {shown}. They would have to enrol again. Wait until they have been online, or leave "
        "them behind: --force"
    )


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
