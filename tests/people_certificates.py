"""Certificates of an installation's own for the listener for people, as files."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from skerry.hub.access_settings import TlsSection

NAME = "edge.example"


def certified(directory: Path, name: str = "hub", *, password: bytes = b"") -> TlsSection:
    """A certificate that signs itself, for this machine and NAME, in `directory`; an earlier one is replaced."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    hosts = [
        x509.DNSName(NAME),
        x509.DNSName("*.example"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    built = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .sign(key, hashes.SHA256())
    )
    section = TlsSection(directory / f"{name}.pem", directory / f"{name}.key")
    locked = BestAvailableEncryption(password) if password else NoEncryption()
    section.certificate.write_bytes(built.public_bytes(Encoding.PEM))
    section.key.touch(0o600)
    section.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    return section
