"""`python -m bench [NAME …] [--document]`: measures, prints, keeps the figures; without names everything, one by one."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import subprocess
import sys

from bench import figures
from bench.document import write_document
from bench.rig import room

BENCHES = (
    "restart",
    "change",
    "footprint",
    "link",
    "push",
    "writes",
    "hub",
    "postgres",
    "two_hubs",
    "wasm",
    "containers",
    "storage",
    "restore",
    "entities",
    "sync",
    "enrolment",
    "devices",
    "mtls",
    "cyberwave",
)

LONG = ("sync_million",)
"""Run by name only."""

PARTS = ("sync_rows",)
"""Parts of another bench that are run by name only; nothing is kept of them."""

KNOWN = (*BENCHES, *LONG, *PARTS)


def main() -> int:
    """Runs the named benches, each in a process of its own; 1 when one of them could not be run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(KNOWN))
    parser.add_argument(
        "--document", action="store_true", help="rewrite docs/reference/performance.md"
    )
    wanted = parser.parse_args()
    unknown = set(wanted.names) - set(KNOWN)
    if unknown:
        parser.error(f"unknown bench {', '.join(sorted(unknown))}: choose from {', '.join(KNOWN)}")
    names = wanted.names or ([] if wanted.document else BENCHES)
    if len(names) == 1:
        measure(names[0])
        failed = False
    else:
        words = [sys.executable, "-m", "bench"]
        codes = [subprocess.run([*words, name], check=False).returncode for name in names]
        failed = any(codes)
    if wanted.document:
        print(f"written: {write_document()}")
    return 1 if failed else 0


def measure(name: str) -> None:
    """Runs one bench, prints its table and keeps its figures."""
    load = os.getloadavg()[0]
    print(f"\n{name}: load average before {load:.2f}", flush=True)
    with room(name) as place:
        found = asyncio.run(importlib.import_module(f"bench.{name}").run(place))
    print(figures.table(found), flush=True)
    if name not in PARTS:
        figures.save(found, load=load)


if __name__ == "__main__":
    sys.exit(main())
