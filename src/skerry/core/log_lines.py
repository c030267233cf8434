"""Lines of workloads' logs: their parts, and the level that a line states in one of the usual ways. Pure.

The form is «TIME STREAM F|P text» (`skerry.keeper.logs`). Read by the node, which filters and ships by level, and by
the command line, which shows levels in colour. What states no level has none: stderr alone does not make an error.
"""

from __future__ import annotations

import re
from typing import Final, get_args

import msgspec

from skerry.core.names import NAMES_OF_OUR_OWN
from skerry.kit.clock import iso
from skerry.wire.records import Meta, Row
from skerry.wire.workload import Level

LEVELS: Final[tuple[Level, ...]] = get_args(Level)

_STAMP = len("2026-11-21T02:34:44.123456789Z")
_LOOKED_AT = 2000
"""So many characters of a line are searched for its level."""
_BEGIN = 120
"""A word that stands alone says the level only near the beginning of its line."""

_WORDS: Final[dict[str, Level]] = {
    "trace": "debug", "debug": "debug", "fine": "debug", "verbose": "debug",
    "info": "info", "notice": "info", "information": "info", "informational": "info",
    "warn": "warning", "warning": "warning",
    "error": "error", "err": "error", "eror": "error", "severe": "error", "exception": "error",
    "critical": "critical", "crit": "critical", "fatal": "critical", "panic": "critical", "alert": "critical",
    "emerg": "critical", "emergency": "critical", "dpanic": "critical",
}  # fmt: skip
_SYSLOG: Final[tuple[Level, ...]] = (
    "critical", "critical", "critical", "error", "warning", "info", "info", "debug",
)  # fmt: skip
_GLOG: Final[dict[str, Level]] = {
    "D": "debug",
    "I": "info",
    "W": "warning",
    "E": "error",
    "F": "critical",
}
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_SYSLOG_FORM = re.compile(r"<(\d{1,3})>")
_GLOG_FORM = re.compile(r"([DIWEF])\d{4} \d\d:\d\d")
_JSON_FORM = re.compile(
    r'"(?:level|severity|levelname|log\.level|lvl)"\s{0,4}:\s{0,4}(?:"(\w{1,20})"|(\d{1,3})\b)',
    re.IGNORECASE,
)
_LOGFMT_FORM = re.compile(r'(?:^|[\s,])(?:level|lvl|severity)="?(\w{1,20})', re.IGNORECASE)
_UPPER_FORM = re.compile(r"(?:^|[\s\[(|:<-])([A-Z]{3,13})(?=[\s\])|:>,-]|$)")
_BRACKETED_FORM = re.compile(r"\[\s{0,4}([A-Za-z]{3,13})\s{0,4}\]")
_LEADING_FORM = re.compile(r"([A-Za-z]{3,13}):")
_TRACEBACK = "Traceback (most recent call last)"
_FAILURES = re.compile(
    r"Exception in thread |thread '[^']{0,100}' panicked at |Unhandled exception"
)


class LogLine(msgspec.Struct, frozen=True):
    """One line of a log. `whole` is False for a piece that the next line of the same stream continues."""

    at: str
    stream: str
    whole: bool
    text: str


def parse_line(line: str) -> LogLine | None:
    """The parts of a line of a log file; None for one that was torn by a crash."""
    parts = line.split(" ", 3)
    if len(parts) != 4 or len(parts[0]) != _STAMP or parts[2] not in {"F", "P"}:
        return None
    return LogLine(parts[0], parts[1], parts[2] == "F", parts[3])


def shipped_name(workload: str) -> str:
    """The name of the records that are a workload's log lines; no workload can publish it itself."""
    return f"{NAMES_OF_OUR_OWN}log.{workload}"


def line_meta(line: LogLine, level: Level | None) -> Meta:
    """What the record of a line says besides its text."""
    meta: Meta = {"stream": line.stream}
    if level is not None:
        meta["level"] = level
    if not line.whole:
        meta["goes_on"] = True
    return meta


def record_line(row: Row) -> str:
    """A record of a line as a log file has it."""
    tag = "P" if row.meta.get("goes_on") else "F"
    return f"{iso(row.at)} {row.meta.get('stream', 'stderr')} {tag} {row.value}"


def level_named(word: str) -> Level | None:
    """The level that a word means, «warn» as well as «warning»."""
    return _WORDS.get(word.lower())


def reaches(level: Level | None, wanted: Level | None) -> bool:
    """Whether a line of this level is to be seen by who wants `wanted` and above; None wants everything."""
    if wanted is None:
        return True
    return level is not None and LEVELS.index(level) >= LEVELS.index(wanted)


def level_of(text: str) -> Level | None:
    """The level that one line states by itself."""
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    text = text[:_LOOKED_AT]
    return (
        _by_prefix(text)
        or _by_field(text)
        or _by_word(text[:_BEGIN])
        or ("error" if text.startswith(_TRACEBACK) or _FAILURES.match(text) else None)
    )


class Levels:
    """The level of each of a log's lines in order: what belongs to the line before has the level of that.

    That is a piece of a long line, an indented line, and of a Python traceback everything to its last line.
    """

    def __init__(self) -> None:
        self._streams: dict[str, _Before] = {}

    def of(self, line: LogLine) -> Level | None:
        """The level of the next line."""
        before = self._streams.get(line.stream, _START)
        level = before.level if before.goes_on else level_of(line.text)
        in_traceback = before.in_traceback and not before.goes_on
        if not before.goes_on:
            indented = line.text[:1] in {" ", "\t", ""}
            if in_traceback or (level is None and indented):
                level = before.level
            in_traceback = line.text.startswith(_TRACEBACK) or (in_traceback and indented)
        self._streams[line.stream] = _Before(level, not line.whole, in_traceback)
        return level


class _Before(msgspec.Struct, frozen=True):
    """The line before: its level, whether it is a piece that goes on, and whether it is inside a traceback."""

    level: Level | None
    goes_on: bool
    in_traceback: bool


_START: Final = _Before(None, goes_on=False, in_traceback=False)


def _by_prefix(text: str) -> Level | None:
    found = _SYSLOG_FORM.match(text)
    if found is not None:
        return _SYSLOG[int(found[1]) & 7]
    found = _GLOG_FORM.match(text)
    return _GLOG[found[1]] if found else None


def _by_field(text: str) -> Level | None:
    found = _JSON_FORM.search(text) if text.lstrip().startswith("{") else None
    if found is not None and found[2]:
        return _of_number(int(found[2]))
    found = found or _LOGFMT_FORM.search(text)
    return _WORDS.get(found[1].lower()) if found else None


def _of_number(number: int) -> Level:
    """Pino's and Bunyan's numbers."""
    return LEVELS[max(0, min(number // 10 - 2, 4))]


def _by_word(begin: str) -> Level | None:
    for form in (_LEADING_FORM.match(begin), _BRACKETED_FORM.search(begin)):
        if form is not None and form[1].lower() in _WORDS:
            return _WORDS[form[1].lower()]
    upper = (_WORDS.get(word.lower()) for word in _UPPER_FORM.findall(begin))
    return next((level for level in upper if level is not None), None)
