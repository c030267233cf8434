"""Why a call to the hub failed: no answer in a few plain words, or an answer that says no. Used by `uplink`."""

from __future__ import annotations

import errno
import ssl
from typing import TYPE_CHECKING

import aiohttp

from skerry.kit.errors import Busy, InvalidInput, Refused, SkerryError, Transient
from skerry.kit.one_line import one_line
from skerry.node.ports import NotKnown, OutOfService
from skerry.wire.codec import decode
from skerry.wire.people import Problem

if TYPE_CHECKING:
    from skerry.wire.devices import WipeOrder

_BUSY, _GONE = 429, 410
_UNAVAILABLE = frozenset({_BUSY, 502, 503, 504})
"""Answers that say nothing about the request: a hub that is starting or busy, or a gateway without one."""

_LATEST = 60
"""Seconds: nobody stays away longer because he was asked to."""

NO_HUB = "Is this the address of a Skerry hub?"

_CAUSES = {
    errno.ECONNREFUSED: "connection refused",
    errno.ETIMEDOUT: "no answer to a connection",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network unreachable",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
}


def cause_of(error: Exception, connect: float, answer: float) -> str:
    """Why there was no answer, in a few plain words. `connect` and `answer` are the seconds that were waited for them."""
    for kind, words in (
        (aiohttp.ClientProxyConnectionError, "the proxy does not answer"),
        (aiohttp.ClientHttpProxyError, "the proxy refuses"),
        (aiohttp.ClientConnectorDNSError, "name not found"),
        (aiohttp.ConnectionTimeoutError, f"no connection within {connect:g} s"),
        (TimeoutError, f"no answer for {answer:g} s"),
        (aiohttp.ServerDisconnectedError, "connection closed without an answer"),
        (aiohttp.ClientPayloadError, "the answer was cut off"),
        (aiohttp.ClientResponseError, "it answers something else than HTTP"),
    ):
        if isinstance(error, kind):
            return words
    tls = _tls_error(error)
    if tls is not None:
        return _cause_in_tls(tls)
    if type(error) is aiohttp.ClientOSError and error.errno is None:
        # «Can not write request body»: it went while the call was written.
        return _CAUSES[errno.ECONNRESET]
    known = _CAUSES.get(error.errno or 0) if isinstance(error, OSError) else None
    return known or one_line(str(error)) or type(error).__name__


def _tls_error(error: Exception) -> ssl.SSLError | None:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        error = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    return error if isinstance(error, ssl.SSLError) else None


def _cause_in_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = getattr(error, "verify_message", "") or error.strerror
        return f"its certificate cannot be trusted: {why}"
    reason = getattr(error, "reason", None)
    if reason is None and error.strerror:
        return error.strerror  # not OpenSSL's words, but those of our own handshake
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST"}:
        return "it does not speak TLS; nodes and people have two addresses at a hub"
    return f"no TLS connection ({reason or error})"


class Answer(Exception):
    """The hub answered something else than 200."""

    def __init__(self, status: int, text: bytes, retry_after: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.text = text
        self.retry_after = retry_after


def judge(answer: Answer, what: str, hub: str) -> SkerryError:
    """The error that an answer other than 200 to the call `what` is: Transient, Busy, Refused, NotKnown or InvalidInput."""
    words, status = _words_of(answer), answer.status
    if status in _UNAVAILABLE:
        why = f": {words}" if words else ""
        said = f"cannot {what}: hub {hub} answered {status}{why}"
        return Busy(said, _seconds(answer)) if status == _BUSY else Transient(said)
    if status == _GONE and (order := _order_of(answer)) is not None:
        return OutOfService(f"cannot {what}: {words}", order, hub)
    if status in {401, 403}:
        return NotKnown(
            f"cannot {what}: hub {hub} does not know this node or what it shows "
            f"({words or f'it answered {status}'}). Enrol it again: skerry node enroll --again"
        )
    if not words:
        return Refused(f"cannot {what}: {hub} answered {status}, as no Skerry hub does. {NO_HUB}")
    said = words if words.startswith("cannot ") else f"cannot {what}: {words}"
    return InvalidInput(said) if status == 400 else Refused(said)


def _seconds(answer: Answer) -> int:
    """When to ask again; a gateway may say anything, a date too."""
    said = answer.retry_after
    return min(max(int(said), 1), _LATEST) if said.isdecimal() else 1


def _order_of(answer: Answer) -> WipeOrder | None:
    from skerry.wire.devices import Retired  # noqa: PLC0415 - once in a node's life

    try:
        return decode(answer.text, Retired, "an order").wipe
    except InvalidInput:
        return None


def _words_of(answer: Answer) -> str:
    """What a hub says about an error; empty when it is none that answers so."""
    try:
        return decode(answer.text, Problem, "problem").error
    except InvalidInput:
        return ""


def origin(url: str) -> str:
    """The address of the hub in a URL, without the path."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"
