"""The root's key as a file that people keep elsewhere: PKCS #12 with the root's certificate, sealed with a passphrase."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

from skerry.hub.trust.certificates import Signer, key_hash
from skerry.kit.errors import Corrupt, Refused

_ROUNDS = 1_000_000
"""Of PBKDF2, for a passphrase that people think of."""

_SHORTEST = 12


def sealed(root: Signer, passphrase: bytes) -> bytes:
    """The file. Raises Refused for a passphrase that is too short."""
    if len(passphrase) < _SHORTEST:
        raise Refused(
            f"cannot export the root: the passphrase is shorter than {_SHORTEST} bytes. Take a longer one."
        )
    sealing = (
        serialization.PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(passphrase)
    )
    return pkcs12.serialize_key_and_certificates(b"root", root.key, root.certificate, None, sealing)


def opened(data: bytes, passphrase: bytes) -> Signer:
    """The root in such a file. Raises Refused when the passphrase is not its own, or it is no such file; Corrupt."""
    try:
        key, certificate, _ = pkcs12.load_key_and_certificates(data, passphrase)
    except ValueError as error:
        raise Refused(
            "cannot import the root: the passphrase is another one, or the file is no exported root"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(
        certificate, x509.Certificate
    ):
        raise Corrupt(
            "cannot import the root: the file has no key of type EC P-256 with its certificate"
        )
    if key_hash(key.public_key()) != key_hash(certificate.public_key()):
        raise Corrupt("cannot import the root: the file's key is not its certificate's")
    return Signer(key, certificate)
