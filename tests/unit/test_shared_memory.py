"""Which files of Zenoh's shared memory may be removed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from skerry.node.bus.shared_memory import sweep

NOW = 2_000_000_000.0


def file(memory: Path, name: str, age: float = 100.0) -> Path:
    path = memory / name
    path.write_bytes(b"x")
    os.utime(path, (NOW - age, NOW - age))
    return path


def test_only_old_ones_of_zenohs_that_nobody_has_locked(tmp_path: Path) -> None:
    used, left = file(tmp_path, "1.zenoh"), file(tmp_path, "2.zenoh")
    young, other = file(tmp_path, "3.zenoh", 5.0), file(tmp_path, "sem")
    link = tmp_path / "4.zenoh"
    link.symlink_to(other)
    with used.open() as user:
        fcntl.flock(user, fcntl.LOCK_SH)
        assert sweep(NOW, tmp_path) == ["2.zenoh"]
        assert [p.exists() for p in (used, left, young, other, link)] == [True, False, True, True, True]  # fmt: skip
    assert sweep(NOW, tmp_path) == ["1.zenoh"]
