"""The shipped agent on a device whose clock is wrong.

    python -m skerry.testing.misled_node SECONDS --data-dir DIR …

SECONDS is by how much the clock is ahead; «1970» is a clock that began to run with the machine.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys

from skerry.kit.clock import NS, SystemClock
from skerry.kit.disk import RealDisk
from skerry.node.__main__ import settings_from
from skerry.node.agent import run
from skerry.node.host import Host
from skerry.testing.shifted_clock import ShiftedClock


def main() -> None:
    """Runs the node until it is told to stop."""
    ahead, *words = sys.argv[1:]
    settings, _ = settings_from(words)
    logging.basicConfig(level="INFO", stream=sys.stderr)
    true = SystemClock()
    began = (true.monotonic_ns() - true.wall_ns()) / NS
    clock = ShiftedClock(began if ahead == "1970" else float(ahead))
    asyncio.run(run(settings, Host(clock, RealDisk(), random.Random(1))))


if __name__ == "__main__":
    main()
