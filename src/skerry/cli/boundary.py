"""Between the commands and the shell: errors become lines on stderr and exit codes, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer
from typer.main import get_command

from skerry.cli.commands import application
from skerry.cli.exits import FAILED, INTERRUPTED, WRONG_USE
from skerry.kit.errors import InvalidInput, SkerryError


def run(words: Sequence[str]) -> int:
    """Runs a command and returns the exit code."""
    try:
        result = get_command(application(words)).main(
            args=list(words), prog_name="skerry", standalone_mode=False
        )
        sys.stdout.flush()
    except typer.TyperException as error:
        return _complain(error.format_message(), error.exit_code)
    except InvalidInput as error:
        return _complain(str(error), WRONG_USE)
    except SkerryError as error:
        return _complain(str(error), FAILED)
    except typer.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        _leave_stdout()
        return 0
    return result if isinstance(result, int) else 0


def _complain(message: str, code: int) -> int:
    for line in message.strip().splitlines():
        sys.stderr.write(f"skerry: {line}\n")
    return code


def _leave_stdout() -> None:
    """The reader of our output has gone (`| head`): Python's own flush at exit must find somewhere to go."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
