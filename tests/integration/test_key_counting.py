"""Messages are counted before they are sealed, across crashes and on a disk that has no block left."""

import errno
import itertools
import os
from pathlib import Path

import pytest
from tests.sealing_rig import RULE, ring, where

from skerry.kit.disk import RealDisk
from skerry.kit.errors import Transient
from skerry.kit.sealing.cipher import Place
from skerry.kit.sealing.key_ring import unlocked_ring
from skerry.kit.sealing.keys import RESERVED_AT_ONCE, RESERVED_AT_START
from skerry.testing.faulty_disk import FaultyDisk
from skerry.testing.manual_clock import ManualClock

PLACE = Place("t", "c", ("1",))


def test_messages_are_counted_across_crashes(tmp_path: Path) -> None:
    held = ring(tmp_path)
    for _ in range(10):
        held.cipher("store").seal(b"", PLACE)
    before = held.messages(held.keys.in_force("store"))
    again = ring(tmp_path)  # nobody said goodbye
    key = again.keys.in_force("store")
    assert again.messages(key) >= before
    assert key.reserved == again.messages(key) + RESERVED_AT_START
    again.cipher("store").now.sealing.used = RESERVED_AT_START // 2 + 1
    again.top_up()
    assert again.keys.in_force("store").reserved > key.reserved
    for _ in range(50):  # a device that is started over and over wears out no key
        again = ring(tmp_path)
    assert again.keys.in_force("store").reserved < 2 * RESERVED_AT_ONCE


def test_no_message_is_sealed_before_it_is_counted(tmp_path: Path) -> None:
    ring(tmp_path)
    held = ring(tmp_path)
    key = held.cipher("store").now.sealing
    for _ in range(3):
        key.numbers = itertools.count(key.until - key.before)
        held.cipher("store").seal(b"", PLACE)
        assert held.messages(held.keys.in_force("store")) <= key.until
        assert key.until == held.keys.in_force("store").reserved
    assert unlocked_ring(RULE, where(tmp_path), RealDisk(), ManualClock()).keys == held.keys


class NoRoom(FaultyDisk):
    """Has no block left: what makes a file of some content fails."""

    refused: tuple[str, ...] = ("keys.write", "keys.copy")

    def _step(self, label: str) -> None:
        super()._step(label)
        if label in self.refused:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.guarantee("G2")
def test_a_ring_opens_on_a_full_disk_and_counts_all_the_same(tmp_path: Path) -> None:
    key = ring(tmp_path).keys.in_force("store")
    counted = key.reserved
    written = (tmp_path / "keys.json").read_bytes()
    for _ in range(3):  # each of them dies
        held = ring(tmp_path, disk=NoRoom())
        assert held.messages(key) == counted
        held.cipher("store").seal(b"", PLACE)
        counted += RESERVED_AT_START
    sealing = held.cipher("store").now.sealing
    sealing.numbers = itertools.count(RESERVED_AT_START - 1)
    for _ in range(2):  # the second one is more than was counted at the start
        held.cipher("store").seal(b"", PLACE)
    counted += RESERVED_AT_START
    assert (tmp_path / "keys.json").read_bytes() == written
    again = ring(tmp_path)
    assert again.messages(key) == counted
    assert again.keys.in_force("store").reserved == counted + RESERVED_AT_START
    assert (tmp_path / "keys.uncounted").stat().st_size == 0


def test_what_cannot_be_counted_is_not_sealed(tmp_path: Path) -> None:
    ring(tmp_path)
    disk = NoRoom()
    disk.refused += ("keys.uncounted",)
    held = ring(tmp_path, disk=disk)
    with pytest.raises(Transient, match="cannot seal anything"):
        held.cipher("store").seal(b"", PLACE)
    disk.refused = ()
    held.cipher("store").seal(b"", PLACE)
    assert held.messages(held.keys.in_force("store")) <= held.keys.in_force("store").reserved
