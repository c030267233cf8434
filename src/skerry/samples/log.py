"""What the samples print: `skerry logs NAME` shows it."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """One line, at once: a program whose output is no terminal would hold it back."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
