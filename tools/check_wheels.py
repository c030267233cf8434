"""Asks the package index whether each pinned library has a wheel for the devices that are supported.

`python tools/check_wheels.py [PYTHON-VERSION …]` tries requirements/run.txt, with hashes, for amd64 and arm64; docs/reference/support.md
has the outcome. Ends with 1 when something would have to be built from source.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

from debian_packages import MACHINES, ROOT, platforms

SUPPORTED = ("3.11", "3.12", "3.13")


def main() -> int:
    """One line for each architecture and Python."""
    pairs = list(product(MACHINES, sys.argv[1:] or SUPPORTED))
    with ThreadPoolExecutor(2) as threads:
        faults = list(threads.map(lambda pair: fault(*pair), pairs))
    for (arch, python), problem in zip(pairs, faults, strict=True):
        print(f"{arch} CPython {python}: {problem or 'a wheel for everything'}")
    return 1 if any(faults) else 0


def fault(arch: str, python: str) -> str:
    """What pip says does not fit; empty when all does. Nothing is installed."""
    kind = ("--implementation=cp", f"--python-version={python}", "--only-binary=:all:")
    with tempfile.TemporaryDirectory() as nowhere:
        where = ("--target", nowhere, "-r", str(ROOT / "requirements" / "run.txt"))
        words = ["-m", "pip", "install", "-q", "--dry-run", "--no-deps", "--require-hashes"]
        done = subprocess.run(
            [sys.executable, *words, *kind, *platforms(arch), *where],
            check=False,
            capture_output=True,
            text=True,
            cwd=Path(nowhere),
        )
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return " ".join(lines) if done.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
