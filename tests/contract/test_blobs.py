"""The hub's blobs: in a directory, in a bucket and in memory alike, plain and sealed."""

import asyncio
from pathlib import Path

import pytest
from tests.model_cases import content, sha256
from tests.s3 import S3Server, s3_server
from tests.sealed_hub import CANARY, rotation_of, sealed_store

from skerry.hub.ports import Blobs
from skerry.hub.store.blob_keys import BlobKeys
from skerry.hub.store.blobs import BlobDirectory
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.s3_blobs import S3Blobs
from skerry.hub.store.s3_objects import S3Objects
from skerry.hub.store.sealed_blobs import SealedBlobDirectory
from skerry.hub.store.sealed_s3_blobs import SealedS3Blobs
from skerry.kit.clock import SystemClock
from skerry.kit.errors import Corrupt, InvalidInput, NotFound, StorageFull
from skerry.testing.faulty_disk import FaultyDisk
from skerry.testing.memory_blobs import MemoryBlobs
from skerry.wire.models import BlobState

__all__ = ["s3_server", "sealed_store"]

DATA = content(1000)
SHA = sha256(DATA)


@pytest.fixture(params=["directory", "sealed", "memory", "s3", "sealed s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, clock: SystemClock) -> Blobs:
    if request.param == "sealed":
        keys = BlobKeys(request.getfixturevalue("sealed_store"), "blobs")
        return SealedBlobDirectory(tmp_path / "blobs", keys, FaultyDisk())
    if request.param == "memory":
        return MemoryBlobs(clock)
    if request.param == "directory":
        return BlobDirectory(tmp_path / "blobs", FaultyDisk())
    server: S3Server = request.getfixturevalue("s3_server")
    objects = S3Objects(server.bucket())
    if request.param == "s3":
        return S3Blobs(objects)
    return SealedS3Blobs(objects, BlobKeys(request.getfixturevalue("sealed_store"), "blobs"))


async def whole(blobs: Blobs, start: int = 0, end: int = len(DATA)) -> bytes:
    return b"".join([chunk async for chunk in blobs.read(SHA, start, end)])


async def test_who_asks_while_a_blob_comes_gets_an_answer(tmp_path: Path) -> None:
    """Its part gets the blob's name at any moment."""
    blobs = BlobDirectory(tmp_path / "blobs", FaultyDisk())
    for number in range(200):
        data = f"{number}".encode()
        sha = sha256(data)
        coming = asyncio.ensure_future(blobs.add(sha, 0, len(data), data))
        while not coming.done():
            states = await asyncio.gather(*(blobs.state(sha) for _ in range(4)))
            assert {state.received for state in states} <= {0, len(data)}
        assert (await coming).complete


async def test_pieces_make_a_blob(blobs: Blobs) -> None:
    assert await blobs.state(SHA) == BlobState(SHA, 0, complete=False)
    assert await blobs.add(SHA, 0, 1000, DATA[:600]) == BlobState(SHA, 600, complete=False)
    assert await blobs.size(SHA) is None
    with pytest.raises(NotFound):
        await whole(blobs)
    assert await blobs.add(SHA, 600, 1000, DATA[600:]) == BlobState(SHA, 1000, complete=True)
    assert (await blobs.size(SHA), await whole(blobs)) == (1000, DATA)
    assert await whole(blobs, 10, 20) == DATA[10:20]


async def test_a_piece_that_does_not_fit_changes_nothing(blobs: Blobs) -> None:
    await blobs.add(SHA, 0, 1000, DATA[:600])
    for offset, piece in ((0, DATA[:600]), (700, DATA[700:]), (600, DATA)):
        assert (await blobs.add(SHA, offset, 1000, piece)).received == 600
    await blobs.add(SHA, 600, 1000, DATA[600:])
    assert (await blobs.add(SHA, 0, 1000, b"x")).complete
    assert await whole(blobs) == DATA


async def test_what_is_something_else_is_forgotten(blobs: Blobs) -> None:
    with pytest.raises(InvalidInput):
        await blobs.add(SHA, 0, 1000, bytes(1000))
    assert await blobs.state(SHA) == BlobState(SHA, 0, complete=False)
    assert (await blobs.add(SHA, 0, 1000, DATA)).complete


async def test_nothing_is_a_blob_too(blobs: Blobs) -> None:
    assert (await blobs.add(sha256(b""), 0, 0, b"")).complete


async def test_what_nobody_names_goes_when_it_is_old(blobs: Blobs, clock: SystemClock) -> None:
    await blobs.add(SHA, 0, 1000, DATA)
    later = clock.wall_ns() + 1
    assert await blobs.sweep({SHA}, later) == 0
    assert await blobs.sweep(set(), 0) == 0
    assert await blobs.sweep(set(), later) == 1
    assert await blobs.size(SHA) is None


async def test_what_is_removed_can_come_again(blobs: Blobs) -> None:
    await blobs.add(SHA, 0, 1000, DATA[:600])
    await blobs.remove(SHA)
    assert await blobs.state(SHA) == BlobState(SHA, 0, complete=False)
    await blobs.add(SHA, 0, 1000, DATA)
    await blobs.remove(SHA)
    await blobs.remove(SHA)
    assert await blobs.size(SHA) is None
    assert (await blobs.add(SHA, 0, 1000, DATA)).complete


async def test_a_large_one_made_of_small_pieces(blobs: Blobs) -> None:
    data = content(11_000_000)
    sha = sha256(data)
    for start in range(0, len(data), 2_000_000):
        await blobs.add(sha, start, len(data), data[start : start + 2_000_000])
    assert b"".join([part async for part in blobs.read(sha, 0, len(data))]) == data
    assert (
        b"".join([part async for part in blobs.read(sha, 5_999_990, 6_000_010)])
        == data[5_999_990:6_000_010]
    )


@pytest.mark.parametrize("failing", range(1, 5))
async def test_a_full_disk_leaves_a_part_to_go_on_from(tmp_path: Path, failing: int) -> None:
    disk = FaultyDisk(failing, code=28)
    blobs = BlobDirectory(tmp_path / "blobs", disk)
    with pytest.raises(StorageFull, match="Make room at the hub"):
        await blobs.add(SHA, 0, 1000, DATA)
    disk.heal()
    again = BlobDirectory(tmp_path / "blobs", disk)
    state = await again.state(SHA)
    assert not state.complete
    assert (await again.add(SHA, state.received, 1000, DATA[state.received :])).complete
    assert b"".join([chunk async for chunk in again.read(SHA, 0, 1000)]) == DATA


@pytest.mark.parametrize("failing", range(1, 8))
async def test_a_full_disk_leaves_a_sealed_part_to_go_on_from(
    tmp_path: Path, sealed_store: HubStore, failing: int
) -> None:
    disk = FaultyDisk(failing, code=28)
    keys = BlobKeys(sealed_store, "blobs")
    blobs = SealedBlobDirectory(tmp_path / "blobs", keys, disk)
    with pytest.raises(StorageFull, match="Make room at the hub"):
        await blobs.add(SHA, 0, 1000, DATA)
    disk.heal()
    again = SealedBlobDirectory(tmp_path / "blobs", keys, disk)
    state = await again.state(SHA)
    if not state.complete:
        state = await again.add(SHA, state.received, 1000, DATA[state.received :])
    assert state.complete
    assert b"".join([chunk async for chunk in again.read(SHA, 0, 1000)]) == DATA


SECRET = CANARY.encode() + content(3_000_000)
SECRET_SHA = sha256(SECRET)


async def test_a_sealed_blob_shows_nothing_and_opens_only_whole(
    tmp_path: Path, sealed_store: HubStore
) -> None:
    place = tmp_path / "blobs"
    before = BlobDirectory(place, FaultyDisk())
    await before.add(SECRET_SHA, 0, len(SECRET), SECRET)
    await before.add(SHA, 0, 1000, DATA[:10])
    blobs = SealedBlobDirectory(place, BlobKeys(sealed_store, "blobs"), FaultyDisk())
    assert await part_of(blobs, 5, 60) == SECRET[5:60]
    await rotation_of(sealed_store, [blobs]).once()
    assert (await blobs.state(SHA)).received == 0
    assert (await blobs.size(SECRET_SHA), await part_of(blobs, 0, len(SECRET))) == (
        len(SECRET),
        SECRET,
    )
    assert await part_of(blobs, 70_000, 2_000_000) == SECRET[70_000:2_000_000]
    await blobs.add(SHA, 0, 1000, DATA[:600])
    files = [path for path in place.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert all(CANARY.encode() not in path.read_bytes() for path in files)
    assert all(DATA[:100] not in path.read_bytes() for path in files)
    await rotation_of(sealed_store, [blobs]).rotate()
    await rotation_of(sealed_store, [blobs]).once()
    assert await part_of(blobs, 0, len(SECRET)) == SECRET
    assert (await blobs.add(SHA, 600, 1000, DATA[600:])).complete
    assert await whole(blobs) == DATA

    [path] = place.glob(f"{SECRET_SHA[:2]}/*")
    sealed = path.read_bytes()
    for damaged in (
        sealed[:-40],
        sealed[: 8 + 2 * (65536 + 34)],
        sealed[:100] + b"x" + sealed[101:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(Corrupt):
            await part_of(blobs, 0, await blobs.size(SECRET_SHA) or 0)
    path.write_bytes(next(iter(place.glob(f"{SHA[:2]}/*"))).read_bytes())
    with pytest.raises(Corrupt, match="not"):
        await part_of(blobs, 0, 1000)


@pytest.mark.parametrize("torn", [b"\0", b"\0\0\1\0", b"\0\0\1\0 a piece that the power cut"])
async def test_a_torn_piece_counts_as_not_there(
    tmp_path: Path, sealed_store: HubStore, torn: bytes
) -> None:
    keys = BlobKeys(sealed_store, "blobs")
    blobs = SealedBlobDirectory(tmp_path / "blobs", keys, FaultyDisk())
    await blobs.add(SHA, 0, 1000, DATA[:600])
    [part] = (tmp_path / "blobs").rglob("*.part")
    part.write_bytes(part.read_bytes() + torn)
    assert (await blobs.state(SHA)).received == 600
    assert (await blobs.add(SHA, 600, 1000, DATA[600:])).complete
    assert await whole(blobs) == DATA


async def test_a_sealed_blob_without_its_key_comes_again(
    tmp_path: Path, sealed_store: HubStore
) -> None:
    keys = BlobKeys(sealed_store, "blobs")
    blobs = SealedBlobDirectory(tmp_path / "blobs", keys, FaultyDisk())
    await blobs.add(SHA, 0, 1000, DATA)
    await keys.forget(SHA)  # as in a database that was put back from a backup
    assert await blobs.state(SHA) == BlobState(SHA, 0, complete=False)
    with pytest.raises(NotFound):
        await whole(blobs)
    assert (await blobs.add(SHA, 0, 1000, DATA)).complete
    assert await whole(blobs) == DATA
    await blobs.add(SECRET_SHA, 0, len(SECRET), SECRET[:9])
    await keys.forget(SECRET_SHA)
    with pytest.raises(InvalidInput, match="Send it again"):
        await blobs.add(SECRET_SHA, 9, len(SECRET), SECRET[9:])
    assert (await blobs.add(SECRET_SHA, 0, len(SECRET), SECRET)).complete


async def part_of(blobs: Blobs, start: int, end: int) -> bytes:
    return b"".join([chunk async for chunk in blobs.read(SECRET_SHA, start, end)])
