"""`skerry node limited`: all that people run on a node by SSH who may only look. sshd starts it, whatever they ask for.

What they write is never a shell's: words are taken apart here, and only these commands with these options are run.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.exits import WRONG_USE
from skerry.core.names import name_fault
from skerry.kit.errors import InvalidInput

_HELP = """What can be asked here:
  status                     the node: link, workloads, problems
  sync                       what waits for the hub
  doctor                     what is wrong on this node
  logs WORKLOAD [-f] [--since 10m] [--until TIME] [--level warning]
  help, exit"""

_PLAIN = {"status": ["node", "status"], "sync": ["sync", "status"], "doctor": ["doctor"]}
_FLAGS = {"-f", "--follow"}
_VALUES = {"--since", "--until", "--level"}


def register(group: typer.Typer) -> None:
    """Adds the command, which people do not see."""
    group.command("limited", hidden=True)(limited)


def limited(
    data_dir: Annotated[Path, typer.Option(help="The node's data directory.")],
) -> None:
    """Answer what may be asked, and nothing else: the command of a limited SSH certificate."""
    asked = os.environ.get("SSH_ORIGINAL_COMMAND", "")  # noqa: TID251 - how sshd tells what was asked for
    if asked.strip():
        raise typer.Exit(_answer(asked, data_dir))
    sys.stderr.write(f"{_HELP}\n")
    for line in sys.stdin:
        if line.strip() == "exit":
            break
        if line.strip():
            _ = _answer(line, data_dir)


def _answer(line: str, data_dir: Path) -> int:
    from skerry.cli.boundary import run

    try:
        words = command_of(line)
    except InvalidInput as error:
        sys.stderr.write(f"skerry: {error}\n")
        return WRONG_USE
    if not words:
        sys.stdout.write(f"{_HELP}\n")
        return 0
    # Of this node alone: the account may have a token for the hub.
    return run([*words, "--data-dir", str(data_dir), "--token-file", os.devnull])


def command_of(line: str) -> list[str]:
    """The words of `skerry` that a line stands for; none for help. Raises InvalidInput for everything else."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InvalidInput(f"cannot read the command: {error}") from error
    if words[:1] == ["skerry"]:
        words = words[1:]
    match words:
        case [] | ["help" | "--help" | "-h"]:
            return []
        case [word] if word in _PLAIN:
            return _PLAIN[word]
        case ["logs", workload, *options] if name_fault(workload) is None:
            return ["logs", workload, *_checked(options)]
        case _:
            raise InvalidInput(
                f"cannot run «{line.strip():.80}»: your role may only look. «help» shows what can be asked."
            )


def _checked(options: Sequence[str]) -> list[str]:
    given = iter(options)
    for option in given:
        if option in _FLAGS:
            continue
        value = next(given, "") if option in _VALUES else ""
        if not value or value.startswith("-"):
            raise InvalidInput(
                f"cannot run «logs» with «{option:.40}». «help» shows what it takes."
            )
    return list(options)
