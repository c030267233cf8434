"""An agent's half of the bridge as a process of its own, that kills itself at the n-th operation of one label («-»: never).

    python -m tests.bridge_agent RUN JOURNAL DIRECTORY LABEL NTH

It prints the number of each message up to which all is stored.
"""

# ruff: noqa: T201

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from tests.bridge_rig import Files, Listener, shares_of
from tests.file_rig import file_rig
from tests.gate_rig import held_by_nobody

from skerry.core.cyberwave.intake import Rules
from skerry.kit.blob_bytes import PlainBytes
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.node.broker.bridge import Bridge, Store
from skerry.node.broker.link import Captured, GateLink
from skerry.testing.faulty_disk import KillingDisk


class TellingLink(GateLink):
    """Says so when the gate is told that something is stored."""

    def stored(self, captured: Captured) -> None:
        super().stored(captured)
        print(captured.entries[-1].n, flush=True)


async def main(run: Path, journal: Path, directory: Path, label: str, nth: int) -> None:
    disk = RealDisk() if label == "-" else KillingDisk(label, nth)
    clock = SystemClock()
    async with file_rig(directory, disk=disk, blobs=PlainBytes(disk)) as node:
        store = Store(
            node.records,
            Files(node.store),
            lambda: "synced",
            {1: "arm"}.get,
            shares_of(node, clock),
        )
        bridge = Bridge(store, Rules, Listener(), clock, random.Random(1))
        link = TellingLink(run, journal, clock, bridge.stored_of, held_by_nobody)
        await asyncio.gather(link.keep(), bridge.run(link))


if __name__ == "__main__":
    RUN, JOURNAL, DIRECTORY, LABEL, NTH = sys.argv[1:]
    asyncio.run(main(Path(RUN), Path(JOURNAL), Path(DIRECTORY), LABEL, int(NTH)))
