"""What runs, told beside the database, while a rotation seals it again: whoever comes last is what stands there."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.sealing_rig import key, sealing_cipher
from tests.workload_cases import wish

from skerry.kit.disk import RealDisk
from skerry.node.store.started import Started
from skerry.wire.workload import Assignment

LOOK = 0.2
"""Seconds in which somebody who need not wait would long be done."""


class Interrupted(RealDisk):
    """While a file is written, somebody else does something; `others` are what they do it in."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] | None = None
        self.others: list[threading.Thread] = []

    def write_atomic(self, label: str, path: Path, data: bytes, mode: int = 0o600) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            self.others.append(threading.Thread(target=meanwhile))
            self.others[-1].start()
            self.others[-1].join(LOOK)
        super().write_atomic(label, path, data, mode)


def note(started: Started) -> None:
    started.note(wish("cam", 2))


def forget(started: Started) -> None:
    started.forget("cam")


@pytest.mark.guarantee("G6")
@pytest.mark.parametrize(
    ("change", "left"), [(note, {"cam": wish("cam", 2)}), (forget, {})], ids=["note", "forget"]
)
def test_a_rotation_puts_back_nothing_older(
    tmp_path: Path, change: Callable[[Started], None], left: dict[str, Assignment]
) -> None:
    disk = Interrupted()
    newer = sealing_cipher(replace(key(1), retired=True), key(2))
    started = Started(tmp_path, disk, newer)
    Started(tmp_path, disk, sealing_cipher(key(1))).note(wish("cam", 1))
    disk.meanwhile = lambda: change(started)
    started.seal_again(newer)
    for other in disk.others:
        other.join()
    assert len(disk.others) == 1
    assert started.all() == left
