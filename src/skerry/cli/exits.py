"""How `skerry` ends."""

from __future__ import annotations

from typing import Final

FAILED: Final = 1
"""What was asked for could not be done."""

WRONG_USE: Final = 2
"""Words, files or settings are wrong; nothing was tried."""

INTERRUPTED: Final = 130
"""Ctrl-C, as shells number it."""
