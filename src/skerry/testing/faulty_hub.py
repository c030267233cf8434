"""A hub process whose clock is wrong, and which SIGKILLs itself while it writes the files of the fleet's authority.

    python -m skerry.testing.faulty_hub SECONDS LABEL NTH --data-dir DIR …

SECONDS is by how much the clock is ahead. It dies at the NTH operation of that label on `trust/`; LABEL may be «-»: then
it lives. The rest of the words, and everything else, is what `skerry hub run` has.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from skerry.hub import process, server
from skerry.hub.settings import settings_to_start
from skerry.testing.faulty_disk import KillingDisk
from skerry.testing.shifted_clock import ShiftedClock


def main() -> None:
    """Runs the hub until it kills itself or is told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ahead", type=float)
    parser.add_argument("label")
    parser.add_argument("nth", type=int)
    parser.add_argument("--config", type=Path, action="append", default=[])
    for option in ("--data-dir", "--listen", "--nodes-listen"):
        parser.add_argument(option, required=True)
    words = parser.parse_args()
    options = {
        "data_dir": words.data_dir,
        "listen": words.listen,
        "nodes.listen": words.nodes_listen,
    }
    settings = settings_to_start(words.config, options)
    process.set_up_logging()
    process.set_up_files()
    disk = KillingDisk(words.label, words.nth)
    asyncio.run(server.serve(settings, clock=ShiftedClock(words.ahead), disk=disk))


if __name__ == "__main__":
    main()
