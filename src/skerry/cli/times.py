"""Points in time as people type them: «10m» and «-10m» are ten minutes ago, or ISO-8601."""

from __future__ import annotations

import datetime
import re

from skerry.kit.clock import NS
from skerry.kit.errors import InvalidInput
from skerry.kit.units import parse_duration

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?"
)


def parse_time(text: str, now_ns: int) -> int:
    """Nanoseconds since 1970. Times without a zone are this machine's. Raises InvalidInput."""
    if text == "now":
        return now_ns
    match = _ISO.fullmatch(text)
    if match is None:
        return now_ns - _ago(text)
    try:
        moment = datetime.datetime.fromisoformat(match[1] + (match[3] or ""))
        whole = round(moment.astimezone(datetime.UTC).timestamp())
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"cannot read the time «{text}»: {error}") from error
    return whole * NS + int((match[2] or "0").ljust(9, "0"))


def parse_span(since: str | None, until: str | None, now_ns: int) -> tuple[int | None, int | None]:
    """Both ends of a span of time in nanoseconds since 1970; None: it has no such end. Raises InvalidInput."""
    start = parse_time(since, now_ns) if since else None
    end = parse_time(until, now_ns) if until else None
    if start is not None and end is not None and start >= end:
        raise InvalidInput(
            f"cannot take what is from {since} until {until}: that is no span of time"
        )
    return start, end


def _ago(text: str) -> int:
    try:
        return round(parse_duration(text.removeprefix("-")) * NS)
    except InvalidInput as error:
        raise InvalidInput(
            f"cannot read the time «{text}»: write 10m (ten minutes ago) or 2026-01-31T12:00:00Z"
        ) from error
