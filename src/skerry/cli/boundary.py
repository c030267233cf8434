"""Between the commands and the shell: errors become lines on stderr and exit codes, never a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import TextIO

import typer
from typer.main import get_command

from skerry.cli.commands import application
from skerry.cli.exits import FAILED, INTERRUPTED, WRONG_USE
from skerry.kit.errors import InvalidInput, SkerryError

_WAYS_OUT = {
    errno.ENOSPC: ". Free some room there, or choose another place, and do it again.",
    errno.EDQUOT: ". Free some room there, or choose another place, and do it again.",
    errno.EROFS: ". Choose another place, or mount it for writing.",
    errno.EACCES: ". Run it as the user who owns that.",
    errno.EPERM: ". Run it as the user who owns that.",
    errno.EIO: ". Is the stick or share still there? Else check the disk (smartctl).",
}


def run(words: Sequence[str]) -> int:
    """Runs a command and returns the exit code."""
    try:
        result = _carry_out(words)
        sys.stdout.flush()
    except typer.TyperException as error:
        return _complain(error.format_message(), error.exit_code)
    except SkerryError as error:
        wrong_use = isinstance(error, InvalidInput)
        return _complain(str(error), WRONG_USE if wrong_use else FAILED)
    except typer.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        _leave(sys.stdout)
        return 0
    except OSError as error:
        return _complain(_of_the_system(error), FAILED)
    return result if isinstance(result, int) else 0


def _carry_out(words: Sequence[str]) -> object:
    try:
        return get_command(application(words)).main(
            args=list(words), prog_name="skerry", standalone_mode=False
        )
    except UnicodeEncodeError as error:  # words may be any bytes, and most go on as text
        raise InvalidInput(
            f"cannot go on: {error.object!a:.80} is no {error.encoding.upper()}. Write it in other characters."
        ) from error


def _complain(message: str, code: int) -> int:
    try:
        for line in message.strip().splitlines():
            sys.stderr.write(f"skerry: {line}\n")
    except OSError:
        _leave(sys.stderr)
    return code


def _of_the_system(error: OSError) -> str:
    """What no command has explained: a disk that is full, a directory that is gone, a file that others own."""
    cause = error.strerror or str(error)
    way_out = _WAYS_OUT.get(error.errno or 0, "")
    return (
        f"cannot go on: {error.filename}: {cause}{way_out}"
        if error.filename
        else f"cannot go on: {cause}{way_out}"
    )


def _leave(stream: TextIO) -> None:
    """Nobody takes what we say (`| head`): Python's own flush at exit must find somewhere to go."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
