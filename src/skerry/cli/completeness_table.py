"""How complete series are, as a table: one line for each, with its worst silence; JSON has all of them."""

from __future__ import annotations

from collections.abc import Sequence

from skerry.cli.output import Cell, Table, number
from skerry.kit.clock import NS, iso
from skerry.kit.units import format_duration
from skerry.wire.completeness import SeriesReport, Silence

_COLUMNS = (
    "NODE", "SOURCE", "NAME", "COUNT", "FIRST", "LAST", "LAST VALUE", "EVERY", "COMPLETE", "SILENCES", "LONGEST",
    "MISSING", "ON THE WAY",
)  # fmt: skip


def completeness_table(series: Sequence[SeriesReport]) -> Table:
    """One row for each series."""
    return Table(_COLUMNS, [_line(one) for one in series], series, "no series found")


def _line(one: SeriesReport) -> list[Cell | str]:
    every, share = _duration(one.spacing), one.share
    complete = "" if share is None else f"{share * 100:.2f} %"
    longest = max(one.silences, key=lambda each: each.until - each.since, default=None)
    quiet = one.quiet_for is not None
    return [
        one.node,
        one.source,
        one.name,
        number(one.count),
        Cell(_short(one.first), raw=one.first),
        Cell(_short(one.last), "yellow" if quiet else "", raw=one.last),
        Cell("" if one.last_value is None else f"{one.last_value}"[:40], raw=one.last_value),
        Cell(every or "irregular", raw="" if one.spacing is None else one.spacing / NS),
        Cell(
            complete,
            "" if share is None or share > 0.999 else "yellow",
            raw="" if share is None else share,
        ),
        number(one.silent),
        Cell(_worst(longest), raw="" if longest is None else (longest.until - longest.since) / NS),
        Cell(
            str(one.publisher.missing),
            "red" if one.publisher.missing else "",
            raw=one.publisher.missing,
        ),
        number(one.publisher.on_the_way),
    ]


def _worst(silence: Silence | None) -> str:
    if silence is None:
        return ""
    return (
        f"{_duration(silence.until - silence.since)} from {_short(silence.since)} ({silence.cause})"
    )


def _duration(length: int | None) -> str:
    if length is None:
        return ""
    return (
        format_duration(length / NS) if length >= NS - NS // 2000 else f"{length * 1000 / NS:.3g}ms"
    )


def _short(at: int) -> str:
    return iso(at)[:19] + "Z" if iso(at).endswith("Z") else iso(at)
