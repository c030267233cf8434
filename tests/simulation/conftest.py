"""Databases of a new hub and a new node, which every run begins with."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.simulation.runs import make_templates


@pytest.fixture(scope="session")
def templates() -> Iterator[Path]:
    memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a directory of our own in it
    path = Path(tempfile.mkdtemp(prefix="sk-", dir=memory if memory.is_dir() else None))
    make_templates(path)
    yield path
    shutil.rmtree(path)
