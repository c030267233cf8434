"""The known forms of secrets, as regular expressions that cannot backtrack. Loaded by `masks` when one may be there. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ASSIGNED = rb"""(?:\\?["'])?[ \t]{0,3}+[=:]>?[ \t]{0,3}+"""
_SCHEME = rb"(?:(?:bearer|basic|token|digest)[ \t]++)?"
_VALUE = (
    rb"""(?:\\"([^"\\\n]++)|"((?:[^"\\\n]|\\.)++)|'([^'\n]++)|("""
    rb"""(?![\\"'])[^\s,;&"'(){}\[\]]++))"""
)
"""In one of its groups, without quotes: a line of JSON stays one."""


def _assignment(word: bytes, tail: bytes) -> re.Pattern[bytes]:
    """«word=value» in its many spellings."""
    return re.compile(rb"(?i)" + word + tail + _ASSIGNED + _SCHEME + _VALUE)


_NAME_GOES_ON = rb"[\w-]{0,32}+"
_NUMBERED = rb"_?\d{0,3}+"
_FORMS = {
    b"passw": _assignment(b"passw(?:or)?d", _NAME_GOES_ON),
    b"secret": _assignment(b"secret", _NAME_GOES_ON),
    b"token": _assignment(b"token", _NUMBERED),
    b"api_key": _assignment(b"api_key", _NUMBERED),
    b"api-key": _assignment(b"api-key", _NUMBERED),
    b"apikey": _assignment(b"apikey", _NUMBERED),
    b"access_key": _assignment(b"access_key", _NUMBERED),
    b"authorization": _assignment(b"authorization", b""),
    b"bearer ": re.compile(rb"(?i)bearer[ \t]++([\w.~+/=-]{16,}+)"),
}
"""A word in small letters, and what must follow in any letters; what its group holds is masked."""

_AWS = re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")
_IN_ADDRESS = re.compile(rb"(?<=://)([^\s/@:]{0,256}+:)[^\s/@]++(?=@)")


def spans(data: bytes, small: bytes, words: Iterable[bytes]) -> list[tuple[int, int]]:
    """Where secrets stand in `data` that begin with `words`; `small` is `data` in small letters."""
    found: list[tuple[int, int]] = []
    for word in words:
        form = _FORMS[word]
        place = small.find(word)
        while place >= 0:
            match = form.match(data, place)
            if match is not None:
                found.append(match.span(match.lastindex or 0))
            place = small.find(word, place + 1 if match is None else match.end())
    return found


def addresses_masked(data: bytes, mask: bytes) -> bytes:
    """`data` without keys of AWS and passwords in URLs."""
    if b"AKIA" in data or b"ASIA" in data:
        data = _AWS.sub(mask, data)
    if b"://" in data and b"@" in data:
        data = _IN_ADDRESS.sub(rb"\1" + mask, data)
    return data
