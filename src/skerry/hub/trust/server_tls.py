"""The TLS of the listener for nodes: 1.3 only, our own roots only, and a certificate of its own that is renewed in time.

Whoever shows a certificate must prove it; who shows none may enrol and nothing else. Dates are not checked here but at
every request (`api.node_door`), so that what is open ends with its certificate and an expired one may be renewed.
"""

from __future__ import annotations

import os
import ssl

from skerry.hub.trust.authority import Authority
from skerry.hub.trust.certificates import key_pem, make_key, nanoseconds
from skerry.kit.clock import Clock
from skerry.wire.trust import TrustBundle

NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which Python's ssl has no name for."""


class ServerTls:
    """`current` is the context for the next connection; those that are open keep theirs."""

    def __init__(self, authority: Authority, clock: Clock) -> None:
        self._authority = authority
        self._clock = clock
        self._due_at = 0
        self._known = self._roots()
        self.current = self._made()

    def look(self) -> bool:
        """Makes a new context when the certificate has two thirds of its life behind it, or the roots have changed."""
        if self._roots() == self._known and self._clock.wall_ns() < self._due_at:
            return False
        self.current = self._made()
        return True

    def _roots(self) -> tuple[TrustBundle, int]:
        """What is believed, and the number of the root that this hub issues under."""
        return self._authority.bundle, self._authority.number

    def _made(self) -> ssl.SSLContext:
        key = make_key()
        leaf, chain = self._authority.for_hub(key.public_key())
        known = self._roots()
        begun, ends = nanoseconds(leaf.not_valid_before_utc), nanoseconds(leaf.not_valid_after_utc)
        made = server_context(chain, key_pem(key).decode(), known[0].roots)
        self._known = known
        self._due_at = begun + 2 * (ends - begun) // 3
        return made


def server_context(chain: str, key: str, roots: list[str]) -> ssl.SSLContext:
    """For a certificate (PEM, leaf before intermediate) and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0  # nobody resumes, and they are 1.6 KB of every connection
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= NO_CHECK_TIME
    context.set_alpn_protocols(["http/1.1"])
    context.load_verify_locations(cadata="".join(roots))
    load_from_memory(context, (key + chain).encode())
    return context


def load_from_memory(context: ssl.SSLContext, pem: bytes) -> None:
    """A key and its certificates. Raises as `SSLContext.load_cert_chain`; a key with a password is none."""
    # `ssl` takes keys from files only; this one need not be on a disk.
    fd = os.memfd_create("skerry-hub-certificate", os.MFD_CLOEXEC)
    try:
        os.write(fd, pem)
        context.load_cert_chain(f"/proc/self/fd/{fd}", password="")
    finally:
        os.close(fd)
