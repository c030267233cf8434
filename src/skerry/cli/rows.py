"""Records as a table, for `query` and `get events`."""

from __future__ import annotations

from collections.abc import Sequence

from skerry.cli.output import Cell, Table
from skerry.wire.records import Row, Value


def records_table(rows: Sequence[Row], *, with_node: bool, empty: str) -> Table:
    """One line for each record; JSON shows every field of a row. `empty` is said when there is none."""
    columns = ["TIMESTAMP", "NAME", "VALUE", "META", *(["NODE", "SOURCE"] if with_node else [])]
    return Table(columns, [_line(row, with_node=with_node) for row in rows], rows, empty)


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
