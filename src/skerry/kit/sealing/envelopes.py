"""Envelopes that one key alone opens: HPKE (RFC 9180) with X25519, HKDF-SHA256 and ChaCha20-Poly1305.

Loads «cryptography», 9 MB: the agent of a node asks a child (`skerry.node.secrets`). An envelope is bound to what it is
for; for anything else it does not open.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from skerry.kit.errors import Corrupt

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def new_key() -> bytes:
    """A private key, 32 bytes."""
    return X25519PrivateKey.generate().private_bytes_raw()


def public_of(private: bytes) -> bytes:
    """Its public key, 32 bytes."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def seal(value: bytes, public: bytes, purpose: bytes) -> bytes:
    """An envelope for the holder of `public`. Raises ValueError when that is no key."""
    return _SUITE.encrypt(value, X25519PublicKey.from_public_bytes(public), info=purpose)


def unseal(sealed: bytes, private: bytes, purpose: bytes) -> bytes:
    """The inverse of `seal`. Raises Corrupt when it is for another key or purpose."""
    try:
        key = X25519PrivateKey.from_private_bytes(private)
        return _SUITE.decrypt(sealed, key, info=purpose)
    except (InvalidTag, ValueError) as error:
        raise Corrupt("it was not sealed for this node and this name and version") from error
