"""How a run ends other than by the module's own exit code, and the runner's lines in the log."""

from __future__ import annotations

import sys

from skerry.wire.wasm import RunnerExit


class Failure(Exception):
    """A run that failed. `detail` is for the log: wasmtime's own words, perhaps in several lines."""

    def __init__(self, code: RunnerExit, text: str, detail: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.detail = detail


def say(text: str) -> None:
    """One line of the runner's own in the workload's log."""
    sys.stderr.write(f"skerry: {text}\n")
    sys.stderr.flush()


def tell(failure: Failure) -> None:
    """Detail first, so that the last line says how it ended."""
    for line in failure.detail.strip().splitlines():
        sys.stderr.write(f"    {line}\n")
    say(failure.text)
