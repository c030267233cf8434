"""How complete the series at the hub are. Times are ns since 1970, durations ns. See docs/reference/exports.md."""

from __future__ import annotations

from typing import Literal

import msgspec

from skerry.wire.records import Kind, Value

Cause = Literal["silence", "restart", "thinned"]


class Silence(msgspec.Struct, frozen=True):
    """No record between two of a series for longer than its spacing allows; about `missing` of them would fit.

    silence  the publisher went on, or nobody knows why
    restart  another session of the publisher comes after it
    thinned  the node says that it has dropped samples of this time
    """

    since: int
    until: int
    missing: int
    cause: Cause


class Holes(msgspec.Struct, frozen=True):
    """Records of a publisher, of all its names, that it has numbered between those of the asked time, and the hub lacks."""

    missing: int = 0
    on_the_way: int = 0


class SeriesReport(msgspec.Struct, frozen=True):
    """One series. `spacing` is the median between two records; None: too few, or too irregular to expect any.

    `silences` are the longest ones of `silent`. `share` is what is there of what the spacing lets expect. `quiet_for`
    is set when the series has ended longer ago than the spacing allows. `clock_jumps` were set right in the spacings.
    """

    name: str
    node: str
    source: str
    kind: Kind
    count: int
    first: int
    last: int
    last_value: Value | None
    spacing: int | None
    silent: int
    silences: list[Silence]
    missing: int
    share: float | None
    quiet_for: int | None
    sessions: int
    clock_jumps: int
    publisher: Holes


class CompletenessReport(msgspec.Struct, frozen=True):
    """Series by node, source and name. `truncated`: there are more."""

    series: list[SeriesReport]
    truncated: bool = False
