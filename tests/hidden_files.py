"""Files without a name, which a program holds as a container's could."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_HIDES = """
import mmap, os, sys
for name, size in ("opened", 3_000_000), ("mapped", 2_000_000):
    file = open(name, "w+b")
    file.write(bytes(size))
    file.flush()
    os.unlink(name)
    if name == "opened":
        opened = file
mapped = mmap.mmap(os.dup(file.fileno()), 0)
file.close()
os.closerange(opened.fileno() + 1, 100)  # mmap keeps a descriptor, too
print("ready", flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def hidden_files(place: Path) -> Iterator[int]:
    """5 MB of them on the place's disk; the process, in a room of its own, that holds them. Skips where there can be none."""
    words = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", _HIDES]
    with subprocess.Popen(
        words, cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        if process.stdout.readline() != b"ready\n":
            pytest.skip("mounting a file system is not permitted")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        yield int(children)
        process.stdin.close()
