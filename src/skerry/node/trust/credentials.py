"""What a running node shows the hub and believes of it. `agent` makes it, `renewal` and hello keep it fresh.

What is new is durable before it is used; connections that are open stay as they are.
"""

from __future__ import annotations

import logging

from skerry.kit.clock import Clock, iso
from skerry.kit.errors import InvalidInput, Refused
from skerry.node.node_settings import KeyKind
from skerry.node.trust.certificate import floor
from skerry.node.trust.der import Read, certificates_in, read_certificate
from skerry.node.trust.files import (
    TrustFiles,
    certificates_of,
    is_in_tpm,
    joined,
    key_in,
    request_in,
    roots_text,
)
from skerry.node.trust.tls import HubContext
from skerry.wire.trust import Renewed, TrustBundle

log = logging.getLogger(__name__)


class Credentials:
    """Raises Refused when the files cannot be used: the node must not run with something weaker.

    `leaf` is this node's certificate, None where it lies no more (a backup that was not sealed has no key): then the
    hub knows nobody here. `wanted` is the setting `trust.key`. Implements `node.proof.FleetTrust`.
    """

    def __init__(self, files: TrustFiles, clock: Clock, wanted: KeyKind = "file") -> None:
        self._files = files
        self._clock = clock
        self._heard = 0
        self._heard_at = 0
        self.bundle = files.bundle()
        self._own = files.own() or b""
        self.leaf = _leaf(certificates_of(self._own))
        if self._own and wanted == "tpm" and self.kind != wanted:
            raise Refused(
                "cannot use this node's key: trust.key is tpm, and the key is one in a file, from before. Enrol this node "
                "again with a new token: skerry node enroll --again. With trust.key: file it goes on as it was."
            )
        self.context = HubContext.of(roots_text(self.bundle), self._own, floor=self.floor)

    @property
    def number(self) -> int:
        """Of the bundle that is believed."""
        return self.bundle.number

    @property
    def digest(self) -> str:
        """Of its roots."""
        return self.bundle.digest

    @property
    def kind(self) -> KeyKind:
        """Where this node's key is."""
        return "tpm" if is_in_tpm(self._own) else "file"

    @property
    def request(self) -> str:
        """What the next certificate is asked for with. Raises Refused."""
        return request_in(self._own)

    def floor(self) -> int:
        """A time that has surely passed, in ns since 1970."""
        return floor(self.leaf, self._heard)

    def now(self) -> int:
        """The time as well as this node knows it: the hub's, once it was heard."""
        if self._heard:
            return self._heard + self._clock.monotonic_ns() - self._heard_at
        return max(self._clock.wall_ns(), self.floor())

    def heard(self, hub_time: int, bundle: TrustBundle | None) -> None:
        """A hub that has proved itself says what time it is, and which roots to believe from now on.

        Not what no hub can say: a time after the end of its own certificate would lock it out for good.
        """
        if hub_time < self.context.until:
            self._heard, self._heard_at = hub_time, self._clock.monotonic_ns()
        else:
            log.warning(
                "the hub says that it is %s, which is after its certificate's end", iso(hub_time)
            )
        if bundle is None:
            return
        try:
            self.believe(bundle)
        except (InvalidInput, OSError) as error:
            log.warning("cannot take the fleet's new roots: %s; the hub tells them again", error)

    def believe(self, bundle: TrustBundle) -> None:
        """Believes the bundle unless it is older than what is believed. Raises InvalidInput, OSError.

        One of the same number and other roots is a hub's that was put back from a backup, and has proved itself all the same.
        """
        if (bundle.number, bundle.digest) == (self.number, self.digest):
            return
        if bundle.number < self.number:
            return
        if not bundle.roots:
            raise InvalidInput(f"the hub's bundle number {bundle.number} has no roots")
        HubContext.of(roots_text(bundle), floor=self.floor)  # useless ones are not kept
        self._files.keep_bundle(bundle)
        self.context.reload(roots_text(bundle), self._own)
        self.bundle = bundle
        log.info("believing the fleet's roots number %d", bundle.number)

    async def sign(self, message: bytes) -> tuple[str, str]:
        """This node's public key and its signature, both in base64. Raises Refused."""
        from skerry.node.trust.signing import signature_by  # noqa: PLC0415 - once a minute at most

        return await signature_by(key_in(self._own), message)

    def take(self, renewed: Renewed) -> Read:
        """Shows the new certificate from now on, and returns what it says. Raises InvalidInput or Refused (of no use), OSError."""
        self.believe(renewed.trust)
        leaf = _leaf(renewed.certificate)
        if leaf is None:
            raise InvalidInput("cannot use the hub's answer to a renewal: it has no certificate")
        if leaf.not_before >= self.context.until > 0:
            raise InvalidInput(
                f"cannot use the certificate that the hub gave: it begins at {iso(leaf.not_before)}, after the end of the hub's "
                "own. Is the hub's clock right?"
            )
        own = joined(self._own, renewed.certificate)
        HubContext.of(roots_text(self.bundle), own, floor=self.floor)  # it fits the key
        self._files.keep_own(own)
        self.context.reload(roots_text(self.bundle), own)
        self._own, self.leaf = own, leaf
        return leaf


def _leaf(chain: str) -> Read | None:
    ders = certificates_in(chain)
    try:
        return read_certificate(ders[0]) if ders else None
    except InvalidInput as error:
        raise Refused(f"{error}. Enrol this node again with a new token.") from error
