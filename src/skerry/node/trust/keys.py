"""Makes a key and its certificate request: `python -m skerry.node.trust.keys file|tpm`, both as PEM on stdout.

A process of its own, for «cryptography» would cost the agent 9 MB. The request says nothing but the key: who the node
is, the hub writes into the certificate. It is good for every renewal, because the key stays.
"""

from __future__ import annotations

import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from skerry.kit.errors import Refused
from skerry.node.trust.tpm_key import make_key
from skerry.node.trust.tpm_private_key import TpmPrivateKey


def make() -> bytes:
    """A P-256 key (PKCS #8) and the request that it signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem + _request(key)


def make_in_tpm() -> bytes:
    """What is kept of a key in the TPM, and the request that the TPM signed. Raises Refused."""
    kept = make_key()
    return kept + _request(TpmPrivateKey(kept))


def _request(key: ec.EllipticCurvePrivateKey) -> bytes:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


if __name__ == "__main__":
    try:
        sys.stdout.buffer.write(make_in_tpm() if sys.argv[1] == "tpm" else make())
    except Refused as refused:
        sys.exit(str(refused))
