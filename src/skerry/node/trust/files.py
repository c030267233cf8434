"""Where a node keeps what it proves itself by, in `trust/` of its data directory.

    node.pem        key, certificate request and certificate with its intermediate, in one file so that they always fit
    roots.pem       the fleet's roots under the number of their bundle; any tool reads it as a CA file
    enrolling.pem   key and request of an enrolment whose answer has not come

With `trust.key: tpm` the key is in the TPM, and in its place stands what that loads it from (`tpm_key`).
`node.pem` and `enrolling.pem` are sealed where encryption at rest is on. The key stays as long as the node is enrolled;
only the certificate behind it is replaced.
"""

from __future__ import annotations

import re
from pathlib import Path

from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt, Refused
from skerry.kit.sealing.cipher import Cipher, Place
from skerry.kit.sealing.format import is_sealed
from skerry.wire.trust import TrustBundle

DIRECTORY = "trust"
OWN_FILE = "node.pem"
ROOTS_FILE = "roots.pem"
PENDING_FILE = "enrolling.pem"

IN_TPM = b"TSS2 PRIVATE KEY"
"""Title of the block in a key's place when the TPM has the key: what only that TPM can load."""

_TITLE = "Skerry trust bundle "
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----\n?", re.DOTALL)


class TrustFiles:
    """The files of one data directory. Reading raises Refused with the way out, writing OSError."""

    def __init__(self, data_dir: Path, disk: Disk, cipher: Cipher) -> None:
        self.directory = data_dir / DIRECTORY
        self._disk = disk
        self._cipher = cipher

    def own(self) -> bytes | None:
        """Key, request and certificate; None: this node has none."""
        return self._read(OWN_FILE)

    def keep_own(self, own: bytes) -> None:
        """Keeps what `joined` made; returns when it is durable."""
        self._write("trust.own", OWN_FILE, own)

    def bundle(self) -> TrustBundle:
        """The roots to believe; number 0: none are known."""
        path = self.directory / ROOTS_FILE
        try:
            text = path.read_text("ascii")
        except FileNotFoundError:
            return TrustBundle(0, [])
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(_unreadable(path, error)) from error
        number = text.removeprefix(_TITLE).split("\n", 1)[0]
        roots = [found[0] for found in _BLOCK.finditer(text)]
        if not text.startswith(_TITLE) or not number.isdecimal() or not roots:
            raise Refused(_unreadable(path, ValueError()))
        return TrustBundle(int(number), roots)

    def keep_bundle(self, bundle: TrustBundle) -> None:
        """Returns when it is durable."""
        self._disk.make_directory("trust.directory", self.directory)
        content = f"{_TITLE}{bundle.number}\n" + roots_text(bundle)
        self._disk.write_atomic("trust.roots", self.directory / ROOTS_FILE, content.encode("ascii"))

    def pending(self) -> bytes | None:
        """Key and request of an enrolment that has not ended."""
        return self._read(PENDING_FILE)

    def keep_pending(self, keyed: bytes) -> None:
        """Before the hub is asked: the same key is shown at every try."""
        self._write("trust.pending", PENDING_FILE, keyed)

    def forget_pending(self) -> None:
        """The enrolment has ended well."""
        self._disk.unlink("trust.done", self.directory / PENDING_FILE)

    def seal(self) -> bool:
        """Seals under the key in force what is not. False: it is already, or there is nothing. Raises Corrupt and OSError."""
        path = self.directory / OWN_FILE
        if not self._cipher.seals or not path.exists():
            return False
        content = path.read_bytes()
        if self._cipher.is_current(content):
            return False
        self._write("trust.own", OWN_FILE, self._opened(OWN_FILE, content))
        return True

    def _read(self, name: str) -> bytes | None:
        path = self.directory / name
        try:
            mode = path.stat().st_mode & 0o777
            if mode & 0o077:
                raise Refused(
                    f"cannot use {path}: it holds this node's key, and others may read it (mode {mode:o}). "
                    f"If nobody did, chmod 600 {path}; else enrol this node again with a new token."
                )
            return self._opened(name, path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, Corrupt) as error:
            raise Refused(_unreadable(path, error)) from error

    def _opened(self, name: str, content: bytes) -> bytes:
        return self._cipher.open(content, _place(name)) if is_sealed(content) else content

    def _write(self, label: str, name: str, content: bytes) -> None:
        self._disk.make_directory("trust.directory", self.directory)
        self._disk.write_atomic(
            label, self.directory / name, self._cipher.seal(content, _place(name))
        )


def joined(keyed: bytes, chain: str) -> bytes:
    """Key and request of `keyed`, and behind them another certificate, its leaf first."""
    return keyed.partition(_CERTIFICATE)[0] + certificates_of(chain.encode()).encode()


def key_in(keyed: bytes) -> bytes:
    """The key alone. Raises Refused."""
    for found in _BLOCK.finditer(keyed.decode()):
        if found[1].endswith("PRIVATE KEY"):
            return found[0].encode()
    raise Refused(f"cannot find the key in {OWN_FILE}. Enrol this node again.")


def is_in_tpm(keyed: bytes) -> bool:
    """Whether the key is one that the TPM has."""
    return b"-----BEGIN " + IN_TPM in keyed


def request_in(keyed: bytes) -> str:
    """The certificate request beside a key. Raises Refused."""
    for found in _BLOCK.finditer(keyed.decode()):
        if found[1] == "CERTIFICATE REQUEST":
            return found[0]
    raise Refused(f"cannot find the certificate request in {OWN_FILE}. Enrol this node again.")


def certificates_of(keyed: bytes) -> str:
    """The certificates in such a file; empty: it has none yet."""
    return "".join(one[0] for one in _BLOCK.finditer(keyed.decode()) if one[1] == "CERTIFICATE")


def roots_text(bundle: TrustBundle) -> str:
    """All roots as one PEM text."""
    return "".join(root if root.endswith("\n") else root + "\n" for root in bundle.roots)


def _place(name: str) -> Place:
    return Place("file", f"{DIRECTORY}/{name}", ())


def _unreadable(path: Path, error: Exception) -> str:
    cause = error.strerror if isinstance(error, OSError) else "it is not what was written"
    return f"cannot read {path}: {cause}. Enrol this node again with a new token."
