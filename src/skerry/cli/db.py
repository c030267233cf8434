"""`skerry db verify-schema`: whether a node's database has the documented tables, for people and their SQL tools."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.data_dirs import ContextOption, node_options
from skerry.cli.exits import FAILED
from skerry.cli.output import Form, FormOption, Line, Table, number, standard_screen
from skerry.kit.errors import NotFound
from skerry.kit.sqlite_connections import connect
from skerry.kit.text_file import read_text
from skerry.node.settings import database_of, find_settings
from skerry.node.store.documented_schema import TableReport, printed_script, verify


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="The database of the node here.", no_args_is_help=True, callback=_db)
    group.command("verify-schema")(verify_schema)
    app.add_typer(group, name="db")


def _db() -> None:
    """Keeps a group's only command a word of its own."""


def verify_schema(
    script: Annotated[
        Path | None, typer.Argument(help="An SQL script; else the documented one.")
    ] = None,
    context: ContextOption = None,
    data_dir: Annotated[Path | None, typer.Option(help="The node's data directory.")] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option(
            help="The node's settings file, where storage.path may stand. May be repeated."
        ),
    ] = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Run a schema script against the node's database as if with IF NOT EXISTS, and say what it would still have to make.

    Nothing is written, and the node may run. Ends with 1 when something is missing.
    """
    options = node_options(data_dir, config, context)
    path = database_of(find_settings(config or [], options=options))
    if not path.is_file():
        raise NotFound(
            f"cannot verify {path}: there is no such file. Has the node ever been started?"
        )
    with contextlib.closing(connect(path, read_only=True)) as database:
        reports = verify(database, read_text(script) if script else printed_script())
    standard_screen(output).show(_table(path, reports))
    if any(report.missing for report in reports):
        raise typer.Exit(FAILED)


def _table(path: Path, reports: list[TableReport]) -> Table:
    missing = sum(len(report.missing) for report in reports)
    count = {0: "nothing is", 1: "1 thing is"}.get(missing, f"{missing} things are")
    return Table(
        ("TABLE", "COLUMNS", "INDEXES", "ROWS", "MISSING"),
        [
            (
                report.name,
                number(report.columns),
                number(report.indexes),
                number(report.rows),
                "; ".join(report.missing),
            )
            for report in reports
        ],
        reports,
        "the script makes no table",
        lead=[Line(f"{path}: {count} missing")],
    )
