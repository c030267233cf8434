"""A node's stores with encryption and rotation, without processes or hub; as a program one that can be killed.

`python tests/sealed_node.py DIR [LABEL NTH]` publishes, edits and rotates without end, SIGKILLs itself at the NTH
operation of that label, and prints «accepted N» and «kept N» for what it was told.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.record_rig import submission
from tests.sealing_rig import wanted, where
from tests.workload_cases import live, wish

from skerry.kit.clock import SystemClock
from skerry.kit.disk import Disk, RealDisk
from skerry.kit.sealing.cipher import Cipher
from skerry.node.identity import seal_secret
from skerry.node.store.encryption import open_encryption
from skerry.node.store.instances import InstanceStore, Transition
from skerry.node.store.opening import OpenedStore, Recover, opened
from skerry.node.store.record_jobs import Limits
from skerry.node.store.records import RecordStore
from skerry.node.store.rotation import Rotation
from skerry.testing.faulty_disk import KillingDisk

LIMITS = Limits(reserve=4096, segment=60_000)


@dataclass(frozen=True)
class SealedNode:
    store: OpenedStore
    records: RecordStore
    instances: InstanceStore
    rotation: Rotation | None


@contextlib.asynccontextmanager
async def sealed_node(
    directory: Path,
    *,
    on: bool = True,
    disk: Disk | None = None,
    limits: Limits = LIMITS,
    database: Path | None = None,
    recover: Recover = lambda _path, _encryption: None,
    suspect: str = "",
) -> AsyncIterator[SealedNode]:
    disk, clock = disk or RealDisk(), SystemClock()
    wish = wanted() if on else None
    keys = partial(open_encryption, wish, where(directory), disk, clock, database=database)
    async with opened(
        directory, "n1", clock, disk, keys, database=database, recover=recover, suspect=suspect
    ) as store:
        cipher = store.encryption.cipher("records")
        records = RecordStore(
            directory / "records", disk=disk, clock=clock, cipher=cipher, limits=limits
        )
        await records.start()
        ring = store.encryption.ring

        def secrets(cipher: Cipher) -> bool:
            sealed = seal_secret(directory, cipher, disk)
            return store.started.seal_again(cipher) or sealed

        rotation = (
            None if ring is None else Rotation(ring, store.writer, records, secrets, disk, clock)
        )
        try:
            instances = InstanceStore(store.writer, store.reader, store.cipher, store.started)
            yield SealedNode(store, records, instances, rotation)
        finally:
            await records.stop()


async def publish(node: SealedNode, first: int, count: int = 10, text: str = "") -> None:
    values = [f"{text}value {number}" for number in range(first, first + count)]
    await node.records.append(submission(first, *values))


async def edit(node: SealedNode, number: int, text: str = "") -> None:
    """A twin, and a workload with its environment."""
    body = f'{{"text":"{text}","number":{number}}}'.encode()
    await node.store.state.put("twin", f"t{number % 700:03}", body, durable=True)
    name = f"w{number % 5}"
    assignment = wish(name, env={"TOKEN": text or "none"})
    await node.instances.save([Transition(live(assignment, instance=f"i-{name}"))], label="test")


async def _main(directory: str, label: str = "", nth: str = "0") -> None:
    disk = KillingDisk(label, int(nth)) if label else RealDisk()
    async with sealed_node(Path(directory), disk=disk) as node, asyncio.TaskGroup() as tasks:
        tasks.create_task(_publish(node))
        tasks.create_task(_edit(node))
        tasks.create_task(_rotate(node))


async def _publish(node: SealedNode) -> None:
    first = node.records.head("keep").n + 1
    while True:
        await publish(node, first)
        first += 10
        _tell("accepted", first - 1)
        await asyncio.sleep(0.005)


async def _edit(node: SealedNode) -> None:
    number = len(await node.store.state.rows("twin"))
    while True:
        await edit(node, number)
        _tell("kept", number)
        number += 1
        await asyncio.sleep(0.005)


def _tell(what: str, number: int) -> None:
    sys.stdout.write(f"{what} {number}\n")
    sys.stdout.flush()


async def _rotate(node: SealedNode) -> None:
    assert node.rotation is not None
    while True:
        node.rotation.ask()
        await node.rotation.once()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
