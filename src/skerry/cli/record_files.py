"""Records as a file: CSV for everybody, Parquet for analysis. Both are written as they come, in bounded memory.

CSV is written with every text in quotation marks and nothing changed: a file is data, not a spreadsheet. A spreadsheet
program takes a text that begins with «=» for a formula all the same; docs/reference/exports.md says what to do about it.
"""

from __future__ import annotations

import csv
import enum
import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Protocol

from skerry.kit.clock import iso
from skerry.kit.errors import Refused
from skerry.wire.codec import encode
from skerry.wire.exports import ExportRow
from skerry.wire.records import Value

COLUMNS = ("time", "at_ns", "name", "node", "source", "kind", "type", "value", "unit", "meta")
UNIT = "unit"
"""The key of meta that says what a value is measured in."""

_ROW_GROUP = 100_000
_TYPES: dict[type, str] = {bool: "bool", int: "int", float: "float", str: "text"}


class Format(enum.StrEnum):
    """The forms of a file."""

    CSV = "csv"
    PARQUET = "parquet"


class RecordFile(Protocol):
    """A file that is being written."""

    def write(self, rows: Sequence[ExportRow]) -> None: ...

    def close(self) -> None:
        """Writes what is left. Without it the file is not whole."""
        ...


def open_record_file(form: Format, path: Path) -> RecordFile:
    """Raises Refused when Parquet is asked for and not installed, and OSError."""
    return CsvFile(path) if form is Format.CSV else ParquetFile(path)


class CsvFile:
    """One line for each record, after a line of names."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def write(self, rows: Sequence[ExportRow]) -> None:
        self._writer.writerows(_csv(row) for row in rows)

    def close(self) -> None:
        self._file.close()


class ParquetFile:
    """Columns with types: `value` is any number as a double; `integer`, `boolean` and `text` are exact."""

    def __init__(self, path: Path) -> None:
        try:
            pyarrow = importlib.import_module("pyarrow")
            parquet = importlib.import_module("pyarrow.parquet")
        except ImportError as error:
            raise Refused(
                "cannot write Parquet: the library pyarrow is not here. Install the package skerry-parquet (in a checkout: "
                ".venv/bin/python -m pip install --require-hashes -r requirements/parquet.txt), or use --format csv."
            ) from error
        self._arrow = pyarrow
        self._schema = _schema(pyarrow)
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._waiting: list[ExportRow] = []

    def write(self, rows: Sequence[ExportRow]) -> None:
        self._waiting += rows
        while len(self._waiting) >= _ROW_GROUP:
            self._write(self._waiting[:_ROW_GROUP])
            del self._waiting[:_ROW_GROUP]

    def close(self) -> None:
        if self._waiting:
            self._write(self._waiting)
            self._waiting = []
        self._writer.close()

    def _write(self, rows: Sequence[ExportRow]) -> None:
        columns = [list(column) for column in zip(*map(_parquet, rows), strict=True)]
        table = self._arrow.table(columns, schema=self._schema)
        self._writer.write_table(table, row_group_size=_ROW_GROUP)


def _csv(row: ExportRow) -> tuple[Value, ...]:
    value = row.value
    if isinstance(value, bool):
        value = "true" if value else "false"
    unit, meta = _unit(row), encode(row.meta).decode() if row.meta else ""
    kind = _TYPES[type(row.value)]
    return (
        iso(row.at), row.at, row.name, row.node, row.source, row.kind, kind, value, unit, meta,
    )  # fmt: skip


def _parquet(row: ExportRow) -> tuple[object, ...]:
    value = row.value
    number = None if isinstance(value, str) else float(value)
    whole = value if isinstance(value, int) and not isinstance(value, bool) else None
    return (
        row.at, row.name, row.node, row.source, row.kind, _TYPES[type(value)], number, whole,
        value if isinstance(value, bool) else None, value if isinstance(value, str) else None,
        _unit(row) or None, encode(row.meta).decode() if row.meta else None,
    )  # fmt: skip


def _schema(arrow: ModuleType) -> object:
    word = arrow.dictionary(arrow.int32(), arrow.string())
    return arrow.schema(
        [
            ("time", arrow.timestamp("ns", tz="UTC")),
            *((name, word) for name in ("name", "node", "source", "kind", "type")),
            ("value", arrow.float64()),
            ("integer", arrow.int64()),
            ("boolean", arrow.bool_()),
            ("text", arrow.string()),
            ("unit", word),
            ("meta", arrow.string()),
        ]
    )


def _unit(row: ExportRow) -> str:
    unit = row.meta.get(UNIT, "")
    return unit if isinstance(unit, str) else str(unit)
