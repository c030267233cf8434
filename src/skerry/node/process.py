"""The agent's process: `python -m skerry.node.process DESCRIPTOR`, into which `python -m skerry.node` turns itself.

The descriptor holds the settings, written by `node_settings.to_bytes`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys

from skerry.kit.authorities import unread
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, SkerryError
from skerry.node.host import Host
from skerry.node.node_settings import from_bytes

with unread():
    from skerry.node.agent import run


def main() -> int:
    """Runs the node; 0 ended on request, 1 failed, 2 wrong settings."""
    with open(int(sys.argv[1]), "rb") as file:  # noqa: PTH123 - a descriptor
        settings = from_bytes(file.read())
    logging.basicConfig(
        level=settings.logs.level.upper(),
        format="%(asctime)s %(levelname)-7s %(message)s",
        stream=sys.stderr,
    )
    host = Host(SystemClock(), RealDisk(), random.Random())  # noqa: S311 - jitter, not secrets
    try:
        asyncio.run(run(settings, host, lambda: None))
    except SkerryError as error:
        sys.stderr.write(f"skerry: {error}\n")
        return 2 if isinstance(error, InvalidInput) else 1
    except OSError as error:
        sys.stderr.write(f"skerry: cannot run the node: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
