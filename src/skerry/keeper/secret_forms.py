"""The known forms of secrets, by expressions that cannot backtrack. Loaded by `masks` when one may be there. Pure.

A form is a name of `_NAMES`, what joins it with its value, and the value. One that is quoted ends with its quote, one
that is not with the next blank: whatever else ends it might be a part of it. `tests/secret_lines.py` has examples.
"""

from __future__ import annotations

import re
from collections.abc import Iterable


def _held(form: bytes, times: bytes) -> bytes:
    """`form` as many `times` as it can be, of which nothing is given back, and nothing remembered.

    As `(?:form)*+`, which Python before 3.11.5, thus Debian 12's, reads wrongly where `form` has more than one
    character: what it took before it failed stays taken (gh-106052). So none fails here: it ends with nothing.
    """
    return rb"(?:" + form + rb"|)" + times + rb"+"


def _some(form: bytes, more: bytes = b"*") -> bytes:
    """One of `form`, and as many `more` as there can be."""
    return rb"(?:" + form + rb")" + _held(form, more)


_NAMES = {
    b"passw": rb"passw(?:or)?d" + _held(rb"[_-]?(?:hash|confirm(?:ation)?|value)", b"?"),
    b"passphrase": rb"passphrase",
    b"pwd": rb"pwd",
    b"secret": rb"secret" + _held(rb"[_-]?(?:access[_-]?key|key(?:[_-]?base)?|id|value)", b"?"),
    b"token": rb"token" + _held(rb"[_-]?value", b"?"),
    b"api_key": rb"api_key",
    b"api-key": rb"api-key",
    b"apikey": rb"apikey",
    b"access_key": rb"access_key",
    b"access-key": rb"access-key",
    b"authorization": rb"authorization",
}
"""Names in small letters by the words that `masks` looks for. Anything may come before («db_password»), digits after."""

_LONG = frozenset({b"passphrase", b"authorization"})
"""Their values have blanks: after «: » they take the rest of the line."""

_ESCAPE = rb"(?:\x1b|\\++(?:u001b|x1b|033)|\^\[|\#033)"
_COLOUR = (
    rb"(?>" + _ESCAPE + rb"\[[0-?]{0,32}+[@-~]|\x1b\][^\x07\x1b\n]{0,256}+(?:\x07|\x1b\\)|\x1b[(-/][0-~])"
)  # fmt: skip
_BLANK = rb"[ \t]|" + _COLOUR
_GAP = _held(_BLANK, b"*")
_QUOTE = rb"\\*+[\"']"
_LITERAL = _held(rb"[bfru]{1,2}(?=" + _QUOTE + rb")", b"?")
"""What Python puts before a quote."""

_SPOKEN_OF = rb"(?:-|(?:and|argument|expects|is|must|needs|not|option|or|requires|to|was)\b)"
_JOINT = (
    rb"(?:" + _GAP + _held(rb"(?P<closed>" + _QUOTE + rb")", b"?") + rb"\]?+" + _GAP
    + rb"(?P<assigned>[=:]{1,2}+>?+)" + _GAP
    + rb"|" + _QUOTE + rb"[ \t]*+(?P<listed>,)" + _GAP + rb"(?=" + _LITERAL + _QUOTE + rb")"
    + rb"|(?P<spaced>" + _some(_BLANK) + rb")(?!" + _SPOKEN_OF + rb"))"
)  # fmt: skip
"""What may stand between a name and its value, by the name of its group."""

_FORMS = {word: re.compile(name + rb"_?\d{0,3}+" + _JOINT) for word, name in _NAMES.items()}
_BEARER = re.compile(rb"bearer[ \t]++([\w.~+/=-]{16,}+)")
_OF_OUR_OWN = re.compile(rb"(?<![a-z0-9])skt_([0-9a-f]{64})(?![0-9a-f])")
"""An API token of a hub (docs/operate/access.md), wherever it stands."""

_SCHEME = re.compile(rb"(?:basic|bearer|digest|negotiate|token|aws4-[\w-]++)[ \t]++")

_OPENING = re.compile(_LITERAL + rb"(\\*+)([\"'])")
_QUOTED = {
    b'"': re.compile(_held(rb'[^"\\\r\n]++|\\.|"(?=[\w"])', b"*")),
    b"'": re.compile(_held(rb"[^'\\\r\n]++|\\.|'(?=[\w'])", b"*")),
}
"""Up to the closing quote, or the end of the line. A quote before a letter closes nothing."""

_ESCAPED = re.compile(rb"(\\++)([\"'])" + _held(rb"(?!\2)[^\\\r\n]|(?!\1\2)\\++\2?+", b"*"))
"""The same within a quoted text, from the opening quote on: the one that closes has as many backslashes as it."""

_STRING = (
    rb'"' + _held(rb'[^"\\\r\n]++|\\.', b"*") + rb"\"|'" + _held(rb"[^'\\\r\n]++|\\.", b"*") + rb"'"
)
_ITEMS = rb"[^\[\](){}\"'\r\n]++|" + _STRING
_BRACKETS = re.compile(
    rb"[\[({](?=[ \t]{0,8}+[bfru]?\\*+[\"'\[({])"
    + _held(_ITEMS + rb"|[\[({]" + _held(_ITEMS, b"*") + rb"[\])}]", b"*")
    + rb"(?:[\])}]|[^\r\n]*+)"
)  # fmt: skip
"""A list or an object with texts, one more in each of its items; what is deeper, up to the end of the line."""

