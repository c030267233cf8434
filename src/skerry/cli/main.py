"""The entry point of `skerry`. `--version` answers before anything else is imported (under 150 ms)."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import skerry
from skerry.cli.exits import INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line; returns 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        sys.stdout.write(f"skerry {skerry.__version__}\n")
        return 0
    try:
        from skerry.cli.boundary import run

        return run(words)
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
