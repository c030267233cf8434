"""What node and hub keep is for their own user only, whatever umask they were started with."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.installation import installation

from skerry.kit.errors import Transient
from skerry.kit.sqlite_connections import connect
from skerry.testing.waiting import eventually
from skerry.wire.records import PublishedRecord
from skerry.wire.workload import ProcessSpec, WorkloadSpec


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.guarantee("G10")
@pytest.mark.usefixtures("open_umask")
async def test_nobody_else_can_read_what_node_and_hub_keep(tidy_dir: Path) -> None:
    talker = ProcessSpec(command=["/bin/sh", "-c", "echo hello; sleep 600"])
    async with installation(tidy_dir) as site:
        node = await site.started(
            WorkloadSpec(name="cam", process=talker, streams={"s.*": "sample"})
        )
        log = node.directory / "logs/cam/current.log"
        await eventually(log.exists, "the workload's output is there")
        publisher = node.publisher("cam")
        values = [PublishedRecord("k.x", 1), PublishedRecord("s.x", 1)]
        await asyncio.to_thread(publisher.publish, "measurement", values, 10.0)
        await eventually(lambda: site.hub.has("*", 2), "the values are at the hub")
        found = {
            str(path.relative_to(tidy_dir)): path.lstat().st_mode & 0o777
            for root in (site.hub.directory, node.directory)
            for path in (root, *root.rglob("*"))
        }
    assert {name for name, mode in found.items() if mode & 0o077} == set()
    kept = {"hub/hub.db-wal", "n1/node.db", "n1/node.db-wal", "n1/logs/cam/current.log"}
    assert kept <= found.keys()
    assert "n1/records/sample/00000000000000000001.seg" in found


def test_a_database_that_cannot_be_made_is_tried_again_later(tmp_path: Path) -> None:
    with pytest.raises(Transient, match=r"cannot create .*/missing/node\.db: No such file"):
        connect(tmp_path / "missing" / "node.db")
