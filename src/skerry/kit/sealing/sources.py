"""Where a key-encryption key (KEK) comes from: a file, a passphrase, a systemd credential, or a TPM 2.0.

`Wanted` is what the settings say, `Source` what `keys.json` records of how it is sealed, with what is needed to get
the same key again. Neither is secret.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from skerry.kit.disk import Disk
from skerry.kit.errors import Refused
from skerry.kit.sealing import tpm

Kind = Literal["file", "passphrase", "credential", "tpm"]

KEY_FILE = "storage.key"
_SIZE = 32
_SCRYPT_N = 2**15
_SCRYPT_R = 8
_SCRYPT_MEMORY = 64 * 1024 * 1024
_SHORTEST = 12
_WORDS = re.compile(
    r"file(:/.+)?|passphrase:/.+|credential:[\w.@-]+|tpm(:sha(1|256|384):\d+(,\d+)*)?"
)


Reader = Callable[[Path], bytes]
"""`read_secret`, or what remembers its answer."""


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a KEK is got again. `place`: a path, a credential's name or PCRs; empty: the file in the data directory."""

    kind: Kind
    place: str = ""
    salt: bytes = b""
    public: bytes = b""
    private: bytes = b""


class Wanted(msgspec.Struct, frozen=True):
    """What the settings ask for."""

    kind: Kind
    place: str

    def is_same(self, source: Source) -> bool:
        """Whether that is how a directory is sealed already."""
        return (self.kind, self.place) == (source.kind, source.place)


class Surroundings(msgspec.Struct, frozen=True):
    """The data directory, and systemd's directory of credentials, if there is one.

    `kek` was handed over by a process that had it from its source, which may have been there to be read once.
    """

    data_dir: Path
    credentials: Path | None
    kek: bytes = b""

    def __repr__(self) -> str:
        return f"Surroundings({self.data_dir})"


def source_fault(value: object) -> str | None:
    """What is wrong with a setting that names a source."""
    if _WORDS.fullmatch(str(value)):
        return None
    return (
        f"«{value}» is no source of a key: write file, file:/PATH, passphrase:/PATH, credential:NAME, tpm or "
        "tpm:sha256:7"
    )


def parse(text: str) -> Wanted:
    """A setting that `source_fault` has nothing against."""
    kind, _, place = text.partition(":")
    return Wanted(msgspec.convert(kind, Kind), place)


def make(
    wanted: Wanted, where: Surroundings, disk: Disk, read: Reader | None = None
) -> tuple[Source, bytes]:
    """A KEK from a source that is taken into use: files and TPM objects are made. Raises Refused. `read`: as of `obtain`."""
    match wanted.kind:
        case "file":
            path = _key_path(wanted.place, where)
            if not path.exists():
                disk.write_atomic("keys.kek", path, os.urandom(_SIZE).hex().encode() + b"\n")
            source = Source("file", wanted.place)
            return source, obtain(source, where, new=True)
        case "passphrase":
            return from_passphrase(wanted.place, (read or read_secret)(Path(wanted.place)))
        case "credential":
            source = Source("credential", wanted.place)
            return source, obtain(source, where, new=True)
        case "tpm":
            kek = os.urandom(_SIZE)
            public, private = tpm.seal(kek, wanted.place)
            return Source("tpm", wanted.place, public=public, private=private), kek


def obtain(
    source: Source, where: Surroundings, read: Reader | None = None, *, new: bool = False
) -> bytes:
    """The KEK of a directory that is sealed already, or is `new`. Raises Refused; nothing is made.

    `read` is `read_secret`, or remembers what that gave: a passphrase in a pipe can be read once.
    """
    read = read or read_secret
    match source.kind:
        case "file":
            return _key_in(read(_key_path(source.place, where)), source, new=new)
        case "passphrase":
            return kek_of_passphrase(read(Path(source.place)), source)
        case "credential":
            if where.credentials is None:
                raise Refused(
                    f"cannot read credential «{source.place}»: systemd gave this process none. Start it as a unit "
                    f"with LoadCredential={source.place} or LoadCredentialEncrypted={source.place}."
                )
            return _key_in(_read(where.credentials / source.place), source, new=new)
        case "tpm":
            return tpm.unseal(source.public, source.private, source.place)


