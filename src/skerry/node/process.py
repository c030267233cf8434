"""The agent's process: `python -m skerry.node.process DESCRIPTOR`, into which `python -m skerry.node` turns itself.

The descriptor holds the settings, written by `handing_over`. A second word says why the database is not to be
trusted, a third how often: an agent that meets damage turns itself into another one that rebuilds it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import time
from typing import NoReturn

from skerry.kit.authorities import unread
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, SkerryError
from skerry.kit.service_manager import ServiceManager
from skerry.node.handing_over import Handed, hand_over, taken_over
from skerry.node.host import Host
from skerry.node.store.watch import SETTLED, StoreDamaged, pause_before

with unread():
    from skerry.node.agent import run


def main() -> int:
    """Runs the node; 0 ended on request, 1 failed, 2 wrong settings."""
    handed = taken_over(int(sys.argv[1]))
    settings = handed.settings
    logging.basicConfig(
        level=settings.logs.level.upper(),
        format="%(asctime)s %(levelname)-7s %(message)s",
        stream=sys.stderr,
    )
    suspect = sys.argv[2] if len(sys.argv) > 2 else ""
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    began = time.monotonic()
    manager = ServiceManager.of(os.environ, os.getpid())  # noqa: TID251 - said to processes, not to people
    host = Host(SystemClock(), RealDisk(), random.Random(), manager)  # noqa: S311 - jitter, not secrets
    try:
        asyncio.run(run(settings, host, suspect=suspect, kek=handed.kek))
    except StoreDamaged as error:
        if time.monotonic() - began > SETTLED:
            rounds = 0
        manager.begins_anew()
        time.sleep(pause_before(rounds))
        suspect = str(error) if error.suspect else ""
        _begin_anew(Handed(settings, error.kek), suspect, rounds + 1)
    except SkerryError as error:
        sys.stderr.write(f"skerry: {error}\n")
        return 2 if isinstance(error, InvalidInput) else 1
    except OSError as error:
        sys.stderr.write(f"skerry: cannot run the node: {error}\n")
        return 1
    return 0


def _begin_anew(handed: Handed, suspect: str, rounds: int) -> NoReturn:
    """The same process as a new agent, with nothing of the old one in its memory; the workloads do not notice."""
    descriptor = str(hand_over(handed))
    words = [sys.executable, "-m", "skerry.node.process", descriptor, suspect, str(rounds)]
    os.execv(words[0], words)  # noqa: S606 - a list, no shell


if __name__ == "__main__":
    sys.exit(main())
