"""A key in the TPM as «cryptography» knows private keys, to sign requests and messages: for short-lived children."""

from __future__ import annotations

import hashlib
from typing import NoReturn, Self

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from skerry.node.trust.tpm_key import TpmKey


class TpmPrivateKey(ec.EllipticCurvePrivateKey):
    """What is left out is what the TPM does not do. Methods raise Refused."""

    curve = ec.SECP256R1()
    key_size = 256

    def __init__(self, kept: bytes) -> None:
        self._key = TpmKey(kept)

    def public_key(self) -> ec.EllipticCurvePublicKey:
        public = load_pem_public_key(self._key.public_pem())
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise TypeError("the key in the TPM is no elliptic one")
        return public

    def sign(
        self,
        data: bytes | bytearray | memoryview,
        signature_algorithm: ec.EllipticCurveSignatureAlgorithm,  # noqa: ARG002 - the TPM's key is for this one
    ) -> bytes:
        """By ECDSA with SHA-256."""
        return self._key.sign(hashlib.sha256(data).digest())

    def exchange(self, *_: object) -> NoReturn:
        raise NotImplementedError

    def private_numbers(self) -> NoReturn:
        raise NotImplementedError

    def private_bytes(self, *_: object) -> NoReturn:
        raise NotImplementedError

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self
