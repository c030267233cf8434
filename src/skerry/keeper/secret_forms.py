"""The known forms of secrets, as regular expressions that cannot backtrack. Loaded by `masks` when one may be there. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ASSIGNED = rb"""(?:\\?["'])?[ \t]{0,3}+[=:]>?[ \t]{0,3}+"""
_PHRASE_FOLLOWS = rb"""(?:\\?["'])?[ \t]{0,3}+(?::|=>?[ \t])[ \t]{0,3}+"""
"""Without a blank after it, «=» is that of a query or of logfmt: one word follows."""

_SPOKEN_OF = rb"(?:-|(?:and|argument|expects|is|must|needs|not|option|or|requires|to|was)\b)"
_AS_ARGUMENT = rb"""(?:[ \t]{1,3}+|["'],[ \t]{0,3}+(?=["']))(?!""" + _SPOKEN_OF + rb")"
_SCHEME = rb"(?:(?:bearer|basic|token|digest)[ \t]++)?"
_QUOTED = rb"""\\"([^"\\\n]++)|"((?:[^"\\\n]|\\.)++)"|'([^'\n]++)"""
_WORD = rb"""(?![\\"'])[^\s,;&"'(){}\[\]]++"""
_PHRASE = rb"""(?![\\"'])(?:[^\r\n"\\]|\\(?!"))++"""
_VALUE = rb"(?:" + _QUOTED + rb"|(" + _WORD + rb"))"
"""In one of its groups, without quotes: a line of JSON stays one."""


def _assignment(word: bytes, tail: bytes) -> re.Pattern[bytes]:
    """«word=value» in its many spellings."""
    return re.compile(rb"(?i)" + word + tail + _ASSIGNED + _SCHEME + _VALUE)


def _option(word: bytes, tail: bytes) -> re.Pattern[bytes]:
    """«word value», as in a command line and in a list of arguments."""
    return re.compile(rb"(?i)" + word + tail + _AS_ARGUMENT + _VALUE)


_NAME_GOES_ON = rb"[\w-]{0,32}+"
_NUMBERED = rb"_?\d{0,3}+"
_PHRASE_FORM = re.compile(
    rb"(?i)passphrase" + _NAME_GOES_ON + _PHRASE_FOLLOWS + rb"(?:" + _QUOTED + rb"|(" + _PHRASE + rb"))"
)  # fmt: skip
_FORMS = {
    b"passw": (_assignment(b"passw(?:or)?d", _NAME_GOES_ON),),
    b"passphrase": (_PHRASE_FORM, _assignment(b"passphrase", _NAME_GOES_ON)),
    # «PWD=/srv» is the shell's directory.
    b"pwd": (_assignment(b"pwd", _NUMBERED + rb"(?!=/)"),),
    b"secret": (_assignment(b"secret", _NAME_GOES_ON),),
    b"token": (_assignment(b"token", _NUMBERED),),
    b"api_key": (_assignment(b"api_key", _NUMBERED),),
    b"api-key": (_assignment(b"api-key", _NUMBERED),),
    b"apikey": (_assignment(b"apikey", _NUMBERED),),
    b"access_key": (_assignment(b"access_key", _NUMBERED),),
    b"access-key": (_assignment(b"access-key", _NUMBERED),),
    b"authorization": (_assignment(b"authorization", b""),),
    b"bearer ": (re.compile(rb"(?i)bearer[ \t]++([\w.~+/=-]{16,}+)"),),
}
"""A word in small letters, and what may follow in any letters; what the group holds is masked."""

_OPTIONS = {
    b"passw": _option(b"passw(?:or)?d", _NUMBERED),
    b"passphrase": _option(b"passphrase", b""),
    b"pwd": _option(b"pwd", b""),
    b"secret": _option(b"secret", b"(?:-key)?"),
    b"token": _option(b"token", b""),
    b"api-key": _option(b"api-key", b""),
    b"access-key": _option(b"access-key", b""),
}
"""The same for words that end the name of an option: «--db-password»."""

_BEFORE = re.compile(rb"(?!no-)(?:\w[\w-]{0,30}+)?")

_AWS = re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")
_IN_ADDRESS = re.compile(rb"(?<=://)([^\s/@:]{0,256}+:)[^\s/@]++(?=@)")


def spans(data: bytes, small: bytes, words: Iterable[bytes]) -> list[tuple[int, int]]:
    """Where secrets stand in `data` that begin with `words`; `small` is `data` in small letters."""
    found: list[tuple[int, int]] = []
    for word in words:
        place = small.find(word)
        while place >= 0:
            match = _match(word, data, place)
            if match is not None:
                found.append(match.span(match.lastindex or 0))
            place = small.find(word, place + 1 if match is None else match.end())
    return found


def _match(word: bytes, data: bytes, place: int) -> re.Match[bytes] | None:
    for form in _FORMS[word]:
        if (match := form.match(data, place)) is not None:
            return match
    if word in _OPTIONS:
        dashes = data.rfind(b"--", max(0, place - 32), place)
        if dashes >= 0 and _BEFORE.fullmatch(data, dashes + 2, place):
            return _OPTIONS[word].match(data, place)
    return None


def addresses_masked(data: bytes, mask: bytes) -> bytes:
    """`data` without keys of AWS and passwords in URLs."""
    if b"AKIA" in data or b"ASIA" in data:
        data = _AWS.sub(mask, data)
    if b"://" in data and b"@" in data:
        data = _IN_ADDRESS.sub(rb"\1" + mask, data)
    return data
