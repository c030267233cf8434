"""Which files of Zenoh's shared memory may be removed."""

from __future__ import annotations

import os
from pathlib import Path

from skerry.node.bus.shared_memory import sweep

NOW = 2_000_000_000.0


def file(memory: Path, name: str, age: float = 100.0) -> Path:
    path = memory / name
    path.write_bytes(b"x")
    os.utime(path, (NOW - age, NOW - age))
    return path


def mapped(processes: Path, number: int, path: Path) -> None:
    place = processes / str(number)
    place.mkdir(parents=True)
    status = path.stat()
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    (place / "maps").write_text(f"7f00-7f01 rw-s 00000000 {device} {status.st_ino}    {path}\n")


def test_only_old_ones_of_zenohs_that_no_process_maps(tmp_path: Path) -> None:
    memory, processes = tmp_path / "shm", tmp_path / "proc"
    memory.mkdir()
    used = file(memory, "1.zenoh")
    mapped(processes, 77, used)
    (processes / "self").mkdir()
    left, young, other = file(memory, "2.zenoh"), file(memory, "3.zenoh", 5.0), file(memory, "sem")
    assert sweep(NOW, memory, processes) == ["2.zenoh"]
    assert [path.exists() for path in (used, left, young, other)] == [True, False, True, True]
