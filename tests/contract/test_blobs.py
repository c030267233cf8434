"""The hub's blobs: in a directory and in memory alike."""

from pathlib import Path

import pytest
from tests.model_cases import content, sha256

from skerry.hub.ports import Blobs
from skerry.hub.store.blobs import BlobDirectory
from skerry.kit.clock import SystemClock
from skerry.kit.errors import InvalidInput, NotFound, StorageFull
from skerry.testing.faulty_disk import FaultyDisk
from skerry.testing.memory_blobs import MemoryBlobs
from skerry.wire.models import BlobState

DATA = content(1000)
SHA = sha256(DATA)


@pytest.fixture(params=["directory", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, clock: SystemClock) -> Blobs:
    if request.param == "memory":
        return MemoryBlobs(clock)
    return BlobDirectory(tmp_path / "blobs", FaultyDisk())


async def whole(blobs: Blobs, start: int = 0, end: int = len(DATA)) -> bytes:
    return b"".join([chunk async for chunk in blobs.read(SHA, start, end)])


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
