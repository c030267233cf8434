"""The agent's process: `python -m skerry.node.process DESCRIPTOR`, into which `python -m skerry.node` turns itself.

The descriptor holds the settings, written by `handing_over`. A second word says why the database is not to be
trusted, a third how often: an agent that meets damage turns itself into another one that rebuilds it.
"""

from __future__ import annotations

import asyncio
import logging
import mimetypes
import os
import random
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from skerry.kit.authorities import unread
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, SkerryError
from skerry.kit.service_manager import ServiceManager
from skerry.node.handing_over import Handed, hand_over, taken_over
from skerry.node.host import Host
from skerry.node.node_settings import NodeSettings
from skerry.node.retirement import is_over, read_mark
from skerry.node.store.watch import SETTLED, StoreDamaged, pause_before

mimetypes.knownfiles.clear()
"""Else aiohttp reads the system's list of kinds of files: a third of a megabyte, for what no node serves."""

with unread():
    from skerry.node.agent import run


def main() -> int:
    """Runs the node; 0 ended on request, 1 failed, 2 wrong settings."""
    handed = taken_over(int(sys.argv[1]))
    logging.basicConfig(
        level=handed.settings.logs.level.upper(),
        format="%(asctime)s %(levelname)-7s %(message)s",
        stream=sys.stderr,
    )
    suspect = sys.argv[2] if len(sys.argv) > 2 else ""
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    manager = ServiceManager.of(os.environ, os.getpid())  # noqa: TID251 - said to processes, not to people
    host = Host(SystemClock(), RealDisk(), random.Random(), manager)  # noqa: S311 - jitter, not secrets
    try:
        return live(handed, host, suspect, rounds)
    except SkerryError as error:
        sys.stderr.write(f"skerry: {error}\n")
        return 2 if isinstance(error, InvalidInput) else 1
    except OSError as error:
        sys.stderr.write(f"skerry: cannot run the node: {error}\n")
        return 1


def live(handed: Handed, host: Host, suspect: str = "", rounds: int = 0) -> int:
    """One agent's life; returns the process's exit code, or becomes the agent that follows it.

    Raises as `agent.run`, unless this node has to end: then it erases itself, whatever state it is in.
    """
    settings = handed.settings
    if is_over(settings.data_dir):
        return _finish(settings, host)
    retiring = read_mark(settings.data_dir) is not None
    began = time.monotonic()
    try:
        ended = asyncio.run(run(settings, host, suspect=suspect, kek=handed.kek, retiring=retiring))
    except (SkerryError, OSError) as error:
        if read_mark(settings.data_dir) is not None:
            return _finish(settings, host, [f"what ran here could not be ended: {error}"])
        if not isinstance(error, StoreDamaged):
            raise
        if time.monotonic() - began > SETTLED:
            rounds = 0
        host.manager.begins_anew()
        time.sleep(pause_before(rounds))
        suspect = str(error) if error.suspect else ""
        _begin_anew(Handed(settings, error.kek), suspect, rounds + 1)
    if ended.how == "retired":
        return _finish(settings, host)
    if ended.how == "restart":
        host.manager.begins_anew()
        _begin_anew(Handed(settings, ended.kek), "", 0)
    return 0


def _finish(settings: NodeSettings, host: Host, left: Sequence[str] = ()) -> int:
    from skerry.node.final_report import finish  # noqa: PLC0415 - at the end of a node's life

    return finish(settings, host, left)


def _begin_anew(handed: Handed, suspect: str, rounds: int) -> NoReturn:
    """The same process as a new agent, with nothing of the old one in its memory; the workloads do not notice."""
    descriptor = str(hand_over(handed))
    words = [sys.executable, "-P", "-m", "skerry.node.process", descriptor, suspect, str(rounds)]
    os.execv(words[0], words)  # noqa: S606 - a list, no shell


if __name__ == "__main__":
    sys.exit(main())
