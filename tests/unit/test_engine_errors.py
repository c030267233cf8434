"""What is said when there is no container engine, or nothing to load into it."""

import random
from pathlib import Path

import pytest

from skerry.kit.bell import Bell
from skerry.kit.clock import SystemClock
from skerry.kit.errors import InvalidInput
from skerry.node.workloads.runtimes.containers.engine import Engine, EngineGone
from skerry.node.workloads.runtimes.containers.images import Images, Voice
from skerry.wire.records import Meta
from skerry.wire.workload import Assignment


async def _tell(_name: str, _value: str, _meta: Meta) -> None:
    """Nobody listens."""


def _note(_assignment: Assignment, _line: str) -> None:
    """Nobody reads."""


async def test_without_an_engine_it_says_where_it_looked_and_what_to_do(tmp_path: Path) -> None:
    engine = Engine([tmp_path / "docker.sock"])
    with pytest.raises(EngineGone, match=r"engine at .*docker.sock: nothing is there\. Install"):
        await engine.listed("a=b")
    await engine.close()


async def test_a_file_that_is_not_there_is_the_files_fault(tmp_path: Path) -> None:
    engine = Engine([tmp_path / "docker.sock"])
    images = Images(
        engine, Voice(_note, _tell), lambda _image: None, Bell(), SystemClock(), random.Random(1)
    )
    with pytest.raises(InvalidInput, match=r"cannot read .*/nope.tar: No such file"):
        await images.load(tmp_path / "nope.tar")