def from_passphrase(place: str, passphrase: bytes) -> tuple[Source, bytes]:
    """A KEK from a passphrase that is to be found at `place` from now on. Raises Refused when it is too short."""
    source = Source("passphrase", place, salt=os.urandom(16))
    return source, kek_of_passphrase(passphrase, source)


def is_replaceable(place: Path) -> bool:
    """Whether this process can put another passphrase there: not through a pipe or link, nor where systemd does it."""
    try:
        regular = stat.S_ISREG(place.lstat().st_mode)
    except OSError:
        return False
    return regular and os.access(place.parent, os.W_OK)


def is_beside(source: Source, where: Surroundings) -> bool:
    """Whether who copies the data directory has the KEK as well."""
    return source.kind == "file" and _key_path(source.place, where).is_relative_to(where.data_dir)


def words(source: Source, where: Surroundings) -> str:
    """The source for people, in plain words about what it is worth."""
    match source.kind:
        case "file" if is_beside(source, where):
            return f"software key beside the data ({_key_path(source.place, where)})"
        case "file":
            return f"software key in {source.place}"
        case "passphrase":
            return f"software key from the passphrase in {source.place}"
        case "credential":
            return f"systemd credential «{source.place}» (worth what it is encrypted with: host key, TPM 2.0 or nothing)"
        case "tpm":
            bound = f", released while PCRs {source.place} are unchanged" if source.place else ""
            return f"TPM 2.0 of this device{bound}"


def fingerprint(kek: bytes) -> str:
    """Tells a wrong KEK from a damaged file, and nothing else."""
    return hashlib.sha256(b"skerry key-encryption key\0" + kek).hexdigest()[:16]


def _key_path(place: str, where: Surroundings) -> Path:
    return Path(place) if place else where.data_dir / KEY_FILE


def _key_in(content: bytes, source: Source, *, new: bool) -> bytes:
    if len(content) == _SIZE:
        return content
    try:
        key = bytes.fromhex(content.decode())
    except (UnicodeDecodeError, ValueError):
        key = b""
    if len(key) != _SIZE:
        way_out = (
            f"Make one: head -c {_SIZE} /dev/urandom"
            if new
            else "Nothing was touched: put back the one that the data is sealed with; no other opens it."
        )
        raise Refused(
            f"cannot use {source.kind} «{source.place or KEY_FILE}» as a key: it must hold 32 bytes or 64 hex digits. "
            f"{way_out}"
        )
    return key


def kek_of_passphrase(content: bytes, source: Source) -> bytes:
    """The KEK that a passphrase is, where `source` says so. Raises Refused when it cannot be one."""
    passphrase = content.strip(b"\r\n")
    if len(passphrase) < _SHORTEST:
        raise Refused(
            f"cannot use the passphrase in {source.place}: it is shorter than {_SHORTEST} bytes"
        )
    if b"\n" in passphrase:
        raise Refused(f"cannot use the passphrase in {source.place}: it has more than one line")
    return hashlib.scrypt(
        passphrase,
        salt=source.salt,
        n=_SCRYPT_N,
        r=_SCRYPT_R,
        p=1,
        maxmem=_SCRYPT_MEMORY,
        dklen=_SIZE,
    )


def read_secret(path: Path) -> bytes:
    """Of a file that only its owner may read; a pipe is nobody else's anyway."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _unreadable(path, error) from error
    if stat.S_ISREG(mode) and mode & 0o077:
        raise Refused(
            f"cannot use {path}: others may read it (mode {mode & 0o777:o}). chmod 600 {path}"
        )
    return _read(path)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> Refused:
    return Refused(
        f"cannot read the key in {path}: {error.strerror}. Nothing was touched: put it back, the data is sealed with it."
    )
