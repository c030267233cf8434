"""This device's TPM 2.0, through tpm2-tools: each call is a few short-lived children.

TPM2TOOLS_TCTI chooses the TPM. Secrets travel by pipes, never by arguments or files.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from skerry.kit.errors import Refused

PATIENCE = 60.0
"""Seconds for one tool, unless somebody waits."""


_GOING = 0.5
"""Seconds in which a tool that is ended is gone."""


class TpmSilent(Refused):
    """The TPM did not answer in time: to ask again at once would be to wait again."""


class Tools(msgspec.Struct, frozen=True):
    """Tools at work in a directory of their own, `place`. `advice` is for who reads that the TPM did not do it."""

    place: Path
    advice: str
    patience: float

    def run(self, *words: str, content: bytes = b"") -> bytes:
        """What a tool says, `content` being its input. Raises Refused."""
        try:
            done = self._ran(words, content)
            # Without a resource manager nobody else gives these slots back, and there are three.
            self._ran(("tpm2_flushcontext", "-t"))
        except FileNotFoundError as error:
            raise Refused(
                f"cannot use the TPM: {error.filename} is not installed. Install tpm2-tools."
            ) from error
        except subprocess.TimeoutExpired as error:
            raise TpmSilent(
                f"cannot use the TPM: {error.cmd[0]} did not end within {self.patience:g} s"
            ) from error
        if done.returncode:
            cause = _cause(done.stderr) or f"exit code {done.returncode}"
            raise Refused(f"cannot use the TPM: {words[0]} failed: {cause}. {self.advice}")
        return done.stdout

    def _ran(
        self, words: tuple[str, ...], content: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        pipe = subprocess.PIPE
        process = subprocess.Popen(words, cwd=self.place, stdin=pipe, stdout=pipe, stderr=pipe)
        try:
            out, told = process.communicate(content, self.patience)
        except subprocess.TimeoutExpired:
            _leave(process)
            raise
        return subprocess.CompletedProcess(words, process.returncode, out, told)


@contextlib.contextmanager
def tools(advice: str, patience: float = PATIENCE) -> Iterator[Tools]:
    """Tools, and a directory that goes with them. Raises Refused where files or children cannot be made."""
    try:
        with tempfile.TemporaryDirectory(prefix="skerry-tpm-") as directory:
            yield Tools(Path(directory), advice, patience)
    except OSError as error:
        raise Refused(
            f"cannot use the TPM: its tools have no room to work in: {error.strerror or error}"
            " (directory for temporary files, memory, processes)"
        ) from error


def _leave(process: subprocess.Popen[bytes]) -> None:
    """Ends a tool, without waiting for it: while a chip hangs, the kernel lets nobody go who waits for it."""
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GOING)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def _cause(said: bytes) -> str:
    """The last thing that a tool said, but for that it failed."""
    lines = said.decode(errors="replace").strip().splitlines()
    telling = [line for line in lines if not line.startswith("ERROR: Unable to run")]
    return telling[-1].removeprefix("ERROR: ") if telling else ""
