"""The entry point of `skerry`. `--version` answers before anything else is imported (under 150 ms)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import skerry
from skerry.cli.exits import INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line; returns 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    _open_standard_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        sys.stdout.write(f"skerry {skerry.__version__}\n")
        return 0
    try:
        from skerry.cli.boundary import run

        return run(words)
    except KeyboardInterrupt:
        return INTERRUPTED


def _open_standard_streams() -> None:
    """Those that are closed lead nowhere: else what is opened next gets their numbers, and hears what is meant for a person."""
    opened = os.open(os.devnull, os.O_RDWR)
    if opened > 2:
        os.close(opened)
        return
    while opened <= 2:
        os.set_inheritable(opened, True)
        opened = os.open(os.devnull, os.O_RDWR)
    os.close(opened)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


if __name__ == "__main__":
    sys.exit(main())
