"""What OpenSSH's client needs for a node: a key that lives as long as its certificate, and options. Files are 0600.

The host key is never asked about: the node proves by a certificate of the hub's authority that it is the one meant.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from skerry.cli.contexts import Context
from skerry.cli.http import Api
from skerry.core.names import name_fault
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, Refused
from skerry.wire.ssh import SshCertificate, SshCertificateRequest

KEY, CERTIFICATE, KNOWN_HOSTS, CONFIG = "id", "id-cert.pub", "known_hosts", "config"

_ALGORITHMS = (
    "ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com,"
    "rsa-sha2-512-cert-v01@openssh.com,rsa-sha2-256-cert-v01@openssh.com"
)


_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
_KEY_LINE = re.compile(r"[a-z0-9@.-]{1,64} [A-Za-z0-9+/]{1,16384}={0,2}")


@dataclass(frozen=True)
class Direct:
    """An address at which the node's sshd itself is reached; port 0: the one that the node tells."""

    host: str
    port: int = 0


def read_direct(text: str) -> Direct:
    """«HOST», «HOST:PORT» or «[ADDRESS]:PORT». Raises InvalidInput."""
    host, _, port = text.rpartition(":") if text.count(":") == 1 or "]:" in text else (text, "", "")
    host = host.strip("[]")
    fits = host and not host.startswith("-") and host.isprintable() and not set(host) & set(" %\"'")
    if not fits or (port and not (port.isascii() and port.isdigit() and int(port[:6]) <= 65535)):
        raise InvalidInput(f"cannot use --direct «{text:.80}»: write HOST or HOST:PORT")
    return Direct(host, int(port or 0))


async def fetch_certificate(
    hub: Api, node: str, directory: Path, *, ttl: float, source: str = ""
) -> SshCertificate:
    """A new key and the hub's certificate for it, as files in `directory`."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    key = Ed25519PrivateKey.generate()
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    path = f"/api/v1/nodes/{quote(node, safe='')}/ssh-certificates"
    asked = SshCertificateRequest(line, ttl, source)
    made = await hub.send("POST", path, asked, SshCertificate)
    check(made)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    files = {
        KEY: secret,
        CERTIFICATE: f"{made.certificate}\n".encode(),
        KNOWN_HOSTS: f"@cert-authority {made.node_id} {made.host_ca}\n".encode(),
    }
    disk = RealDisk()
    for name, content in files.items():
        disk.write_atomic("ssh-client.write", directory / name, content, mode=0o600)
    return made


def check(made: SshCertificate) -> None:
    """What a hub says ends up in files and arguments of another program: each word must have the one form of its kind.

    Raises Refused.
    """
    fits = {
        "node": name_fault(made.node) is None,
        "node_id": _ID.fullmatch(made.node_id),
        "user": _ACCOUNT.fullmatch(made.user),
        "port": 1 <= made.port <= 65535,
        "host_ca": _KEY_LINE.fullmatch(made.host_ca),
        "certificate": _KEY_LINE.fullmatch(made.certificate),
    }
    wrong = [name for name, good in fits.items() if not good]
    if wrong:
        raise Refused(
            f"cannot use the hub's certificate: its {' and '.join(wrong)} is not of the form that hubs give, and would get "
            "into files and arguments of OpenSSH's client. Is it this hub, and is it itself?"
        )


def options(made: SshCertificate, directory: Path) -> list[tuple[str, str]]:
    """OpenSSH's options for a node, wherever it is reached."""
    return [
        ("User", made.user),
        ("IdentityFile", _quoted(directory / KEY)),
        ("CertificateFile", _quoted(directory / CERTIFICATE)),
        ("IdentitiesOnly", "yes"),
        ("IdentityAgent", "none"),
        ("PreferredAuthentications", "publickey"),
        ("HostKeyAlias", made.node_id),
        ("HostKeyAlgorithms", _ALGORITHMS),
        ("UserKnownHostsFile", _quoted(directory / KNOWN_HOSTS)),
        ("GlobalKnownHostsFile", "none"),
        ("StrictHostKeyChecking", "yes"),
        ("UpdateHostKeys", "no"),
        ("ServerAliveInterval", "30"),
    ]


def way(made: SshCertificate, target: Context, direct: Direct | None) -> list[tuple[str, str]]:
    """How the node is reached: at an address, or through the hub."""
    if direct is not None:
        return [("HostName", direct.host), ("Port", str(direct.port or made.port))]
    words = [
        sys.executable, "-P", "-m", "skerry.cli.main", "tunnel", made.node_id, str(made.port),
        "--hub", target.hub, "--token-file", str(target.token_file.absolute()),
    ]  # fmt: skip
    if target.ca_file is not None:
        words += ["--ca-file", str(target.ca_file.absolute())]
    return [("ProxyCommand", shlex.join(words).replace("%", "%%"))]


def command_line(
    every: Sequence[tuple[str, str]], name: str, command: Sequence[str], *, terminal: bool
) -> list[str]:
    """OpenSSH's client with these options alone: no file of the person's or the system's. Raises Refused without it."""
    words = [program(), "-F", "none"]
    for key, value in every:
        words += ["-o", f"{key}={value}"]
    return [*words, *([] if terminal else ["-T"]), "--", name, *command]


def program() -> str:
    """OpenSSH's client. Raises Refused when there is none."""
    found = shutil.which("ssh")
    if found is None:
        raise Refused(
            "cannot use SSH: there is no «ssh» on this machine. Install it: apt-get install openssh-client"
        )
    return found


def config_text(every: Sequence[tuple[str, str]], names: Sequence[str]) -> str:
    """A configuration file for `ssh -F`."""
    lines = [f"Host {' '.join(names)}", *(f"    {key} {value}" for key, value in every)]
    return "\n".join(lines) + "\n"


def _quoted(path: Path) -> str:
    text = str(path.absolute()).replace("%", "%%")
    return f'"{text}"' if " " in text else text
