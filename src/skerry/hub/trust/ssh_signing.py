"""Certificates of OpenSSH as the hub signs them. Pure but for the signature's own randomness."""

from __future__ import annotations

import base64
import hashlib
import ipaddress

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_public_key,
)

from skerry.core.ssh_krl import key_blob
from skerry.kit.clock import NS
from skerry.kit.errors import InvalidInput

SLACK = 300 * NS
"""Certificates begin so much before now: the clock of a device may be behind."""

_LONGEST_KEY = 4096
_SMALLEST_RSA = 2048

PublicKey = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey


def read_public_key(line: str) -> PublicKey:
    """A key as OpenSSH writes it. Raises InvalidInput."""
    if len(line) > _LONGEST_KEY or len(line.splitlines()) != 1:
        raise InvalidInput(
            "cannot read the public key: write one line, as in ~/.ssh/id_ed25519.pub"
        )
    try:
        key = load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidInput(
            "cannot read the public key: it is none of OpenSSH's. Make one with ssh-keygen -t ed25519."
        ) from error
    if isinstance(key, RSAPublicKey) and key.key_size < _SMALLEST_RSA:
        raise InvalidInput(
            f"cannot use the public key: RSA with {key.key_size} bits is too weak. ssh-keygen -t ed25519 makes a good one."
        )
    if not isinstance(key, Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey):
        raise InvalidInput("cannot use the public key: write one of ed25519, ecdsa or rsa")
    return key


def fingerprint(line: str) -> str:
    """A key's name as OpenSSH shows it."""
    digest = hashlib.sha256(key_blob(line)).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def read_source(text: str) -> str:
    """An address or network, as a certificate has it. Raises InvalidInput."""
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError as error:
        raise InvalidInput(
            f"cannot bind a certificate to «{text:.60}»: it is no address and no network"
        ) from error


def principal(node_id: str) -> str:
    """What a person's certificate opens: one node."""
    return f"node:{node_id}"


def user_certificate(  # noqa: PLR0913 - what a certificate says
    authority: Ed25519PrivateKey,
    key: PublicKey,
    *,
    serial: int,
    key_id: str,
    node_id: str,
    now: int,
    until: int,
    command: str,
    source: str,
) -> str:
    """One line. With `command` that is all that it runs; without, it may have a terminal."""
    builder = (
        SSHCertificateBuilder()
        .public_key(key)
        .serial(serial)
        .type(SSHCertificateType.USER)
        .key_id(key_id.encode())
        .valid_principals([principal(node_id).encode()])
        .valid_after(_seconds(now - SLACK))
        .valid_before(_seconds(until))
    )
    if command:
        builder = builder.add_critical_option(b"force-command", command.encode())
    else:
        builder = builder.add_extension(b"permit-pty", b"")
    if source:
        builder = builder.add_critical_option(b"source-address", source.encode())
    return builder.sign(authority).public_bytes().decode()


def host_certificate(
    authority: Ed25519PrivateKey, key: PublicKey, *, node_id: str, now: int, until: int
) -> str:
    """One line: whoever has the key is this node."""
    return (
        SSHCertificateBuilder()
        .public_key(key)
        .serial(0)
        .type(SSHCertificateType.HOST)
        .key_id(f"node {node_id}".encode())
        .valid_principals([node_id.encode()])
        .valid_after(_seconds(now - SLACK))
        .valid_before(_seconds(until))
        .sign(authority)
        .public_bytes()
        .decode()
    )


def _seconds(wall_ns: int) -> int:
    return max(wall_ns, 0) // NS
