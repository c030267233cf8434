"""Asks for this node's next certificate in time, and at once when the hub refuses the one it has.

Renewal is the one thing that a hub does for a certificate that has ended, for 90 days: a node that was away for long, or
whose clock is wrong, comes back by itself. It is asked again until it is given: the key stays, so no answer can be lost.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock, iso
from skerry.kit.errors import SkerryError, Transient
from skerry.kit.tasks import Guard, Tasks
from skerry.node.proof import CertificateStatus
from skerry.node.trust.certificate import is_over, renews_at
from skerry.node.trust.credentials import Credentials
from skerry.wire.trust import Renew, Renewed

log = logging.getLogger(__name__)

LOOK_EVERY = 60.0
"""Seconds between two looks at the time, which may jump."""


class Renewal:
    """`ask` puts the question to the hub; `refused` rings when the hub did not want this node."""

    def __init__(
        self,
        credentials: Credentials,
        ask: Callable[[Renew], Awaitable[Renewed]],
        refused: Bell,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._credentials = credentials
        self._ask = ask
        self._refused = refused
        self._clock = clock
        self._chance = chance
        self._share = chance.random()
        self._refusals = refused.count
        self.problem = ""
        """Why the last renewal failed; empty: it did not."""

    def follow(self, tasks: Tasks) -> None:
        """Renews for as long as the tasks run."""
        if self._credentials.leaf is not None:
            tasks.forever(self._run(), name="renewal of the certificate")

    def status(self) -> CertificateStatus:
        """For people."""
        leaf, now = self._credentials.leaf, self._credentials.now()
        roots = self._credentials.number
        if leaf is None:
            return CertificateStatus(0, 0, now, roots)
        over = is_over(leaf, now)
        return CertificateStatus(
            leaf.not_before, leaf.not_after, now, roots, over, self.problem, self._credentials.kind
        )

    async def once(self) -> None:
        """Renews if it is time. Raises as the hub's answer, Transient when the disk is full."""
        refusals = self._refused.count
        leaf = self._credentials.leaf
        if leaf is None:
            return
        due = self._credentials.now() >= renews_at(leaf, self._share)
        if not due and refusals == self._refusals:
            return
        try:
            renewed = await self._ask(Renew(self._credentials.request))
            leaf = self._credentials.take(renewed)
        except OSError as error:
            self.problem = f"cannot keep the new certificate: {error.strerror}"
            raise Transient(self.problem) from error
        except SkerryError as error:
            self.problem = str(error)
            raise
        self.problem, self._refusals = "", refusals
        self._share = self._chance.random()
        log.info("the certificate is renewed until %s", iso(leaf.not_after))

    async def _run(self) -> None:
        guard = Guard("renewing the certificate", self._clock, self._chance)
        while True:
            seen = self._refused.count
            if await guard.run(self.once):
                await self._refused.within(seen, LOOK_EVERY, self._clock)
