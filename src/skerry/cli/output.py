"""What commands print: tables for people, JSON and CSV for programs; notes and errors go to stderr.

A command makes one Table; this module decides how it looks. Programs get raw values: times are nanoseconds since
1970, durations seconds, sizes bytes. Words from nodes and workloads are strangers' words: control characters in
them never reach the terminal.
"""

from __future__ import annotations

import csv
import enum
import json
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Annotated, TextIO

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from skerry.cli.grid import grid
from skerry.kit.clock import NS
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
    "valid": "green", "expired": "yellow", "revoked": "dim",
    "active": "green", "deployed": "cyan", "configured": "cyan", "authenticated": "cyan", "registered": "cyan",
    "draining": "yellow", "decommissioned": "dim", "done": "green", "queued": "cyan", "started": "cyan",
    "stopped": "dim", "skipped": "dim", "unchanged": "dim", "unknown": "yellow",
}  # fmt: skip


class Form(enum.StrEnum):
    """The forms of `--output`."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


Raw = str | int | float | Mapping[str, object] | Sequence[object]
"""A value for programs. In CSV, truth is «true» or «false», maps and lists are JSON, and what is unknown is «»."""


FormOption = Annotated[Form, typer.Option("--output", "-o", help="The form of the answer.")]


@dataclass(frozen=True)
class Cell:
    """One entry: `text` for people, `raw` for CSV (None: the same text)."""

    text: str
    style: str = ""
    raw: Raw | None = None


@dataclass(frozen=True)
class Line:
    """A sentence above a table."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Table:
    """What a command found. `data` is the wire value that JSON shows, with everything that the table leaves out.

    People alone get `lead`, above the table; programs alone get the columns in `csv_only`. The column `below` stands below
    its row on a terminal that is too narrow for it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    data: object
    empty: str = "nothing found"
    lead: Sequence[Line] = ()
    csv_only: Set[str] = frozenset()
    below: str = ""


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
                self._write_csv(table.columns, [[_raw(cell) for cell in row] for row in table.rows])
            case Form.TABLE:
                for line in table.lead:
                    self.say(line.text, line.style)
                if table.rows:
                    for drawn in _grid(table, self.console):
                        self.console.print(drawn, soft_wrap=True)
                else:
                    self.note(table.empty)

    def tell(self, sentence: str, facts: Mapping[str, Raw]) -> None:
        """What a command has done: a sentence for people, the same as one object or row for programs."""
        match self.form:
            case Form.JSON:
                self.write(msgspec.json.format(encode(facts), indent=2).decode() + "\n")
            case Form.CSV:
                self._write_csv(list(facts), [[csv_text(value) for value in facts.values()]])
            case Form.TABLE:
                self.say(sentence)

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

    def _write_csv(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        writer = csv.writer(self._out, lineterminator="\n")
        writer.writerow(column.lower().replace(" ", "_") for column in columns)
        writer.writerows(rows)


def standard_screen(form: Form) -> Screen:
    """The process's own streams."""
    return Screen(form, sys.stdout, sys.stderr)


def word(text: str) -> Cell:
    """A phase, state or outcome, in its colour."""
    return Cell(text, _PHASE_STYLES.get(text, ""))


def ago(at_ns: int, now_ns: int) -> Cell:
    """How long ago something was; CSV gets the time itself."""
    return Cell(f"{format_duration((now_ns - at_ns) / NS)} ago", raw=at_ns)


def number(value: float) -> Cell:
    """A number that people and programs read alike."""
    return Cell(str(value), raw=value)


def yes_no(value: bool) -> Cell:
    """A truth."""
    return Cell("yes" if value else "no", raw=value)


def pairs(values: Mapping[str, str]) -> Cell:
    """A map in one line: «a=1 b=2»."""
    return Cell(" ".join(f"{key}={value}" for key, value in values.items()), raw=values)


def words(values: Sequence[str]) -> Cell:
    """A list of words in one line."""
    return Cell(" ".join(values), raw=values)


def csv_text(value: Raw) -> str:
    """A value as CSV has it."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def _raw(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return cell
    return cell.text if cell.raw is None else csv_text(cell.raw)


def _grid(table: Table, console: Console) -> Iterator[Text]:
    places = [at for at, column in enumerate(table.columns) if column not in table.csv_only]
    heads = [table.columns[at] for at in places]
    rows = [[_text(row[at]) for at in places] for row in table.rows]
    return grid(heads, rows, console, heads.index(table.below) if table.below else None)


def _text(cell: Cell | str) -> Text:
    return Text(one_line(cell)) if isinstance(cell, str) else Text(one_line(cell.text), cell.style)
