"""What people, nodes and the hub say to each other about SSH: certificates of people, and what a node's sshd must know."""

from __future__ import annotations

from typing import Literal

import msgspec

MOST_SECONDS = 900.0
"""The longest life of a person's certificate."""

SshState = Literal["valid", "expired", "revoked"]


class SshCertificateRequest(msgspec.Struct, frozen=True):
    """A person asks for a certificate for one node. `public_key` is a line of OpenSSH's; `source` an address or network.

    With `source` the certificate is good for connections from there alone: not through the hub.
    """

    public_key: str
    ttl: float = MOST_SECONDS
    source: str = ""


class SshCertificate(msgspec.Struct, frozen=True):
    """The certificate (a line of OpenSSH's) and what else a client needs.

    The node proves with a certificate of `host_ca` that it is `node_id`. `limited` says that it opens no shell.
    """

    certificate: str
    serial: int
    key_id: str
    node_id: str
    node: str
    user: str
    port: int
    host_ca: str
    expires_at: int
    limited: bool = False


class SshCertificateView(msgspec.Struct, frozen=True):
    """What the hub knows of a certificate. Times are ns since 1970; `revoked_at` is None while nobody has."""

    serial: int
    who: str
    role: str
    node_id: str
    node: str
    state: SshState
    issued_at: int
    expires_at: int
    limited: bool
    fingerprint: str
    revoked_at: int | None = None
    revoked_by: str = ""


class SshRevoke(msgspec.Struct, frozen=True):
    """Takes back one certificate, or all of a person that are good or may have let somebody in who is still there; the other is empty."""

    serial: int = 0
    who: str = ""


class SshRevoked(msgspec.Struct, frozen=True):
    """The serial numbers that are refused now, and at how many nodes."""

    serials: list[int]
    nodes: int


class SshNode(msgspec.Struct, frozen=True):
    """A node whose sshd trusts the hub says how it is set up, and asks for what changed.

    `user` is the account that certificates open, `limited` the command that they are bound to for who may only look.
    `revoked` is the name of the list that it has; `host_certificate` says that it wants a new one for `host_key`.
    """

    user: str
    port: int
    host_key: str
    limited: str
    revoked: str = ""
    host_certificate: bool = False


class SshTrust(msgspec.Struct, frozen=True):
    """What the node's sshd goes by. `krl` is None when the list `revoked` is the one that it has.

    `host_ca` signs the certificates of nodes: another one than before means that a new one is needed. `host_certificate` is empty unless it was asked for; it is
    good from `host_since`, when the hub gave it, until `host_until` (ns since 1970; 0: a hub that does not say since when).
    """

    user_ca: str
    host_ca: str
    revoked: str
    krl: bytes | None = None
    host_certificate: str = ""
    host_until: int = 0
    host_since: int = 0
