"""What a restore over a node that is there leaves alone, and what it tells of what it sets aside."""

from pathlib import Path

import pytest
from tests.backup_rig import maker, restored
from tests.canary import fill
from tests.record_rig import values
from tests.sealed_node import download, publish, sealed_node, upload

from skerry.kit.disk import RealDisk
from skerry.node.identity import Identity, write_identity


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize("on", [False, True])
async def test_a_database_backup_leaves_this_nodes_records_where_they_are(
    tmp_path: Path, on: bool
) -> None:
    home = tmp_path / "n"
    home.mkdir()
    write_identity(home, Identity("id-1", "shed", {}, "http://h", "h"), "s3cret", RealDisk())
    async with sealed_node(home, on=on) as node:
        await fill(node, 3)
        made = maker(home).to_directory("database")
        await publish(node, 301, 50, "after the backup")
        sha = await upload(node, b"picture")
        if on:
            node.rotation.ask()
            await node.rotation.once()
    told = restored(made, home, on=on, replace=True)
    assert (told.kept, told.left_behind) == (True, 0)
    async with sealed_node(home, on=on) as node:
        assert len(values(node.records)) == 80
        assert len(await node.store.state.rows("twin")) == 3
        assert await download(node, sha) == b"picture"
    # Another node's records would be sent as this one's.
    write_identity(home, Identity("id-2", "other", {}, "http://h", "h"), "s3cret", RealDisk())
    told = restored(made, home, on=on, replace=True)
    assert (told.kept, told.left_behind) == (False, 82)  # two are of files
