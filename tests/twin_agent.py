"""A node's part about twins as a process of its own, to be killed: `python tests/twin_agent.py DATA_DIRECTORY CONFIG_DIRECTORY`.

It keeps the files, and changes the twin's description again and again as a program would by REST; it prints each
number once the edit is durable.
"""

import asyncio
import sys
from pathlib import Path

from tests.shared_node import SharedNode
from tests.twin_bodies import ARM, DEVICE, ENVIRONMENT

from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.sealing.cipher import NullCipher
from skerry.node.store.twin_files import TwinFileStore
from skerry.node.twins.file_alerts import FileAlerts
from skerry.node.twins.files import TwinFiles
from skerry.node.twins.rows import TwinStore
from skerry.node.twins.syncing import FileSync
from skerry.testing.memory_alerts import MemoryAlerts
from skerry.wire.records import Meta


async def warn(_name: str, words: str, _about: Meta) -> None:
    print(f"warning: {words}", flush=True)  # noqa: T201 - to the test


def parts(node: SharedNode, config: Path) -> tuple[TwinStore, FileSync]:
    """What keeps the files of this node."""
    clock = SystemClock()
    twins = TwinStore(node.rows, node.program.entities, ENVIRONMENT, DEVICE, clock)
    store = TwinFileStore(node.writer, node.writer.reader(), NullCipher())
    return twins, FileSync(
        twins, TwinFiles(config, RealDisk()), store, clock, FileAlerts(MemoryAlerts(), warn)
    )


async def main(data: Path, config: Path) -> None:
    twins, files = parts(SharedNode(data, SystemClock()), config)
    await twins.open()
    await files.look()
    [twin] = twins.linked()
    number = int(str(twin.body.get("description") or 0))
    while True:
        number += 1
        padding = "x" * (number % 7 * 1000)
        await twins.edit(ARM, {"description": str(number), "metadata": {"padding": padding}})
        print(number, flush=True)  # noqa: T201 - to the test
        await files.look()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
