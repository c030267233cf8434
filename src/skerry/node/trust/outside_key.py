"""TLS by a private key that OpenSSL does not have: wherever it would sign, it asks us.

Python's ssl takes keys from files only, and OpenSSL's provider for TPMs would be asked for far more than this one key
(docs/adr/0032). But the library that it is linked to lets a program replace how elliptic keys sign (EC_KEY_METHOD,
since OpenSSL 1.1). So a stand-in is loaded, with the right public and a meaningless private key, while such a method is
the default one; keys that are loaded before and after are none of ours. Called through ctypes, in the very library that
Python's ssl uses.
"""

from __future__ import annotations

import _ssl
import base64
import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator

from skerry.kit.errors import Refused
from skerry.node.trust.der import encoded

_POINTER = ctypes.c_void_p
_SIGN = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int, _POINTER, ctypes.c_int, _POINTER, ctypes.POINTER(ctypes.c_uint),
    _POINTER, _POINTER, _POINTER,
)  # fmt: skip

_DEFAULT = threading.Lock()
"""Held by who has changed the default method, which is the process's: whoever came between would leave the wrong one."""

_LONGEST = 72
"""Bytes that OpenSSL has room for: those of a signature by P-256 in DER form."""

_P256 = bytes.fromhex("06082a8648ce3d030107")
_INTEGER, _BITS, _OCTETS, _SEQUENCE = 0x02, 0x03, 0x04, 0x30
_PARAMETERS, _PUBLIC = 0xA0, 0xA1


class OutsideKey:
    """`sign` gets a hash and returns its signature in DER form; what it raises is a signature that was not made.

    It is called in the thread of the handshake, which waits. An object of this kind lives as long as its process, for
    OpenSSL does not tell when it needs the method no more. Raises Refused where OpenSSL is not as it has to be.
    """

    def __init__(self, sign: Callable[[bytes], bytes]) -> None:
        self._library = _library()
        self._sign = sign
        self._called = _SIGN(self._answer)
        default = self._library.EC_KEY_OpenSSL()
        self._method = self._library.EC_KEY_METHOD_new(default)
        setup, structured = _POINTER(), _POINTER()
        self._library.EC_KEY_METHOD_get_sign(
            default, None, ctypes.byref(setup), ctypes.byref(structured)
        )
        self._library.EC_KEY_METHOD_set_sign(
            self._method, ctypes.cast(self._called, _POINTER), setup, structured
        )

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Elliptic keys that are loaded meanwhile sign by this one; one thread at a time."""
        with _DEFAULT:
            before = self._library.EC_KEY_get_default_method()
            self._library.EC_KEY_set_default_method(self._method)
            try:
                yield
            finally:
                self._library.EC_KEY_set_default_method(before)

    def _answer(
        self, _kind: int, digest: int, size: int, place: int, length: ctypes._Pointer[ctypes.c_uint],
        _inverse: int, _random: int, _key: int,
    ) -> int:  # fmt: skip
        try:
            signature = self._sign(ctypes.string_at(digest, size))
        except Refused:
            return 0
        if len(signature) > _LONGEST:
            return 0
        ctypes.memmove(place, signature, len(signature))
        length[0] = len(signature)
        return 1


def stand_in(point: bytes) -> bytes:
    """A key (PEM) with this public point of P-256; its private part is the number one."""
    private = encoded(_OCTETS, (1).to_bytes(32, "big"))
    public = encoded(_PUBLIC, encoded(_BITS, b"\0" + point))
    parts = (encoded(_INTEGER, b"\1"), private, encoded(_PARAMETERS, _P256), public)
    text = base64.encodebytes(encoded(_SEQUENCE, b"".join(parts)))
    return b"-----BEGIN EC PRIVATE KEY-----\n%b-----END EC PRIVATE KEY-----\n" % text


def _library() -> ctypes.CDLL:
    """What Python's own `_ssl` is linked to: another copy would not be asked."""
    try:
        library = ctypes.CDLL(_ssl.__file__)
        for name, result, count in (
            ("EC_KEY_OpenSSL", _POINTER, 0),
            ("EC_KEY_METHOD_new", _POINTER, 1),
            ("EC_KEY_METHOD_get_sign", None, 4),
            ("EC_KEY_METHOD_set_sign", None, 4),
            ("EC_KEY_get_default_method", _POINTER, 0),
            ("EC_KEY_set_default_method", None, 1),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, [_POINTER] * count
    except (AttributeError, OSError) as error:
        raise Refused(
            "cannot use a key in the TPM: this Python brings an OpenSSL of its own that lets nobody else sign. Use the system's "
            "Python, or trust.key: file."
        ) from error
    return library
