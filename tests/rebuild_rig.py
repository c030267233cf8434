"""A node whose database is replaced, as a program that is killed meanwhile: `python -m tests.rebuild_rig DIR LABEL NTH`.

It is told to distrust a database in which SQLite finds nothing wrong, and SIGKILLs itself at the NTH operation of that label.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path

from tests.backup_rig import maker, settings
from tests.sealed_node import SealedNode, edit, publish, sealed_node
from tests.workload_cases import live, wish

from skerry.kit.disk import Disk, RealDisk
from skerry.node.backups.recovery import recover
from skerry.node.store.instances import Ended, Transition
from skerry.node.store.opening import Recover
from skerry.testing.faulty_disk import KillingDisk
from skerry.wire.workload import Exit

SUSPECT = "SQLite met damage that a check does not find"


def recovery(home: Path, *, on: bool, disk: Disk | None = None, **given: str) -> Recover:
    return partial(recover, settings(home, on=on, **given), disk or RealDisk())


async def work(node: SealedNode) -> None:
    """Twins, records, a workload that runs; a backup; then more of all that."""
    home = node.store.path.parent
    for number in range(10):
        await publish(node, 10 * number + 1)
        await edit(node, number)
    await node.instances.save([Transition(live(wish("cam", 3), instance="i-cam"))], label="test")
    maker(home).to_directory("database")
    for number in range(10, 20):
        await publish(node, 10 * number + 1)
        await edit(node, number)
    await node.instances.save([Transition(live(wish("mic", 7), instance="i-mic"))], label="test")
    newer = Transition(live(wish("cam", 4), instance="i-cam-2"), Ended("i-cam", Exit(at=1)))
    await node.instances.save([newer], label="test")


async def _main(directory: Path, label: str, nth: str) -> None:
    disk = KillingDisk(label, int(nth))
    finding = recovery(directory, on=False, disk=disk)
    async with sealed_node(directory, on=False, disk=disk, recover=finding, suspect=SUSPECT):
        sys.stdout.write(f"it lives; {disk.labels}\n")


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), *sys.argv[2:]))
