"""An archive's own key: random, used for this archive only, and carried in its header wrapped.

By the directory's KEK, so that the machine that made it can read it without asking anybody, and by a recovery
passphrase, so that a new device can when the old one's TPM or key file is gone. Either is enough.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence

import msgspec

from skerry.kit.archive.format import Header, Wrap
from skerry.kit.errors import Corrupt, Refused
from skerry.kit.sealing.key_ring import KeyRing
from skerry.kit.sealing.sealed import InForce, KeyInUse, SealingCipher, aead
from skerry.kit.sealing.sources import Source, fingerprint, kek_of_passphrase

_SIZE = 32
_SCRYPT_N = 2**15
_SCRYPT_R = 8
_SCRYPT_MEMORY = 64 * 1024 * 1024
_SHORTEST = 12
_WORDS = ("archive", "key")


class Wrapping(msgspec.Struct, frozen=True):
    """What archives' keys are wrapped with: a KEK and where it comes from, or one made of a recovery passphrase."""

    kek: bytes
    source: Source | None = None
    salt: bytes = b""

    def __repr__(self) -> str:
        return f"Wrapping({self.source.kind if self.source else 'recovery passphrase'})"


class ArchiveKey(msgspec.Struct, frozen=True):
    """The key of one archive, with its wraps (none when it was opened)."""

    secret: bytes
    wraps: list[Wrap] = []

    def __repr__(self) -> str:
        return "ArchiveKey()"

    @property
    def opened_by(self) -> list[str]:
        """What opens it, for people."""
        return [_words(wrap) for wrap in self.wraps]

    def cipher(self) -> SealingCipher:
        """Seals and opens the archive's segments."""
        key = _in_use(self.secret)
        return SealingCipher(InForce(key, {key.id: key}, plain=False))


def by_ring(ring: KeyRing) -> Wrapping:
    """As the ring of a data directory is sealed."""
    return Wrapping(ring.kek, ring.source)


def by_passphrase(passphrase: bytes) -> Wrapping:
    """Takes a third of a second and 32 MB, once: the same may wrap many archives' keys. Raises Refused."""
    salt = os.urandom(16)
    return Wrapping(_stretched(passphrase, salt), salt=salt)


def new_key(wrappings: Sequence[Wrapping]) -> ArchiveKey:
    """A random key, to be had again by each of `wrappings`, of which there must be one."""
    assert wrappings  # noqa: S101 - nobody could ever open it
    secret = os.urandom(_SIZE)
    return ArchiveKey(secret, [_wrapped(secret, each) for each in wrappings])


def unwrap(
    header: Header,
    kek_of: Callable[[Source], bytes] | None = None,
    *,
    kek: bytes | None = None,
    passphrase: bytes | None = None,
) -> ArchiveKey | None:
    """The key of an archive, by whatever of the three opens it; None: it is not encrypted.

    `kek_of` finds a KEK where the source says (it may raise Refused), `kek` is one that a person kept; `passphrase` is
    the recovery passphrase, or the one that the directory's KEK is made of. Raises Refused, saying what was tried and
    what would open it.
    """
    if not header.sealed:
        return None
    problems: list[str] = []
    for wrap in header.wraps:
        if wrap.source is None:
            offered = [] if passphrase is None else [_stretched(passphrase, wrap.salt)]
        else:
            offered = [] if kek is None else [kek]
            if passphrase is not None and wrap.source.kind == "passphrase":
                offered.append(kek_of_passphrase(passphrase, wrap.source))
            known = any(fingerprint(each) == wrap.check for each in offered)
            if (
                kek_of is not None and not known
            ):  # its place may be a pipe, at which one waits for ever
                try:
                    offered.append(kek_of(wrap.source))
                except Refused as error:
                    problems.append(str(error))
        for each in offered:
            if fingerprint(each) == wrap.check:
                return _unwrapped(each, wrap)
        if offered:
            problems.append(f"what was given is not {_words(wrap)}")
    raise Refused(
        f"cannot open the backup: it is encrypted, and {' or '.join(map(_words, header.wraps))} opens it"
        + "".join(f"; {problem}" for problem in problems)
    )


def _words(wrap: Wrap) -> str:
    if wrap.source is None:
        return "its recovery passphrase"
    match wrap.source.kind:
        case "file":
            return f"its key file ({wrap.source.place or 'storage.key of its data directory'})"
        case "passphrase":
            return f"the passphrase of its data directory ({wrap.source.place})"
        case "credential":
            return f"systemd credential «{wrap.source.place}»"
        case "tpm":
            return "the TPM of the device that made it"


def _wrapped(secret: bytes, by: Wrapping) -> Wrap:
    sealed = _in_use(by.kek).seal(secret, _WORDS)
    return Wrap(fingerprint(by.kek), sealed, by.source, by.salt)


def _unwrapped(kek: bytes, wrap: Wrap) -> ArchiveKey:
    secret = _in_use(kek).open(wrap.sealed, _WORDS)
    if secret is None or len(secret) != _SIZE:
        raise Corrupt("its key is not what was written")
    return ArchiveKey(secret)


def _in_use(secret: bytes) -> KeyInUse:
    """A new object each time, so with a random prefix of its own."""
    return KeyInUse(int(fingerprint(secret)[:8], 16), aead("AES-256-GCM", secret))


def _stretched(passphrase: bytes, salt: bytes) -> bytes:
    passphrase = passphrase.strip(b"\r\n")
    if len(passphrase) < _SHORTEST:
        raise Refused(f"cannot use the recovery passphrase: it is shorter than {_SHORTEST} bytes")
    return hashlib.scrypt(
        passphrase, salt=salt, n=_SCRYPT_N, r=_SCRYPT_R, p=1, maxmem=_SCRYPT_MEMORY, dklen=_SIZE
    )
