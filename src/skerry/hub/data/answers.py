"""The two forms of an answer to a query for records: a row for each record, and columns for each series. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from skerry.hub.data.values import restore_all
from skerry.hub.store.readings import Reading
from skerry.kit.clock import iso
from skerry.wire.people import Columns, MetaRun, Rows, SeriesColumns
from skerry.wire.records import Kind, Meta, Row


class Series(NamedTuple):
    """What a series is called; `node` is its node's name."""

    node: str
    source: str
    name: str
    kind: Kind


class Found(NamedTuple):
    """Records, oldest first, with the names of their series and their metas; `truncated` when more would have fitted.

    `damaged` are those that would be among them, and what is wrong with each.
    """

    readings: Sequence[Reading]
    series: Mapping[int, Series]
    metas: Mapping[int, Meta]
    truncated: bool = False
    damaged: Sequence[str] = ()


def rows(found: Found) -> Rows:
    """One row for each record."""
    nothing: Meta = {}
    values = restore_all(found.readings)
    made = []
    for (series_id, at, _, _, _, _, meta_id), value in zip(found.readings, values, strict=True):
        node, source, name, kind = found.series[series_id]
        meta = nothing if meta_id is None else found.metas[meta_id]
        made.append(Row(iso(at), name, value, meta, node, source, at, kind))
    return Rows(made, found.truncated, len(found.damaged))


def columns(found: Found) -> Columns:
    """Columns for each series, by node, source, name and kind."""
    by_series: dict[int, list[Reading]] = {series_id: [] for series_id in found.series}
    for reading in found.readings:
        by_series[reading[0]].append(reading)
    ordered = sorted(by_series, key=found.series.__getitem__)
    return Columns(
        [_column(found.series[each], by_series[each], found.metas) for each in ordered],
        found.truncated,
        len(found.damaged),
    )


def _column(
    series: Series, readings: Sequence[Reading], metas: Mapping[int, Meta]
) -> SeriesColumns:
    return SeriesColumns(
        node=series.node,
        source=series.source,
        name=series.name,
        kind=series.kind,
        at=[reading[1] for reading in readings],
        value=restore_all(readings),
        metas=_runs([reading[-1] for reading in readings], metas),
    )


def _runs(numbers: Sequence[int | None], metas: Mapping[int, Meta]) -> list[MetaRun]:
    runs: list[MetaRun] = []
    held: int | None = None
    for position, number in enumerate(numbers):
        if number != held:
            runs.append(MetaRun(position, {} if number is None else metas[number]))
            held = number
    return runs
