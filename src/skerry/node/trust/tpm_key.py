"""A signing key (P-256) that is made in this device's TPM 2.0 and never leaves it.

What is kept of it is what that TPM alone can load, in the form that other tools read, too: «TSS2 PRIVATE KEY», below the
standard primary key of the owner hierarchy. It signs hashes (SHA-256); the TPM does nothing else in a TLS connection.
"""

from __future__ import annotations

import base64
import binascii
import re
from contextlib import AbstractContextManager

from skerry.kit.errors import Refused
from skerry.kit.tpm_tools import PATIENCE, Tools, TpmSilent, tools
from skerry.node.trust.der import elements, encoded
from skerry.node.trust.files import IN_TPM

_BLOCK = re.compile(
    rb"-----BEGIN TSS2 PRIVATE KEY-----\s([A-Za-z0-9+/=\s]+)-----END TSS2 PRIVATE KEY-----"
)
_LOADABLE = bytes.fromhex("06066781050a0103")
"""The type «loadable key», an OID with its tag."""

_NO_PASSWORD = bytes.fromhex("a0030101ff")
_OWNER = bytes.fromhex("020440000001")
_OCTETS, _SEQUENCE = 0x04, 0x30

_OF_THIS_TPM = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda"
_ADVICE = "The key works only in the TPM that made it. If that was cleared or replaced: skerry node enroll --again"


def make_key() -> bytes:
    """What is kept of a new key, as PEM. Raises Refused."""
    with tools(
        "Is this user allowed to use it (group tss), and is it enabled in the firmware?"
    ) as tpm:
        _primary(tpm)
        tpm.run(
            "tpm2_create", "-Q", "-C", "primary", "-g", "sha256", "-G", "ecc256:ecdsa-sha256", "-a", f"{_OF_THIS_TPM}|sign",
            "-u", "public", "-r", "private",
        )  # fmt: skip
        parts = [
            encoded(_OCTETS, (tpm.place / name).read_bytes()) for name in ("public", "private")
        ]
    der = encoded(_SEQUENCE, b"".join((_LOADABLE, _NO_PASSWORD, _OWNER, *parts)))
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (IN_TPM, base64.encodebytes(der), IN_TPM)


class TpmKey:
    """The key of which `pem` is kept; other blocks there are passed over. Raises Refused.

    What the TPM was asked to load stays with it as a context, which only it can read: a signature is one command.
    """

    def __init__(self, pem: bytes, patience: float = PATIENCE) -> None:
        self._public, self._private = _parts(pem)
        self._patience = patience
        self._context = b""

    def public_pem(self) -> bytes:
        """The public key (SubjectPublicKeyInfo). Raises Refused."""
        with self._tools() as tpm:
            self._load(tpm)
            tpm.run("tpm2_readpublic", "-Q", "-c", "key", "-f", "pem", "-o", "pem")
            return (tpm.place / "pem").read_bytes()

    def sign(self, digest: bytes) -> bytes:
        """The signature (ECDSA, DER) of a SHA-256. Raises Refused: another TPM, or none."""
        with self._tools() as tpm:
            if self._context:
                (tpm.place / "key").write_bytes(self._context)
                try:
                    return _signed(tpm, digest)
                except TpmSilent:
                    raise
                except Refused:
                    self._context = b""  # it began anew, as when a device has slept
            self._load(tpm)
            return _signed(tpm, digest)

    def _tools(self) -> AbstractContextManager[Tools]:
        return tools(_ADVICE, self._patience)

    def _load(self, tpm: Tools) -> None:
        (tpm.place / "public").write_bytes(self._public)
        (tpm.place / "private").write_bytes(self._private)
        _primary(tpm)
        tpm.run("tpm2_load", "-Q", "-C", "primary", "-u", "public", "-r", "private", "-c", "key")
        self._context = (tpm.place / "key").read_bytes()


def _signed(tpm: Tools, digest: bytes) -> bytes:
    how = ("-g", "sha256", "-s", "ecdsa", "-d", "-f", "plain")
    tpm.run("tpm2_sign", "-Q", "-c", "key", *how, "-o", "signature", content=digest)
    return (tpm.place / "signature").read_bytes()


def _primary(tpm: Tools) -> None:
    tpm.run(
        "tpm2_createprimary", "-Q", "-C", "o", "-g", "sha256", "-G", "ecc", "-a", f"{_OF_THIS_TPM}|restricted|decrypt",
        "-c", "primary",
    )  # fmt: skip


def _parts(pem: bytes) -> tuple[bytes, bytes]:
    try:
        found = _BLOCK.search(pem)
        if found is None:
            raise ValueError("no such block")  # noqa: TRY301 - one sentence for all of it
        ((_, inside),) = elements(binascii.a2b_base64(found[1]))
        public, private = (value for tag, value in elements(inside) if tag == _OCTETS)
    except (ValueError, IndexError) as error:
        raise Refused(
            "cannot read what is kept of this node's key in the TPM. Enrol this node again with a new token."
        ) from error
    return public, private
