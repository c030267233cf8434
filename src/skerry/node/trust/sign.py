"""Signs one message: `python -m skerry.node.trust.sign`; stdin has the key (PEM) and behind a zero byte the message.

A process of its own, for «cryptography» would cost the agent 9 MB. The answer is two lines of base64: the key's
SubjectPublicKeyInfo, and the signature (ECDSA with SHA-256).
"""

from __future__ import annotations

import base64
import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from skerry.kit.errors import Refused
from skerry.node.trust.files import is_in_tpm
from skerry.node.trust.tpm_private_key import TpmPrivateKey


def sign(data: bytes) -> bytes:
    """The answer. Raises ValueError for what is no key, TypeError for one that is not elliptic, Refused if the TPM does not sign."""
    pem, _, message = data.partition(b"\0")
    key = TpmPrivateKey(pem) if is_in_tpm(pem) else load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the node's key is no elliptic one")
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signature = key.sign(message, ec.ECDSA(hashes.SHA256()))
    return base64.b64encode(public) + b"\n" + base64.b64encode(signature) + b"\n"


if __name__ == "__main__":
    try:
        sys.stdout.buffer.write(sign(sys.stdin.buffer.read()))
    except Refused as refused:
        sys.exit(str(refused))
