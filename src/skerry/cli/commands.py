"""The table of contents of `skerry`: every command, and the module that registers it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Annotated

import typer

import skerry
from skerry.kit.authorities import unread
from skerry.kit.collector import uncollected

COMMANDS = {
    "up": "up",
    "get": "get",
    "apply": "apply",
    "diff": "apply",
    "delete": "change",
    "revoke": "change",
    "restart": "change",
    "history": "change",
    "rollback": "change",
    "update": "update",
    "logs": "logs",
    "query": "query",
    "run": "foreground",
    "publish": "here",
    "subscribe": "here",
    "exec": "execution",
    "ssh": "developer",
    "ssh-cert": "developer",
    "port-forward": "developer",
    "tunnel": "developer",
    "node": "node",
    "device": "device",
    "twin": "twin",
    "image": "image",
    "model": "model",
    "secret": "secret",
    "files": "files",
    "records": "records",
    "export": "stick",
    "import": "stick",
    "worker": "worker",
    "sync": "health",
    "doctor": "health",
    "storage": "storage",
    "hub": "hub",
    "token": "hub",
    "access": "access",
    "audit": "audit",
    "config": "config",
    "db": "db",
    "context": "context",
    "login": "login",
    "logout": "login",
}


def application(words: Sequence[str]) -> typer.Typer:
    """The commands that `words` may mean: one module's when its first word names it, else all of them."""
    app = typer.Typer(
        name="skerry",
        no_args_is_help=True,
        callback=_root,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    chosen = words[:1] if words and words[0] in COMMANDS else COMMANDS
    with unread(), uncollected():
        for module in dict.fromkeys(COMMANDS[word] for word in chosen):
            importlib.import_module(f"skerry.cli.{module}").register(app)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"skerry {skerry.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Skerry, an edge platform: one node per device, one hub, every record kept through any outage."""
