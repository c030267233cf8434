"""What commands print: tables for people, JSON and CSV for programs; notes and errors go to stderr.

A command makes one Table; this module decides how it looks. Words from nodes and workloads are strangers'
words: control characters in them never reach the terminal.
"""

from __future__ import annotations

import csv
import enum
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

import msgspec
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from skerry.kit.clock import NS, iso
from skerry.kit.one_line import one_line
from skerry.kit.units import format_duration
from skerry.wire.codec import encode

_NO_WRAP = 100_000
"""Columns that a pipe is said to have, so that rows stay in one line."""

_PHASE_STYLES = {
    "running": "green", "succeeded": "green", "online": "green", "ok": "green", "success": "green",
    "pending": "cyan", "starting": "cyan", "stopping": "cyan", "polling": "cyan", "create": "green",
    "backoff": "yellow", "warning": "yellow", "change": "yellow", "standalone": "yellow", "never": "yellow",
    "tripped": "red", "failed": "red", "offline": "red", "failing": "red", "delete": "red",
    "stopped": "dim", "skipped": "dim", "unchanged": "dim",
}  # fmt: skip


class Form(enum.StrEnum):
    """The forms of `--output`."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True)
class Cell:
    """One entry: `text` for people, `raw` for CSV (None: the same text)."""

    text: str
    style: str = ""
    raw: str | None = None


@dataclass(frozen=True)
class Table:
    """What a command found. `data` is the wire value that JSON shows, with everything that the table leaves out."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    data: object
    empty: str = "nothing found"


class Screen:
    """The two streams of a command."""

    def __init__(self, form: Form, out: TextIO, err: TextIO) -> None:
        self.form = form
        self._out = out
        self.console = Console(file=out, width=None if out.isatty() else _NO_WRAP, highlight=False)
        self.notes = Console(file=err, width=None if err.isatty() else _NO_WRAP, highlight=False)

    def show(self, table: Table) -> None:
        """Prints a table in the chosen form."""
        match self.form:
            case Form.JSON:
                data = msgspec.json.format(encode(table.data), indent=2)
                self.write(data.decode() + "\n")
            case Form.CSV:
                writer = csv.writer(self._out, lineterminator="\n")
                writer.writerow(column.lower().replace(" ", "_") for column in table.columns)
                writer.writerows([_raw(cell) for cell in row] for row in table.rows)
            case Form.TABLE if table.rows:
                self.console.print(_rich(table))
            case Form.TABLE:
                self.note(table.empty)

    def write(self, text: str) -> None:
        """Prints text as it is, for programs."""
        self._out.write(text)
        self._out.flush()

    def say(self, text: str, style: str = "") -> None:
        """One line for people on stdout; nothing where a program reads JSON or CSV."""
        if self.form is Form.TABLE:
            self.console.print(Text(one_line(text), style), soft_wrap=True)

    def note(self, text: str) -> None:
        """One line for people on stderr."""
        self.notes.print(Text(f"skerry: {one_line(text)}", "dim"), soft_wrap=True)


def standard_screen(form: Form) -> Screen:
    """The process's own streams."""
    return Screen(form, sys.stdout, sys.stderr)


def word(text: str) -> Cell:
    """A phase, state or outcome, in its colour."""
    return Cell(text, _PHASE_STYLES.get(text, ""))


def ago(at_ns: int, now_ns: int) -> Cell:
    """How long ago something was; CSV gets the time itself."""
    return Cell(f"{format_duration((now_ns - at_ns) / NS)} ago", raw=iso(at_ns))


def pairs(values: dict[str, str] | dict[str, object]) -> str:
    """A map in one line: «a=1 b=2»."""
    return " ".join(f"{key}={value}" for key, value in values.items())


def _raw(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return cell
    return cell.text if cell.raw is None else cell.raw


def _rich(table: Table) -> RichTable:
    shown = RichTable(box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        shown.add_column(column, overflow="fold")
    for row in table.rows:
        cells = [Cell(cell) if isinstance(cell, str) else cell for cell in row]
        shown.add_row(*(Text(one_line(cell.text), cell.style) for cell in cells))
    return shown
