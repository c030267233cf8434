"""Masking secrets in what workloads print, before it reaches the disk. Pure.

Every step is linear in the output. Known forms are looked for by their words, which costs next to nothing where
there are none (a regular expression over everything would cost twenty times as much); only where a word
stands, an expression that cannot backtrack reads what follows it. Patterns of users are no regular expressions for
the same reason: a «*» stands for the rest of its word, or up to the text that follows it in the same word.
"""

from __future__ import annotations

from skerry.keeper.log_rules import LogRules

MASK = b"***"

_WORDS = (
    b"passw", b"passphrase", b"pwd", b"secret", b"token", b"api_key", b"api-key", b"apikey",
    b"access_key", b"access-key", b"authorization", b"bearer ", b"skt_",
)  # fmt: skip
"""In small letters: what the known forms begin with."""

_LONGEST_BEGINNING = 4096

_BLANKS = b" \t\n\r\f\v"


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

    def begun(self, line: bytes) -> int:
        """How many bytes at the end of an unfinished line may begin a secret, whose rest has not come yet."""
        longest = 0
        for secret in self._secrets:
            tail = line[-min(len(secret) - 1, _LONGEST_BEGINNING) :] if len(secret) > 1 else b""
            at = tail.find(secret[:1])
            while at >= 0 and not secret.startswith(tail[at:]):
                at = tail.find(secret[:1], at + 1)
            longest = max(longest, len(tail) - at if at >= 0 else 0)
        return longest


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _without_known(data: bytes) -> bytes:
    small = data.lower()
    words = [word for word in _WORDS if word in small]
    if words or b"AKIA" in data or b"ASIA" in data or (b"://" in data and b"@" in data):
        # Regular expressions take half a megabyte: only where somebody prints what looks like a secret.
        from skerry.keeper.secret_forms import addresses_masked, spans  # noqa: PLC0415

        return addresses_masked(_masked(data, spans(small, words)), MASK)
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
        end = _end_of_word(data, place + len(parts[0]))
        found = _gaps(data, place, end, parts)
        spans += found
        # What fits nowhere in this word from here on does not fit later in it.
        place = data.find(parts[0], max(found[-1][1] if found else end, place + 1))
    return _masked(data, spans)


def _end_of_word(data: bytes, place: int) -> int:
    """The first blank from `place` on."""
    for end in range(place, len(data)):
        if data[end] in _BLANKS:
            return end
    return len(data)


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
