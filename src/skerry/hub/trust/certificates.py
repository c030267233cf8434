"""What the fleet's certificates are: root, intermediate, node, hub (X.509 v3, EC P-256). Pure: keys and times come in. ADR 24.

    root (10 years, may be offline) ── intermediate (1 year, online) ─┬─ node (72 hours, client only)
                                                                      └─ hub (30 days, server only)

A certificate never outlives the one that signed it, so its own dates are the whole chain's.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes as PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from skerry.kit.clock import NS
from skerry.kit.errors import InvalidInput

ROOT_LIFE = timedelta(days=3650)
INTERMEDIATE_LIFE = timedelta(days=365)
NODE_LIFE = timedelta(hours=72)
HUB_LIFE = timedelta(days=30)
EARLIER = timedelta(minutes=5)
"""Every certificate begins so long before it is made: clocks differ."""

MAX_REQUEST = 4096
"""Characters of a request for a certificate; real ones have some five hundred."""

_PARTY = re.compile(r"spiffe://([a-z0-9._-]+)/(node|hub)/([0-9a-f-]{1,64})")


@dataclass(frozen=True)
class Signer:
    """A certificate with its key."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


@dataclass(frozen=True)
class Peer:
    """Who a certificate names, for which key, and when (ns since 1970)."""

    party: str  # node | hub
    id: str
    domain: str
    key_hash: str
    not_before: int
    not_after: int


def trust_domain(fleet: str) -> str:
    """The fleet's name as the names of its parties begin."""
    return re.sub(r"[^a-z0-9._-]", "-", fleet.lower())


def party_uri(domain: str, party: str, id_: str) -> str:
    """What a certificate calls a node or a hub."""
    return f"spiffe://{domain}/{party}/{id_}"


def make_key() -> ec.EllipticCurvePrivateKey:
    """A new key."""
    return ec.generate_private_key(ec.SECP256R1())


def make_root(domain: str, now: datetime) -> Signer:
    """A new root."""
    key = make_key()
    name = _name(f"root {key_hash(key.public_key())[:12]} of {domain}")
    built = _builder(name, name, key.public_key(), now, now + ROOT_LIFE)
    built = _of_authority(built, key.public_key(), key.public_key(), path_length=1)
    return Signer(key, built.sign(key, hashes.SHA256()))


def make_intermediate(root: Signer, domain: str, now: datetime) -> Signer:
    """A new intermediate below `root`."""
    key = make_key()
    subject = _name(f"intermediate {key_hash(key.public_key())[:12]} of {domain}")
    end = min(now + INTERMEDIATE_LIFE, root.certificate.not_valid_after_utc)
    built = _builder(subject, root.certificate.subject, key.public_key(), now, end)
    built = _of_authority(built, key.public_key(), root.key.public_key(), path_length=0)
    return Signer(key, built.sign(root.key, hashes.SHA256()))


def sign_node(
    signer: Signer, key: ec.EllipticCurvePublicKey, domain: str, node_id: str, now: datetime
) -> x509.Certificate:
    """A node's certificate: it can be nothing but a client."""
    uri = party_uri(domain, "node", node_id)
    return _leaf(signer, key, uri, now + NODE_LIFE, ExtendedKeyUsageOID.CLIENT_AUTH, now)


def sign_hub(
    signer: Signer, key: ec.EllipticCurvePublicKey, domain: str, hub_id: str, now: datetime
) -> x509.Certificate:
    """The certificate of a hub's listener for nodes: it can be nothing but a server."""
    uri = party_uri(domain, "hub", hub_id)
    return _leaf(signer, key, uri, now + HUB_LIFE, ExtendedKeyUsageOID.SERVER_AUTH, now)


def requested_key(pem: str) -> ec.EllipticCurvePublicKey:
    """The key of a certificate request, whose owner has it; whatever else it asks for is ignored. Raises InvalidInput."""
    if len(pem) > MAX_REQUEST:
        raise InvalidInput(
            f"cannot sign the certificate request: it has more than {MAX_REQUEST} characters"
        )
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key = request.public_key()
        valid = request.is_signature_valid
    except (
        ValueError,
        InvalidSignature,
        TypeError,
        UnsupportedAlgorithm,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise InvalidInput(
            "cannot sign the certificate request: it is none (PKCS #10, PEM)"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInput("cannot sign the certificate request: its key is not of type EC P-256")
    if not valid:
        raise InvalidInput("cannot sign the certificate request: its signature is not of its key")
    return key


def read_peer(der: bytes) -> Peer | None:
    """Whom a certificate names, that one of our own authorities has signed; None for one that names no party."""
    certificate = x509.load_der_x509_certificate(der)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    found = _PARTY.fullmatch(uris[0]) if len(uris) == 1 else None
    if found is None:
        return None
    return Peer(
        found[2],
        found[3],
        found[1],
        key_hash(certificate.public_key()),
        nanoseconds(certificate.not_valid_before_utc),
        nanoseconds(certificate.not_valid_after_utc),
    )


def is_signed_by(certificate: x509.Certificate, signer: x509.Certificate) -> bool:
    """Whether this one signed that one."""
    try:
        certificate.verify_directly_issued_by(signer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def key_hash(key: PublicKey) -> str:
    """SHA-256 of the key as certificates have it (SubjectPublicKeyInfo)."""
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return sha256(der).hexdigest()


def fingerprint(certificate: x509.Certificate) -> str:
    """As enrolment tokens end with that of a root: SHA-256 of the whole certificate, in base64 for URLs."""
    digest = sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def pem(*certificates: x509.Certificate) -> str:
    """The certificates as text, one after the other."""
    return "".join(each.public_bytes(serialization.Encoding.PEM).decode() for each in certificates)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as PKCS #8, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def instant(wall_ns: int) -> datetime:
    """The time of a clock, to the second, as certificates have it."""
    return datetime.fromtimestamp(wall_ns // NS, UTC)


def nanoseconds(moment: datetime) -> int:
    """The reverse of `instant`."""
    return int(moment.timestamp()) * NS


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(end)
    )


def _of_authority(
    built: x509.CertificateBuilder,
    key: ec.EllipticCurvePublicKey,
    signed_by: ec.EllipticCurvePublicKey,
    *,
    path_length: int,
) -> x509.CertificateBuilder:
    return (
        built.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_signed_by(signed_by), critical=False)
    )


def _leaf(
    signer: Signer,
    key: ec.EllipticCurvePublicKey,
    uri: str,
    end: datetime,
    use: x509.ObjectIdentifier,
    now: datetime,
) -> x509.Certificate:
    end = min(end, signer.certificate.not_valid_after_utc)
    name = _name(uri.rpartition("/")[2])
    built = _builder(name, signer.certificate.subject, key, now, end)
    return (
        built.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_signed_by(signer.key.public_key()), critical=False)
        .sign(signer.key, hashes.SHA256())
    )


def _signed_by(key: ec.EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
