"""TLS by a key that the TPM has: loaded by nodes with `trust.key: tpm` only."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator

from skerry.kit.errors import Refused
from skerry.node.trust.der import point_of
from skerry.node.trust.files import certificates_of, key_in, request_in
from skerry.node.trust.outside_key import OutsideKey, stand_in
from skerry.node.trust.tpm_key import TpmKey

_PATIENCE = 10.0
"""Seconds for each step of the TPM, for the whole agent waits meanwhile."""

_PAUSE = 60.0
"""Seconds in which a TPM that has failed is not asked again: the link tries oftener than that."""


class TpmSigner:
    """Signs handshakes, and remembers why it could not."""

    def __init__(self, kept: bytes, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._key = TpmKey(kept, _PATIENCE)
        self._monotonic = monotonic
        self._outside = OutsideKey(self._sign)
        self._failure = ""
        self._refused: Refused | None = None
        self._refused_until = 0.0

    @contextlib.contextmanager
    def loading(self, own: bytes) -> Iterator[bytes]:
        """What OpenSSL is to load instead of `own` meanwhile. Raises InvalidInput, Refused."""
        with self._outside.loading():
            yield stand_in(point_of(request_in(own))) + certificates_of(own).encode()

    def why_not(self) -> str:
        """Why the last signature was not made, said once; empty: it was made, or none was asked for."""
        said, self._failure = self._failure, ""
        return said

    def _sign(self, digest: bytes) -> bytes:
        try:
            return self._signed(digest)
        except Refused as error:
            self._failure = str(error)
            raise

    def _signed(self, digest: bytes) -> bytes:
        if self._refused is not None and self._monotonic() < self._refused_until:
            raise self._refused
        self._refused = None
        try:
            return self._key.sign(digest)
        except Refused as error:
            self._refused, self._refused_until = error, self._monotonic() + _PAUSE
            raise


def signer_of(own: bytes) -> TpmSigner:
    """The one of this key: it is asked for with every certificate, and stays as long as the process."""
    return _signer(key_in(own))


@functools.cache
def _signer(kept: bytes) -> TpmSigner:
    return TpmSigner(kept)
