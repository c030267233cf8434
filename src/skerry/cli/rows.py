"""Records as a table, for `query` and `get events`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import attrgetter

from skerry.cli.output import Cell, Table
from skerry.kit.clock import iso
from skerry.wire.people import Columns, MetaRun, Rows, SeriesColumns
from skerry.wire.records import Meta, Row, Value


def records_table(rows: Sequence[Row], *, with_node: bool, empty: str) -> Table:
    """One line for each record; JSON shows every field of a row. `empty` is said when there is none."""
    columns = ["TIMESTAMP", "NAME", "VALUE", "META", *(["NODE", "SOURCE"] if with_node else [])]
    return Table(columns, [_line(row, with_node=with_node) for row in rows], rows, empty)


def one_record(row: Row) -> str:
    """One record as a line of text."""
    parts = [row.timestamp, row.name, _value(row.value)]
    return "  ".join([*parts, *(f"{key}={_value(value)}" for key, value in row.meta.items())])


def left_out(damaged: int) -> str:
    """What people are told of an answer that is not whole."""
    return f"{damaged} records that match are damaged at the hub and left out; its log names them"


def rows_of(columns: Columns) -> Rows:
    """The records of `columns` as rows, by time."""
    rows = [row for series in columns.series for row in _rows(series)]
    if len(columns.series) > 1:
        rows.sort(key=attrgetter("at"))
    return Rows(rows, columns.truncated, columns.damaged)


def _rows(series: SeriesColumns) -> Iterator[Row]:
    metas: list[Meta] = [{}] * len(series.at)
    for run, after in pairwise([*series.metas, MetaRun(len(series.at), {})]):
        metas[run.first : after.first] = [run.meta] * (after.first - run.first)
    for at, value, meta in zip(series.at, series.value, metas, strict=True):
        yield Row(iso(at), series.name, value, meta, series.node, series.source, at, series.kind)


def _line(row: Row, *, with_node: bool) -> list[Cell | str]:
    meta = " ".join(f"{key}={_value(value)}" for key, value in row.meta.items())
    line: list[Cell | str] = [row.timestamp, row.name]
    line += [Cell(_value(row.value), raw=row.value), Cell(meta, "dim", raw=row.meta)]
    return [*line, row.node, row.source] if with_node else line


def _value(value: Value) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.10g}"
        case _:
            return str(value)
