"""A file's way onto the node fails, or its process is killed, at every step: what was acknowledged is whole, once."""

import asyncio
import errno
import random
import sys
import time
from itertools import count
from pathlib import Path

import pytest
from tests.file_rig import FileRig, file_rig
from tests.hub_files import manifest, node_with
from tests.hub_rig import HubRig
from tests.model_cases import content, sha256

from skerry.hub.files.arrivals import Arrivals
from skerry.hub.store.blobs import BlobDirectory
from skerry.kit.errors import SkerryError, StorageFull
from skerry.node.store.files import Moment
from skerry.sdk.client import Client, Timing
from skerry.sdk.content import Content
from skerry.testing.faulty_disk import FaultyDisk
from skerry.testing.manual_clock import ManualClock
from skerry.wire.files import FileRef
from skerry.wire.records import PublishedRecord

DATA = content(2_200_000)
SHA = sha256(DATA)
REF = FileRef(SHA, len(DATA))

LABELS = (
    "file.anew", "file.open", "file.append", "file.sync", "file.keep", "file.put.before-commit",
    "file.put.after-commit", "file.kept", "segment.append", "segment.sync", "publish.synced",
    "file.name.before-commit", "file.name.after-commit",
)  # fmt: skip


async def acknowledged(rig: FileRig) -> bool:
    try:
        await rig.put(DATA, SHA)
        await rig.publish(REF, first=1)
    except (SkerryError, OSError):  # a point of the database is no operation of ours
        return False
    return True


def is_whole(rig: FileRig) -> bool:
    rows = rig.store.rows.waiting(9)
    return [row.sha256 for row in rows] == [SHA] and rig.bytes_of(REF) == DATA


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
async def test_every_operation_fails_once(tmp_path: Path, persistent: bool, code: int) -> None:
    for n in count(1):
        directory = tmp_path / str(n)
        directory.mkdir()
        disk = FaultyDisk(persistent=persistent, code=code)
        async with file_rig(directory, disk=disk) as rig:
            before = disk.operations
            disk.fail_after(n)
            done = await acknowledged(rig)
            steps = disk.operations - before
            disk.heal()
            assert not done or is_whole(rig)
            assert await acknowledged(rig)
        async with file_rig(directory) as rig:
            assert is_whole(rig)
            assert rig.on_disk() == [SHA]
            assert rig.records.head("event").n == 1
        if n > steps:
            break
    assert n > 8


@pytest.mark.parametrize(
    "label", ["file.drop.before-commit", "file.drop.after-commit", "file.drop"]
)
async def test_letting_go_fails_at_every_step(tmp_path: Path, label: str) -> None:
    disk = FaultyDisk()
    async with file_rig(tmp_path, disk=disk) as rig:
        assert await acknowledged(rig)
        await rig.store.rows.sent(SHA, Moment(1, 1, ""), 0)
        seen = disk.labels.copy()
        disk.fail_after(
            ("file.drop.before-commit", "file.drop.after-commit", "file.drop").index(label) + 1
        )
        try:
            await rig.store.evict(10**9, safely=False)
        except (SkerryError, OSError):  # a point of the database is no operation of ours
            assert disk.labels[label] == seen[label] + 1
        disk.heal()
        assert await acknowledged(rig)
        assert rig.bytes_of(REF) == DATA
    async with file_rig(tmp_path) as rig:
        assert rig.bytes_of(REF) == DATA


def client(socket: Path) -> Client:
    return Client(str(socket), Timing(time.time_ns, time.monotonic, time.sleep), random.Random(3))


async def node(directory: Path, socket: Path, *fault: str) -> asyncio.subprocess.Process:
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.local_node", str(directory), str(socket), *fault, stdout=asyncio.subprocess.PIPE
    )  # fmt: skip
    assert started.stdout is not None
    assert await started.stdout.readline() == b"listening\n"
    return started


async def die_at(directory: Path, label: str, nth: int) -> None:
    socket = directory / "w" / "sock"
    directory.mkdir(exist_ok=True)
    process = await node(directory, socket, label, str(nth))
    sender = client(socket)
    record = PublishedRecord("cam/a.bin", "", 5, {"lens": "wide"})
    upload = asyncio.create_task(asyncio.to_thread(sender.upload, Content(DATA), record, 30))
    dying = asyncio.create_task(process.wait())
    await asyncio.wait({dying, upload}, return_when=asyncio.FIRST_COMPLETED)
    if not dying.done():
        process.kill()
    await dying
    assert not upload.done(), f"nothing was killed at {label}"
    process = await node(directory, socket)
    try:
        assert await upload == REF
    finally:
        process.kill()
        await process.wait()
    async with file_rig(directory) as rig:
        assert is_whole(rig)
        assert rig.on_disk() == [SHA]
        assert rig.records.head("event").n == 1


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize("label", LABELS)
async def test_the_node_is_killed_at_every_step_of_an_upload(short_dir: Path, label: str) -> None:
    await die_at(short_dir, label, 1)


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_two_hundred_kills(short_dir: Path) -> None:
    chance = random.Random(5)
    for n in range(200):
        label = chance.choice(LABELS)
        await die_at(
            short_dir / str(n), label, chance.randint(1, 3) if label == "file.append" else 1
        )


async def bring(hub: HubRig, node: str, data: bytes) -> None:
    state = await hub.arrivals.offer(node, manifest(data))
    while not state.complete:
        piece = data[state.start : min(state.end, state.start + 300_000)]
        state = await hub.arrivals.take(node, sha256(data), state.start, piece)


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize("persistent", [False, True])
async def test_every_operation_of_the_hub_fails_once(
    tmp_path: Path, manual_clock: ManualClock, persistent: bool
) -> None:
    hub = HubRig(f"sqlite:///{tmp_path / 'hub.db'}", manual_clock)
    await hub.start()
    for n in count(1):
        data = content(900_000 + n)[::-1]
        node = await node_with(hub, data, name=f"n{n}")
        disk = FaultyDisk(n, persistent=persistent, code=errno.ENOSPC)
        hub.arrivals = Arrivals(hub.store, BlobDirectory(tmp_path / "files", disk), manual_clock)
        failed = False
        try:
            await bring(hub, node, data)
        except StorageFull:
            failed = True
        disk.heal()
        blobs = BlobDirectory(tmp_path / "files", disk)
        hub.arrivals = Arrivals(hub.store, blobs, manual_clock)
        assert failed != (await hub.arrivals.held(node, [sha256(data)]) == [sha256(data)])
        await bring(hub, node, data)
        assert b"".join([part async for part in blobs.read(sha256(data), 0, len(data))]) == data
        if not failed:
            break
    hub.stop()
    assert n > 5
