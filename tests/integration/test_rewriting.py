"""Sealing finished files again while the disk fills, and while they are let go."""

import errno
import os
from pathlib import Path

import pytest
from tests.record_rig import held
from tests.sealed_node import SealedNode, publish, sealed_node

from skerry.kit.errors import Transient
from skerry.node.store.segments import Segment
from skerry.testing.faulty_disk import FaultyDisk


class Nearly(FaultyDisk):
    """A disk that has `free` bytes left, if that is set, and one of whose files goes while it is sealed anew."""

    def __init__(self) -> None:
        super().__init__()
        self.free: int | None = None
        self.failing = ""
        self.dropping: Path | None = None

    def free_bytes(self, path: Path) -> int:
        return super().free_bytes(path) if self.free is None else self.free

    def _step(self, label: str) -> None:
        super()._step(label)
        if label == self.failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self, label: str, fd: int) -> None:
        super().sync(label, fd)
        if label == "segment.rewrite-sync" and self.dropping is not None:
            self.dropping.unlink()


async def stale(node: SealedNode) -> Segment:
    """A finished file under a key that has served."""
    for first in range(1, 2000, 100):
        await publish(node, first, 100)
    ring = node.store.encryption.ring
    assert ring is not None
    ring.rotate(["records"])
    return node.records.segments("keep")[0]


def copies(node: SealedNode) -> list[Path]:
    return list(node.store.path.parent.glob("records/*/*.rewriting"))


async def test_what_finds_no_room_takes_none(tmp_path: Path) -> None:
    disk = Nearly()
    async with sealed_node(tmp_path, disk=disk) as node:
        segment = await stale(node)
        disk.free = segment.size
        with pytest.raises(Transient, match="the disk has no room for a second copy"):
            await node.records.rewrite("keep", segment)
        assert disk.labels["segment.rewrite-open"] == 0
        disk.free, disk.failing = None, "segment.rewrite-sync"
        with pytest.raises(OSError, match="No space left"):
            await node.records.rewrite("keep", segment)
        assert disk.labels["segment.rewrite-open"] == 1
        assert copies(node) == []
        disk.failing = ""
        assert await node.records.rewrite("keep", segment)
        assert len(held(node.records)) == 2000


async def test_what_is_let_go_meanwhile_leaves_nothing(tmp_path: Path) -> None:
    disk = Nearly()
    async with sealed_node(tmp_path, disk=disk) as node:
        segment = await stale(node)
        disk.dropping = segment.path
        assert not await node.records.rewrite("keep", segment)
        assert copies(node) == []
