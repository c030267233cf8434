"""Runs a program whose life is tied to its parent's: `python -m skerry.cli.tied PROGRAM ARGUMENTS…`.

The kernel sends it SIGTERM when the parent dies, however it dies, so that a killed `skerry up` leaves no hub and
no node behind. Stdlib only, replaced by the program at once.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(words: list[str]) -> None:
    """Ties this process to its parent and becomes the program."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        sys.exit("the parent is gone already")
    os.execv(words[0], words)  # noqa: S606 - a list, no shell


if __name__ == "__main__":
    main(sys.argv[1:])
