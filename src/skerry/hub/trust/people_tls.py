"""The TLS of the listener for people: 1.3, with a certificate of the installation's own, read again when its files change."""

from __future__ import annotations

import logging
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from skerry.hub.access_settings import TlsSection
from skerry.hub.trust.server_tls import load_from_memory
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import Refused

log = logging.getLogger(__name__)

LOOK_EVERY = 5 * NS
"""Between two looks whether the files have changed."""

_MAX_BYTES = 1 << 20
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_Marks = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class _Read:
    context: ssl.SSLContext
    names: frozenset[str]


class PeopleTls:
    """`current` is the context for the next connection; those that are open keep theirs. Raises Refused."""

    def __init__(self, certificate: Path, key: Path, clock: Clock) -> None:
        self._files = certificate, key
        self._clock = clock
        self._marks = self._seen()
        self._read = _read(*self._files)
        self._looked_at = clock.monotonic_ns()
        self.names = self._read.names
        """The hosts that the certificate was for at the start."""

    @classmethod
    def of(cls, settings: TlsSection, clock: Clock) -> PeopleTls | None:
        """As the settings say; None without TLS."""
        if settings.certificate is None or settings.key is None:
            return None
        return cls(settings.certificate, settings.key, clock)

    @property
    def current(self) -> ssl.SSLContext:
        """The newest one that could be read."""
        now = self._clock.monotonic_ns()
        if now - self._looked_at >= LOOK_EVERY:
            self._looked_at = now
            self._look()
        return self._read.context

    def _look(self) -> None:
        marks = self._seen()
        if marks == self._marks:
            return
        try:
            self._read = _read(*self._files)
        except Refused as error:
            # Files are replaced one after the other, so the next look may find a pair; or nobody reads this for long.
            log.warning("the hub goes on with the certificate of before: %s", error)
        else:
            log.info("the hub has read a new certificate from %s", self._files[0])
        self._marks = marks

    def _seen(self) -> _Marks:
        return tuple(_mark(path) for path in self._files)


def _mark(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_mode)


def _read(certificate: Path, key: Path) -> _Read:
    chain, secret = _bytes(certificate), _secret(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    try:
        load_from_memory(context, secret + b"\n" + chain)
        names = _names(chain)
    except (ssl.SSLError, ValueError) as error:
        raise Refused(
            f"cannot use {certificate} with {key}: they must be a certificate (the chain after it) and its key, in PEM "
            f"form and without a password ({getattr(error, 'reason', None) or 'not readable'})"
        ) from error
    return _Read(context, names)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES)
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from error


def _secret(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from error
    if mode & _OTHERS:
        raise Refused(
            f"cannot use {path}: others may read it. If nobody has, «chmod 600 {path}» is enough; else get a new "
            "certificate with a new key."
        )
    return _bytes(path)


def _names(chain: bytes) -> frozenset[str]:
    """The hosts of the first certificate, without those that stand for many."""
    found = x509.load_pem_x509_certificate(chain)
    try:
        others = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    hosts = [
        *others.get_values_for_type(x509.DNSName),
        *map(str, others.get_values_for_type(x509.IPAddress)),
    ]
    return frozenset(host.lower() for host in hosts if "*" not in host)