_ENDS = rb"[\"']?+[,;]?+(?:\s|\Z)"
_ENDS_IN_DOCUMENT = _ENDS + rb"|[\"'][,:})\]]"
_FADES = _some(_COLOUR, b"{0,3}") + rb"(?:\s|\Z)"


def _unquoted(ends: bytes, others: bytes = b"") -> bytes:
    """What goes on to the next blank, but for a quote, comma or colour just before it, and what `others` says."""
    plain = rb"[^\s\"',;\x1b" + others + rb"]++"
    mark = rb"(?!" + ends + rb")[\"',;]"
    return plain + rb"|" + mark + rb"|(?!" + _FADES + rb")\x1b"


_ESCAPES = rb"\\[^\s]?+|"
_WORD = {
    (False, False): re.compile(_some(_unquoted(_ENDS))),
    (False, True): re.compile(_some(_unquoted(_ENDS, rb"&"))),
    (True, False): re.compile(_some(_ESCAPES + _unquoted(_ENDS_IN_DOCUMENT, rb"\\"))),
    (True, True): re.compile(_some(_ESCAPES + _unquoted(_ENDS_IN_DOCUMENT, rb"\\&"))),
}
"""By whether it is in a document, whose quotes close its texts, and in the query of a URL."""

_REST = {
    False: re.compile(
        _some(rb"[^\r\n\x1b]++|(?!" + _some(_COLOUR, b"{0,3}") + rb"[ \t]?(?:[\r\n]|\Z))\x1b")
    ),
    True: re.compile(_some(rb"[^\r\n\"'\\]++|\\[^\r\n]?+|(?!" + _ENDS_IN_DOCUMENT + rb")[\"']")),
}
"""The rest of a line, by whether it is in a document."""

_OF_JSON = re.compile(rb"(?:(null|none|true|false|\*{3})|-?+\d[\d.e+-]*+)(?=\s*+(?:[,}\]]|\Z))")
_NOTHING = frozenset({b"", b"null", b"none", b"nil", b"true", b"false", b"undefined"})
_DIRECTORY = re.compile(_LITERAL + _held(_QUOTE, b"?") + rb"(?:~?/|[a-z]:\\)")
_FAILURE = re.compile(
    rb"(?:no such|not found|not a|is a|permission|operation|file exists|input/output|cannot|too many)\b"
)
_GRAMMAR = (b"expected", b"illegal", b"unrecognized", b"unrecognised")
"""«unexpected token: foo» comes from a parser."""

_LONGEST_GRAMMAR = 15
"""What is longer may be a token of the other kind."""

_DOCUMENT = re.compile(rb"[\[{]\s?\\*+[\"']")
_NAME_CHARACTERS = b"abcdefghijklmnopqrstuvwxyz0123456789_-"
_PATH_CHARACTERS = _NAME_CHARACTERS + b"./"
_FAR = 128

_BEFORE_OPTION = re.compile(rb"(?!no-)(?:\w[\w-]{0,30}+)?")
_AWS = re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")
_IN_ADDRESS = re.compile(rb"(?<=://)([^\s/@:]{0,256}+:)[^\s/@]++(?=@)")

Span = tuple[int, int]


