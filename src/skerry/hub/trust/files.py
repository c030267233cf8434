"""The files of the fleet's authority in the hub's data directory: `trust/{root,intermediate}.{key,crt}`. ADR 24.

Keys are the hub's user's alone; one that others could read is not used. `root.key` may be missing: it is offline then.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from skerry.hub.trust.certificates import Signer, key_hash, key_pem, pem
from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt, Refused

DIRECTORY = "trust"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class Kept:
    """What the files hold. The root's key may be offline, and the intermediate missing."""

    root: x509.Certificate
    root_key: ec.EllipticCurvePrivateKey | None = None
    intermediate: Signer | None = None

    @property
    def root_signer(self) -> Signer | None:
        """The root, where its key is at hand."""
        return Signer(self.root_key, self.root) if self.root_key else None


class TrustFiles:
    """The files below `data_dir`. Blocks."""

    def __init__(self, data_dir: Path, disk: Disk) -> None:
        self.directory = data_dir / DIRECTORY
        self._disk = disk

    def read(self) -> Kept | None:
        """What is there; None without a root. Raises Refused (modes, not readable) and Corrupt."""
        self._disk.make_directory("trust.directory", self.directory)
        try:
            self.directory.chmod(0o700)
            if (self.directory / "next-root.key").exists() and not (
                self.directory / "next-root.crt"
            ).exists():
                self.promote()  # it was cut between the two
            root = self._certificate("root.crt")
            root_key = self._key("root.key")
            certificate, key = self._certificate("intermediate.crt"), self._key("intermediate.key")
        except OSError as error:
            raise Refused(
                f"cannot read {error.filename}: {error.strerror}. It must be the hub's user's own file."
            ) from error
        if root is None:
            return None
        if root_key is not None and not _fit(root, root_key):
            raise Corrupt(f"cannot use {self.directory}: root.key is not the key of root.crt")
        # Of a pair that does not fit, the writing was cut between the two; the next look makes a new one.
        intermediate = (
            Signer(key, certificate) if key and certificate and _fit(certificate, key) else None
        )
        return Kept(root, root_key, intermediate)

    def write_root(self, root: Signer) -> None:
        """The key first: a certificate that is there has its key."""
        self._write("root.key", key_pem(root.key), 0o600)
        self._write("root.crt", pem(root.certificate).encode(), 0o644)

    def read_next(self) -> Signer | None:
        """The root that comes after the present one, if there is one. Raises as `read`."""
        certificate, key = self._certificate("next-root.crt"), self._key("next-root.key")
        return Signer(key, certificate) if key and certificate and _fit(certificate, key) else None

    def write_next(self, root: Signer) -> None:
        """Keeps the root that comes after the present one. The key last: alone it is what `promote` was cut at."""
        self._write("next-root.crt", pem(root.certificate).encode(), 0o644)
        self._write("next-root.key", key_pem(root.key), 0o600)

    def promote(self) -> None:
        """The next root takes the place of the present one, whose key is gone then. Goes on where it was cut."""
        for name in ("root.crt", "root.key"):
            fresh = self.directory / f"next-{name}"
            if fresh.exists():
                self._disk.rename(f"trust.next-{name}", fresh, self.directory / name)

    def remove_root_key(self) -> None:
        """The root's key is offline from now on."""
        self._disk.unlink("trust.remove", self.directory / "root.key")
        self._disk.sync_directory("trust.removed", self.directory)

    def write_intermediate(self, intermediate: Signer) -> None:
        """Replaces the intermediate."""
        self._write("intermediate.key", key_pem(intermediate.key), 0o600)
        self._write("intermediate.crt", pem(intermediate.certificate).encode(), 0o644)

    def _write(self, name: str, data: bytes, mode: int) -> None:
        self._disk.write_atomic(f"trust.{name}", self.directory / name, data, mode)

    def _certificate(self, name: str) -> x509.Certificate | None:
        path = self.directory / name
        if not path.exists():
            return None
        try:
            return x509.load_pem_x509_certificate(path.read_bytes())
        except ValueError as error:
            raise Corrupt(f"cannot use {path}: it is no certificate (PEM)") from error

    def _key(self, name: str) -> ec.EllipticCurvePrivateKey | None:
        path = self.directory / name
        if not path.exists():
            return None
        if path.stat().st_mode & _OTHERS:
            raise Refused(
                f"cannot use {path}: others may read it. If nobody has, «chmod 600 {path}» is enough; else the fleet "
                "needs a new root: skerry hub ca rotate."
            )
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), None)
        except (ValueError, TypeError) as error:
            raise Corrupt(
                f"cannot use {path}: it is no key (PKCS #8, PEM, not encrypted)"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Corrupt(f"cannot use {path}: it is no key of type EC P-256")
        return key


def _fit(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bool:
    return key_hash(certificate.public_key()) == key_hash(key.public_key())
