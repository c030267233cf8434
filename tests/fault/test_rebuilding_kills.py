"""A database is being replaced, and the node is killed, or its disk is full, at each step: the next start ends it."""

import asyncio
import errno
import shutil
import sys
from pathlib import Path

import pytest
from tests.rebuild_rig import SUSPECT, recovery, work
from tests.record_rig import values
from tests.sealed_node import SealedNode, download, edit, file_number, sealed_node, upload

from skerry.kit.errors import Refused, SkerryError
from skerry.testing.faulty_disk import FaultyDisk
from skerry.wire.codec import decode
from skerry.wire.files import FileRef
from skerry.wire.workload import Assignment

STEPS = (
    ("archive.extract", 1),
    ("recover.put", 1),
    ("store.rebuilt", 1),
    ("store.set-aside", 1),
    ("store.set-aside", 2),
    ("store.rebuild-put", 1),
    ("store.rebuild-end", 1),
    ("store.rebuild-ended", 1),
)


async def lived(home: Path) -> FileRef:
    """A node has worked here, and holds a file that is not sent."""
    async with sealed_node(home, on=False) as node:
        await work(node)
        ref = await upload(node, file_number(0))
        await edit(node, 20)
    return ref


async def is_rebuilt(node: SealedNode, ref: FileRef) -> None:
    """It says so, and all is there that a backup, what runs and the files' own directory know."""
    assert SUSPECT in (await node.store.state.fact("rebuilt"))
    assert await node.store.state.fact("rebuilt_untold")
    rows = await node.store.state.rows("assignment")
    wanted = {row.id: decode(row.body, Assignment, "it").generation.n for row in rows}
    assert (wanted["cam"], wanted["mic"]) == (4, 7)
    assert len(await node.store.state.rows("twin")) == 10
    assert len([value for value in values(node.records) if "value" in str(value)]) == 200
    assert await download(node, ref) == file_number(0)


def left(home: Path) -> list[str]:
    """What lies beside the database and is no part of it."""
    own = {"node.db", "node.db-wal", "node.db-shm", "node.db.lock"}
    return sorted(path.name for path in home.glob("node.db*") if path.name not in own)


@pytest.mark.guarantee("G1")
@pytest.mark.guarantee("G6")
@pytest.mark.guarantee("G8")
@pytest.mark.timeout(120)
async def test_killed_at_any_step_the_next_start_ends_it(short_dir: Path) -> None:
    ref = await lived(short_dir / "before")
    for label, nth in STEPS:
        home = short_dir / f"{label}{nth}"
        shutil.copytree(short_dir / "before", home)
        words = ("-m", "tests.rebuild_rig", str(home), label, str(nth))
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        said = await process.communicate()
        assert process.returncode == -9, (label, said)
        async with sealed_node(home, on=False, recover=recovery(home, on=False)) as node:
            await is_rebuilt(node, ref)
            await edit(node, 11)
        names = [name for name in left(home) if not name.endswith(("-wal", "-shm"))]
        assert len(names) == 1, (label, left(home))
        assert names[0].endswith(".damaged")
        assert f"{names[0]}-wal" in left(home), label
        async with sealed_node(home, on=False, recover=recovery(home, on=False)) as node:
            assert node.store.rebuilt is None
            assert len(await node.store.state.rows("twin")) == 11


@pytest.mark.guarantee("G6")
@pytest.mark.guarantee("G8")
@pytest.mark.timeout(120)
async def test_on_a_full_disk_it_is_refused_and_ended_later(short_dir: Path) -> None:
    ref = await lived(short_dir / "before")
    ended = 0
    for fail_at in range(1, 100):
        home = short_dir / str(fail_at)
        shutil.copytree(short_dir / "before", home)
        disk = FaultyDisk(fail_at, persistent=True, code=errno.ENOSPC)
        finding = recovery(home, on=False, disk=disk)
        refusal: Exception | None = None
        try:
            async with sealed_node(home, on=False, disk=disk, recover=finding, suspect=SUSPECT):
                pass
        except (SkerryError, OSError) as error:
            refusal = error
        begun = bool(disk.labels["store.rebuild-end"]) or (home / "node.db.rebuilding").exists()
        ended += bool(disk.labels["store.rebuild-ended"])
        if begun and ended < 2:
            assert isinstance(refusal, Refused)
            assert "No space left on device" in str(refusal)
        async with sealed_node(home, on=False, recover=recovery(home, on=False)) as node:
            if begun:
                await is_rebuilt(node, ref)
            else:
                assert not await node.store.state.fact("rebuilt")
                assert len(await node.store.state.rows("twin")) == 21
        asides = [name for name in left(home) if not name.endswith(("-wal", "-shm"))]
        assert len(asides) == begun, (fail_at, asides)
        if ended == 2:
            break
    assert ended == 2
