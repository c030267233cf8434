"""From the engine's stream of a container's output to lines of our log. Pure.

The stream is a row of frames: one byte for the stream (1 stdout, 2 stderr), three unused, four for the length (big
endian), then a time, a space and a line, or a piece of a long line without its end. Our log's form is that of
`skerry.keeper.logs`: «time stream F|P text».
"""

from __future__ import annotations

import calendar
import re
import time

import msgspec

from skerry.keeper.logs import MAX_LINE, cut_lines
from skerry.keeper.masks import Masks

OURS = b"skerry: "
"""How a line begins that the node writes into a workload's log."""

_HEAD = 8
_STREAMS = {1: b"stdout", 2: b"stderr"}
_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z ")


class Mark(msgspec.Struct, frozen=True):
    """How far an output has been written: the time of its last line, and how many lines had that time."""

    at: bytes = b""
    count: int = 0


class Unframed:
    """Takes the stream in any chunks and gives complete frames as (stream, payload)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        """The frames that are complete now."""
        data, start, found = self._rest + chunk, 0, []
        while len(data) - start >= _HEAD:
            size = int.from_bytes(data[start + 4 : start + _HEAD])
            end = start + _HEAD + size
            if len(data) < end:
                break
            found.append((_STREAMS.get(data[start], b"stdout"), data[start + _HEAD : end]))
            start = end
        self._rest = data[start:]
        return found


class Lines:
    """Turns frames into log lines, leaving out what `mark` says has been written before and what `masks` masks."""

    def __init__(self, mark: Mark, masks: Masks) -> None:
        self.mark = mark
        self._masks = masks
        self._repeated = Mark(mark.at)

    def of(self, stream: bytes, payload: bytes) -> list[bytes]:
        """The log's lines for one frame."""
        at, text = _time(payload)
        if not at:
            return []
        if self._is_repeated(at):
            return []
        self.mark = Mark(at, self.mark.count + 1 if at == self.mark.at else 1)
        head = b"%b %b " % (at, stream)
        whole = text.endswith(b"\n")
        lines, rest = cut_lines(self._masks.apply(text), head + b"F ", head + b"P ", MAX_LINE)
        return lines if whole else [*lines, head + b"P " + rest + b"\n"]

    def _is_repeated(self, at: bytes) -> bool:
        """The engine begins with the time it was asked for, which the log has already."""
        if at < self._repeated.at:
            return True
        if at != self._repeated.at or at != self.mark.at:
            return False
        self._repeated = Mark(at, self._repeated.count + 1)
        return self._repeated.count <= self.mark.count


def last_mark(tail: bytes) -> Mark:
    """The mark of a log by its last bytes, which begin at a line."""
    mark = Mark()
    for line in tail.splitlines():
        parts = line.split(b" ", 3)
        if len(parts) == 4 and parts[2] in {b"F", b"P"} and not _ours(parts):
            mark = Mark(parts[0], mark.count + 1 if parts[0] == mark.at else 1)
    return mark


def seconds(at: bytes) -> str:
    """A time of the log as the engine's «since»: seconds since 1970 with nine digits; «0» for none."""
    found = _TIME.match(at + b" ")
    if found is None:
        return "0"
    whole = calendar.timegm(time.strptime(found[1].decode(), "%Y-%m-%dT%H:%M:%S"))
    return f"{whole}.{(found[2] or b'').decode():0<9}"


def _ours(parts: list[bytes]) -> bool:
    return parts[3].startswith(OURS)


def _time(payload: bytes) -> tuple[bytes, bytes]:
    found = _TIME.match(payload)
    if found is None:
        return b"", payload
    at = b"%b.%bZ" % (found[1], (found[2] or b"").ljust(9, b"0"))
    return at, payload[found.end() :]
