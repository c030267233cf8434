"""Masking secrets in what workloads print, before it reaches the disk. Pure.

Every step is linear in the output. Known forms are looked for by their words, which costs next to nothing where
there are none (a regular expression over everything would cost twenty times as much); only where a word
stands, an expression that cannot backtrack reads what follows it. Patterns of users are no regular expressions for
the same reason: a «*» stands for the rest of its word, or up to the text that follows it in the same word.
"""

from __future__ import annotations

import re

from skerry.keeper.log_rules import LogRules

MASK = b"***"

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
_WORDS = (
    (b"passw", _assignment(b"passw(?:or)?d", _NAME_GOES_ON)),
    (b"secret", _assignment(b"secret", _NAME_GOES_ON)),
    (b"token", _assignment(b"token", _NUMBERED)),
    (b"api_key", _assignment(b"api_key", _NUMBERED)),
    (b"api-key", _assignment(b"api-key", _NUMBERED)),
    (b"apikey", _assignment(b"apikey", _NUMBERED)),
    (b"access_key", _assignment(b"access_key", _NUMBERED)),
    (b"authorization", _assignment(b"authorization", b"")),
    (b"bearer ", re.compile(rb"(?i)bearer[ \t]++([\w.~+/=-]{16,}+)")),
)
"""A word in small letters, and what must follow in any letters; what its group holds is masked."""

_AWS = re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")
_IN_ADDRESS = re.compile(rb"(?<=://)([^\s/@:]{0,256}+:)[^\s/@]++(?=@)")
_END_OF_WORD = re.compile(rb"\s")


class Masks:
    """Masks by the rules of one log. What has been masked once stays as it is when it is masked again."""

    def __init__(self, rules: LogRules) -> None:
        self._known = rules.known
        self._secrets = [_encode(secret) for secret in rules.secrets if secret]
        patterns = [_encode(pattern).split(b"*") for pattern in rules.patterns]
        self._patterns = [parts for parts in patterns if parts[0]]

    def apply(self, data: bytes) -> bytes:
        """`data`, whole lines as a rule, with «***» in the place of what must not be seen."""
        for secret in self._secrets:
            data = data.replace(secret, MASK)
        for parts in self._patterns:
            if parts[0] in data:
                data = _without_pattern(data, parts)
        return _without_known(data) if self._known else data


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _without_known(data: bytes) -> bytes:
    small = data.lower()
    spans: list[tuple[int, int]] = []
    for word, form in _WORDS:
        place = small.find(word)
        while place >= 0:
            found = form.match(data, place)
            if found is not None:
                spans.append(found.span(found.lastindex or 0))
            place = small.find(word, place + 1 if found is None else found.end())
    data = _masked(data, spans)
    if b"AKIA" in data or b"ASIA" in data:
        data = _AWS.sub(MASK, data)
    if b"://" in data and b"@" in data:
        data = _IN_ADDRESS.sub(rb"\1" + MASK, data)
    return data


def _masked(data: bytes, spans: list[tuple[int, int]]) -> bytes:
    """`data` without these spans, which may overlap."""
    if not spans:
        return data
    pieces, place = [], 0
    for start, end in sorted(spans):
        if start >= place:
            pieces += [data[place:start], MASK]
        place = max(place, end)
    return b"".join(pieces) + data[place:]


def _without_pattern(data: bytes, parts: list[bytes]) -> bytes:
    """Masks what the «*» of a pattern stand for; of a pattern without «*», the whole text."""
    if len(parts) == 1:
        return data.replace(parts[0], MASK)
    spans: list[tuple[int, int]] = []
    place = data.find(parts[0])
    while place >= 0:
        blank = _END_OF_WORD.search(data, place + len(parts[0]))
        end = blank.start() if blank else len(data)
        found = _gaps(data, place, end, parts)
        spans += found
        # What fits nowhere in this word from here on does not fit later in it.
        place = data.find(parts[0], max(found[-1][1] if found else end, place + 1))
    return _masked(data, spans)


def _gaps(data: bytes, place: int, end: int, parts: list[bytes]) -> list[tuple[int, int]]:
    """What the «*» stand for where the first part is at `place`; nothing when the pattern does not fit before `end`."""
    spans = []
    place += len(parts[0])
    for part in parts[1:]:
        at = data.find(part, place, end) if part else end
        if at < 0:
            return []
        spans.append((place, at))
        place = at + len(part)
    return spans
