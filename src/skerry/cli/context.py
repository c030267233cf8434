"""`skerry context list` and `skerry context use`: which hub and node a command means when it does not say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from skerry.cli.contexts import DEFAULT, Contexts, contexts_file, read_contexts, write_contexts
from skerry.cli.output import Cell, Form, FormOption, Table, standard_screen
from skerry.cli.session import default_target
from skerry.kit.disk import RealDisk


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="Which hub and node commands mean.", no_args_is_help=True)
    group.command("list")(list_contexts)
    group.command("use")(use)
    app.add_typer(group, name="context")


def list_contexts(output: FormOption = Form.TABLE) -> None:
    """Show every context; the current one is marked. «default»: what runs with default settings."""
    known = read_contexts(contexts_file(Path.home()))
    current = known.current or DEFAULT
    every = {**known.contexts, DEFAULT: default_target()}
    standard_screen(output).show(
        Table(
            ("CURRENT", "NAME", "HUB", "DATA DIR"),
            [
                (
                    Cell("*" if name == current else "", raw=name == current),
                    name,
                    context.hub,
                    str(context.data_dir),
                )
                for name, context in every.items()
            ],
            msgspec.to_builtins(Contexts(current, every), enc_hook=str),
        )
    )


def use(
    name: Annotated[str, typer.Argument(help="The context's name.")],
    output: FormOption = Form.TABLE,
) -> None:
    """Make a context the current one."""
    path = contexts_file(Path.home())
    known = read_contexts(path)
    hub = (default_target() if name == DEFAULT else known.named(name)).hub
    write_contexts(path, msgspec.structs.replace(known, current=name), RealDisk())
    standard_screen(output).tell(
        f"commands now mean context «{name}», with the hub at {hub}", {"current": name, "hub": hub}
    )
