"""TLS to the hub: our own roots only, by version 1.3 only, and never by this device's clock.

OpenSSL judges signatures, constraints and usages; the dates of the whole verified chain are held against a time that
has surely passed (`certificate.floor`), so a device that boots in 1970 connects, and one whose clock was turned back
does not take a key that leaked long ago. Names are not compared: whoever has a hub's certificate under our root is
a hub, wherever it is.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

from skerry.kit.errors import InvalidInput, Refused
from skerry.node.trust.certificate import first_end, why_not
from skerry.node.trust.files import is_in_tpm

if TYPE_CHECKING:
    from skerry.node.trust.tpm_handshake import TpmSigner

NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which Python's ssl does not name."""

_ENCODING_DER = 2
"""Of the private `_ssl.Certificate.public_bytes`, up to Python 3.12."""


class _Connection(ssl.SSLObject):
    """One connection, whose handshake ends with a look at the dates."""

    def do_handshake(self) -> None:
        context = cast("_Verifying", self.context)
        try:
            super().do_handshake()
        except ssl.SSLError as error:
            cause = context.signer.why_not() if context.signer is not None else ""
            if cause:
                raise ssl.SSLError(1, cause) from error
            raise
        chain = verified_chain(self)
        cause = why_not(chain, context.floor())
        if cause:
            raise ssl.SSLCertVerificationError(1, cause)
        context.met(first_end(chain))


class _Verifying(ssl.SSLContext):
    floor: Callable[[], int]
    met: Callable[[int], None]
    signer: TpmSigner | None = None


class HubContext(ssl.SSLContext):
    """A client's context whose trust is replaced while it is used: connections that are open stay as they are.

    `floor` is a time that has surely passed, in ns since 1970. Without roots nobody is believed.
    """

    until: int = 0
    """When the chain ends that was believed last; 0: none was yet. No hub's time can be later than this."""

    _now: _Verifying
    _floor: Callable[[], int]

    @classmethod
    def of(cls, roots: str, own: bytes = b"", *, floor: Callable[[], int]) -> HubContext:
        """As `reload`."""
        made = cls(ssl.PROTOCOL_TLS_CLIENT)
        made._floor = floor
        made.reload(roots, own)
        return made

    def reload(self, roots: str, own: bytes = b"") -> None:
        """From the next connection on: `roots` (PEM) are believed, and `own` shown: key and chain (PEM), or nothing.

        Raises InvalidInput when the roots cannot be used, Refused when key and certificate do not fit together; then
        nothing has changed.
        """
        context = _Verifying(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_flags |= NO_CHECK_TIME
        context.set_alpn_protocols(["http/1.1"])
        context.sslobject_class = _Connection
        context.floor, context.met = self._floor, self._met
        try:
            if roots:
                context.load_verify_locations(cadata=roots)
        except (ssl.SSLError, ValueError) as error:
            raise InvalidInput(f"cannot use the fleet's roots: {error}") from error
        if own:
            _load(context, own)
        self._now = context

    def _met(self, until: int) -> None:
        self.until = until

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the signature of ssl
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begins a connection: asyncio calls this."""
        return self._now.wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def unverified() -> ssl.SSLContext:
    """For asking a hub which roots it has, which the token's fingerprint then judges; for nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def verified_chain(connection: ssl.SSLObject) -> list[bytes]:
    """The peer's chain as OpenSSL has verified it, the leaf first, in DER form."""
    public = getattr(connection, "get_verified_chain", None)  # since Python 3.13
    if public is not None:
        return list(public())
    private = cast("_Private", cast("Any", connection)._sslobj)  # noqa: SLF001 - nothing public says it
    return [one.public_bytes(_ENCODING_DER) for one in private.get_verified_chain() or ()]


class _Certificate(Protocol):
    def public_bytes(self, form: int) -> bytes: ...


class _Private(Protocol):
    def get_verified_chain(self) -> list[_Certificate] | None: ...


def _load(context: _Verifying, own: bytes) -> None:
    """Through memory, for on the disk the key may be sealed."""
    if not is_in_tpm(own):
        _load_file(context, own)
        return
    from skerry.node.trust.tpm_handshake import signer_of  # noqa: PLC0415 - few nodes have their key in a TPM

    context.signer = signer_of(own)
    with context.signer.loading(own) as shown:
        _load_file(context, shown)


def _load_file(context: ssl.SSLContext, own: bytes) -> None:
    descriptor = os.memfd_create("node.pem", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(own)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except ssl.SSLError as error:
        raise Refused(
            f"cannot use this node's key and certificate: {error.reason}. Enrol it again with a new token."
        ) from error
    finally:
        os.close(descriptor)