class _Documents:
    """Tells whether a place is in a line of JSON or the like. Asked in rising order it reads each line once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._end = -1
        self._first = 0

    def hold(self, place: int) -> bool:
        if place > self._end:
            start = self._data.rfind(b"\n", max(0, self._end), place) + 1 or max(0, self._end)
            end = self._data.find(b"\n", place)
            self._end = len(self._data) if end < 0 else end
            if self._data[start : self._end].lstrip().startswith(b'"'):
                self._first = start
            else:
                match = _DOCUMENT.search(self._data, start, self._end)
                self._first = match.start() if match else self._end
        return self._first < place


def spans(small: bytes, words: Iterable[bytes]) -> list[Span]:
    """Where secrets stand whose names begin with `words` in the text that is `small` in small letters."""
    found: list[Span] = []
    for word in words:
        if word in _FORMS:
            found += _values(small, word)
        else:
            form = _OF_OUR_OWN if word == b"skt_" else _BEARER
            found += [match.span(1) for match in form.finditer(small)]
    return found


def _values(small: bytes, word: bytes) -> Iterable[Span]:
    form, documents = _FORMS[word], _Documents(small)
    place = small.find(word)
    while place >= 0:
        end = place + len(word)
        joint = form.match(small, place)
        if joint is not None:
            span = _value(small, word, joint, documents)
            if span is not None:
                yield span
                end = span[1]
        place = small.find(word, end)


def _value(small: bytes, word: bytes, joint: re.Match[bytes], documents: _Documents) -> Span | None:
    """What is named so, without its quotes; nothing where no secret is meant."""
    closed, assigned = joint.group("closed", "assigned")
    place = joint.end()
    if closed and (opening := _OPENING.match(small, place)):
        span = (
            _quoted(small, opening)
            if word != b"pwd" or not _DIRECTORY.match(small, place)
            else (place, place)
        )
    elif closed and (value := _OF_JSON.match(small, place)):
        span = (place, place) if value[1] else value.span()
    else:
        before = small[max(0, joint.start() - _FAR) : joint.start()]
        stem = before.rstrip(_NAME_CHARACTERS)
        if assigned is None:
            if not _is_option(before) and not (joint["listed"] and _is_first(word, stem)):
                return None
        elif _is_other(small, word, joint, before, stem):
            return None
        span = _open(small, word, joint, joint.start() - len(before) + len(stem), documents)
    text = small[slice(*span)].rstrip(b")}].,;")
    if (
        text in _NOTHING
        or not text.strip(b"*")
        or (word == b"token" and len(text) <= 3 and text.isdigit())
    ):
        return None
    return span


def _open(
    small: bytes, word: bytes, joint: re.Match[bytes], begin: int, documents: _Documents
) -> Span:
    """The value after a name that is not quoted itself and, with all that belongs to it, begins at `begin`."""
    place = joint.end()
    if opening := _OPENING.match(small, place):
        if joint["assigned"] and documents.hold(place) and _closes(small, opening.end()):
            return place, place
        return _quoted(small, opening)
    if scheme := _SCHEME.match(small, place):
        place = scheme.end()
    if brackets := _BRACKETS.match(small, place):
        return brackets.span()
    mark = small[max(0, begin - 1) : begin]
    form = _WORD[documents.hold(place), mark in (b"?", b"&")]
    if word in _LONG and _takes_the_rest(small, place, joint["assigned"], scheme):
        if mark in _QUOTED:
            opening_at = begin - 1
            while opening_at > max(0, begin - _FAR) and small[opening_at - 1 : opening_at] == b"\\":
                opening_at -= 1
            return place, _end_of_quoted(small, place, opening_at, mark)
        form = _REST[documents.hold(place)]
    value = form.match(small, place)
    return value.span() if value else (place, place)


def _takes_the_rest(
    small: bytes, place: int, assigned: bytes | None, scheme: re.Match[bytes] | None
) -> bool:
    """Without a blank after it, «=» is that of a query or of logfmt: one word follows."""
    return assigned == b":" or (
        assigned is not None and (scheme is not None or small[place - 1] in b" \t")
    )


def _quoted(small: bytes, opening: re.Match[bytes]) -> Span:
    start = opening.end()
    if scheme := _SCHEME.match(small, start):
        start = scheme.end()
    return start, _end_of_quoted(small, start, opening.start(1), opening[2])


def _is_option(before: bytes) -> bool:
    dashes = before.rfind(b"--", -34)
    return dashes >= 0 and _BEFORE_OPTION.fullmatch(before, dashes + 2) is not None


def _is_first(word: bytes, stem: bytes) -> bool:
    """Whether it is the first of a pair, as in a list of headers."""
    opening = stem[:-1].rstrip(b"\\").removesuffix(b"b").removesuffix(b"u")
    return word == b"authorization" or opening.endswith((b"(", b"["))


def _is_other(
    small: bytes, word: bytes, joint: re.Match[bytes], before: bytes, stem: bytes
) -> bool:
    """Whether it is a file, a directory, or the word of a parser."""
    place = joint.end()
    if word == b"pwd" and _DIRECTORY.match(small, place):
        return True
    if joint["assigned"] != b":" or joint["closed"]:
        return False
    if word == b"token" and stem == before and stem.rstrip(b" \t").endswith(_GRAMMAR):
        value = small[place : place + _LONGEST_GRAMMAR + 1].split(None, 1)
        return not value or len(value[0]) <= _LONGEST_GRAMMAR
    if stem.endswith((b"/", b".")):
        path = before[len(before.rstrip(_PATH_CHARACTERS)) :]
        # «user/password: …» is no path.
        if path.startswith((b"/", b"./", b"../")):
            return small[place - 1] in b" \t" or small.startswith(b"/", place)
        return _FAILURE.match(small, place) is not None
    return False


def _closes(small: bytes, place: int) -> bool:
    """Whether the quote before `place` ends a text rather than beginning one."""
    return small[place : place + 1] in (b"", b"\n", b"\r", b",", b"}", b"]")


def _end_of_quoted(small: bytes, start: int, opening: int, quote: bytes) -> int:
    """Where the text that goes on at `start` ends; `opening` is where its quote and the backslashes before it are."""
    if small[opening : opening + 1] == b"\\":
        match = _ESCAPED.match(small, opening)
    else:
        match = _QUOTED[quote].match(small, start)
    return max(start, match.end()) if match else start


def addresses_masked(data: bytes, mask: bytes) -> bytes:
    """`data` without keys of AWS and passwords in URLs."""
    if b"AKIA" in data or b"ASIA" in data:
        data = _AWS.sub(mask, data)
    if b"://" in data and b"@" in data:
        data = _IN_ADDRESS.sub(rb"\1" + mask, data)
    return data
