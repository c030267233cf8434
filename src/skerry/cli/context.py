"""`skerry context list` and `skerry context use`: which hub and node a command means when it does not say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from skerry.cli.contexts import contexts_file, read_contexts, write_contexts
from skerry.cli.output import Cell, Form, FormOption, Table, standard_screen
from skerry.kit.disk import RealDisk


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="Which hub and node commands mean.", no_args_is_help=True)
    group.command("list")(list_contexts)
    group.command("use")(use)
    app.add_typer(group, name="context")


def list_contexts(output: FormOption = Form.TABLE) -> None:
    """Show every context; the current one is marked."""
    known = read_contexts(contexts_file(Path.home()))
    standard_screen(output).show(
        Table(
            ("CURRENT", "NAME", "HUB", "DATA DIR"),
            [
                (
                    Cell("*" if name == known.current else "", raw=name == known.current),
                    name,
                    context.hub,
                    str(context.data_dir),
                )
                for name, context in known.contexts.items()
            ],
            msgspec.to_builtins(known, enc_hook=str),
            "no contexts: commands mean the hub and node that run with default settings",
        )
    )


def use(
    name: Annotated[str, typer.Argument(help="The context's name.")],
    output: FormOption = Form.TABLE,
) -> None:
    """Make a context the current one."""
    path = contexts_file(Path.home())
    known = read_contexts(path)
    hub = known.named(name).hub
    write_contexts(path, msgspec.structs.replace(known, current=name), RealDisk())
    standard_screen(output).tell(
        f"commands now mean context «{name}», with the hub at {hub}", {"current": name, "hub": hub}
    )
