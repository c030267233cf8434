"""As much of a certificate as a node needs to know: from when to when it holds, what for, and of which key. Pure.

Read by hand, for «cryptography» would cost the agent 9 MB. Who signed what is judged by OpenSSL alone.
"""

from __future__ import annotations

import binascii
import datetime
import re
from collections.abc import Iterator

import msgspec

from skerry.kit.clock import NS
from skerry.kit.errors import InvalidInput

_UTC_TIME = 0x17
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_EXTENDED_KEY_USAGE = bytes.fromhex("551d25")
SERVER_AUTH = bytes.fromhex("2b06010505070301")
"""The usage of who may be connected to, as an OID in DER form."""

_POINT, _UNCOMPRESSED = 65, 0x04

_BLOCK = re.compile(
    r"-----BEGIN CERTIFICATE-----\s*([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----", re.ASCII
)


class Read(msgspec.Struct, frozen=True):
    """What a certificate says of itself: it holds from and until (ns since 1970), and for these usages (OIDs)."""

    not_before: int
    not_after: int
    usages: frozenset[bytes]


def certificates_in(pem: str) -> list[bytes]:
    """The certificates in a text, in DER form; other blocks are passed over. Raises InvalidInput."""
    try:
        return [binascii.a2b_base64(block) for block in _BLOCK.findall(pem)]
    except binascii.Error as error:
        raise InvalidInput(f"cannot read a certificate: {error}") from error


def read_certificate(der: bytes) -> Read:
    """Raises InvalidInput."""
    try:
        certificate = next(elements(der))[1]
        fields = list(elements(next(elements(certificate))[1]))
        if fields[0][0] == _VERSION:
            del fields[0]
        begins, ends = (_moment(*element) for element in elements(fields[3][1]))
        extensions = b"".join(value for tag, value in fields if tag == _EXTENSIONS)
        return Read(begins, ends, frozenset(_usages(extensions)))
    except (IndexError, ValueError, StopIteration) as error:
        raise InvalidInput("cannot read a certificate: it is not in the form of X.509") from error


def _usages(extensions: bytes) -> Iterator[bytes]:
    for _, sequence in elements(extensions):
        for _, extension in elements(sequence):
            parts = [value for _, value in elements(extension)]
            if parts[0] == _EXTENDED_KEY_USAGE:
                for _, listed in elements(parts[-1]):
                    yield from (oid for _, oid in elements(listed))


def _moment(tag: int, text: bytes) -> int:
    digits = text.decode("ascii").removesuffix("Z")
    if tag == _UTC_TIME:
        digits = ("20" if digits[:2] < "50" else "19") + digits
    rest = (int(digits[at : at + 2]) for at in range(4, 14, 2))
    moment = datetime.datetime(int(digits[:4]), *rest, tzinfo=datetime.UTC)  # type: ignore[misc, arg-type]
    return int(moment.timestamp()) * NS


def point_of(request: str) -> bytes:
    """The public key in a certificate request (PEM) for P-256, as an uncompressed point. Raises InvalidInput."""
    try:
        der = binascii.a2b_base64("".join(request.strip().splitlines()[1:-1]))
        ((_, whole),) = elements(der)
        fields = list(elements(next(elements(whole))[1]))
        point = list(elements(fields[2][1]))[1][1][1:]  # behind the number of bits that are unused
    except (IndexError, ValueError, StopIteration) as error:
        raise InvalidInput("cannot read a certificate request") from error
    if len(point) != _POINT or point[0] != _UNCOMPRESSED:
        raise InvalidInput("cannot use a certificate request: its key is not of P-256")
    return point


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of what is encoded one after the other. Raises IndexError or ValueError."""
    at = 0
    while at < len(data):
        tag, size = data[at], data[at + 1]
        at += 2
        if size >= 0x80:
            more = size & 0x7F
            size = int.from_bytes(data[at : at + more], "big")
            at += more
        if at + size > len(data):
            raise ValueError("cut off")
        yield tag, data[at : at + size]
        at += size


def encoded(tag: int, content: bytes) -> bytes:
    """One element, as `elements` reads it."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content
