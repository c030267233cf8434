"""The child's lines in its log, and why it ends."""

from __future__ import annotations

import sys

NO_ZENOH = 200
PORT_TAKEN = 201


class Failure(Exception):
    """It cannot go on. `code` is what the process ends with."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def say(text: str) -> None:
    """One line for people."""
    sys.stderr.write(f"skerry: {text}\n")
    sys.stderr.flush()
