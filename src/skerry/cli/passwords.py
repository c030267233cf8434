"""Passwords come from the terminal, unseen, or from a file: never from arguments, which every process on a machine reads."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer

from skerry.kit.errors import InvalidInput
from skerry.kit.text_file import read_text

PasswordFile = Annotated[
    Path | None,
    typer.Option(help="A file with the password on its one line, instead of asking the terminal."),
]


def ask_password(file: Path | None, name: str, *, twice: bool = False) -> str:
    """The password of user `name`. Raises InvalidInput when there is none."""
    if file is not None:
        password = read_text(file).removesuffix("\n").removesuffix("\r")
        if not password or "\n" in password:
            raise InvalidInput(f"cannot use {file}: it must hold a password on one line")
        return password
    if not sys.stdin.isatty():
        raise InvalidInput(
            "cannot ask for a password: stdin is no terminal. Name a file with --password-file."
        )
    password = getpass.getpass(f"Password of {name}: ")
    if twice and getpass.getpass("The same again: ") != password:
        raise InvalidInput("cannot use this password: it was not the same twice")
    return password
