"""What backups are for: a database that is damaged under a node that works, and a device that is lost."""

import asyncio
import os
import random
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from tests.backup_rig import PAGE, damage, maker, noise_over_a_page, removed, restored
from tests.installation import Installation, Node, installation, sleeper
from tests.model_cases import content, sha256
from tests.site_files import arrived, blob, listed

from skerry.cli.http import node_api
from skerry.node.backups.restoring import Keeping
from skerry.sdk.content import Content
from skerry.testing.waiting import eventually
from skerry.wire.local import Doctor, NodeStatus
from skerry.wire.people import NodeRevoked
from skerry.wire.records import PublishedRecord

pytestmark = pytest.mark.timeout(120)


def publish(node: Node, first: int, count: int) -> None:
    entries = [("rooms.t", number) for number in range(first, first + count)]
    node.publisher("a").publish("measurement", entries, 60.0)


async def at_hub(site: Installation, count: int) -> None:
    await eventually(lambda: site.hub.has("rooms.t", count), f"the hub has {count} records")
    assert sorted(int(str(row.value)) for row in await site.hub.rows("rooms.t")) == list(
        range(1, count + 1)
    )


async def told_of(node: Node, words: str) -> bool:
    status = await node.status()
    return status is not None and any(words in problem for problem in status.problems)


@pytest.mark.guarantee("G6")
@pytest.mark.parametrize("helped", [True, False])
async def test_noise_over_a_page_is_survived_by_all_workloads(tidy_dir: Path, helped: bool) -> None:
    """With a backup and the hub; and with neither of them, until the hub is back."""
    async with installation(tidy_dir) as site:
        node = await site.started(sleeper("a"), sleeper("b"))
        publish(node, 1, 40)
        await at_hub(site, 40)
        if helped:
            maker(node.directory).to_directory("database")
        await site.hub.apply(sleeper("c", env={"SINCE": "the backup"}))
        await eventually(lambda: node.runs("a", "b", "c"), "c runs")
        publish(node, 41, 40)
        if not helped:
            await site.hub.kill()
        before = await node.pids()
        await node.kill()
        damage(node.directory, noise_over_a_page)
        await node.start()
        await node.ready()
        await eventually(lambda: node.runs("a", "b", "c"), f"all go on; {node.log.read_text()}")
        assert await node.pids() == before
        assert await told_of(
            node, "the database was rebuilt from" if helped else "without a backup"
        )
        async with node_api(node.directory) as api:
            checks = {each.name: each for each in (await api.get("/v1/doctor", Doctor)).checks}
        assert checks["database"].outcome == "warning"
        assert checks["store"].outcome == "ok"
        assert len(list(node.directory.glob("node.db.*.damaged"))) == 1
        publish(node, 81, 20)
        if not helped:
            await site.hub.start()
        await at_hub(site, 100)
        await eventually(lambda: site.hub.has("skerry.store.rebuilt", 1), "the hub is told")
        assert await node.pids() == before
        assert len(await site.hub.rows("skerry.store.rebuilt")) == 1


def noise_everywhere(path: Path) -> None:
    """In the log as well, where SQLite has the newest pages."""
    for file, first in ((path, PAGE), (path.with_name("node.db-wal"), 32)):
        size = file.stat().st_size
        with file.open("r+b") as opened:
            opened.seek(first)
            opened.write(random.Random(3).randbytes(size - first))


@pytest.mark.guarantee("G6")
@pytest.mark.parametrize("how", [noise_everywhere, pytest.param(removed, marks=pytest.mark.soak)])
async def test_damage_while_it_runs_makes_the_agent_begin_anew_and_disturbs_no_workload(
    tidy_dir: Path, how: Callable[[Path], None]
) -> None:
    async with installation(tidy_dir) as site:
        node = await site.started(sleeper("a"), sleeper("b"))
        maker(node.directory).to_directory("database")
        before, status = await node.pids(), await node.status()
        assert status
        how(node.directory / "node.db")
        for number in range(3):  # so that somebody reads
            await site.hub.apply(sleeper(f"c{number}"))
        rebuilt = "the database was rebuilt"
        await eventually(lambda: told_of(node, rebuilt), f"rebuilt; {node.log}")
        await eventually(
            lambda: node.runs("a", "b", "c0", "c1", "c2"), f"all run; {node.log.read_text()}"
        )
        after = await node.pids()
        assert (after["a"], after["b"]) == (before["a"], before["b"])
        again = await node.status()
        assert again
        assert again.pid == status.pid  # for a supervisor it is the same process
        publish(node, 1, 20)
        await at_hub(site, 20)


@pytest.mark.guarantee("G6")
async def test_a_passphrase_that_can_be_read_once_is_enough_for_an_agent_that_begins_anew(
    tidy_dir: Path,
) -> None:
    pipe = tidy_dir / "phrase"
    os.mkfifo(pipe, 0o600)
    async with installation(tidy_dir) as site:
        node = site.node()
        node.options += [
            "--set", "encryption.storage.enabled=true", "--set", f"encryption.storage.key=passphrase:{pipe}",
        ]  # fmt: skip
        await node.enrol(site.hub)
        await site.hub.apply(sleeper("a"))
        await node.start()
        await asyncio.to_thread(pipe.write_text, "correct horse battery staple\n")
        await node.ready()
        await eventually(lambda: node.runs("a"), f"it runs; {node.log.read_text()}")
        before = await node.pids()
        removed(node.directory / "node.db")
        rebuilt = "the database was rebuilt"
        await eventually(lambda: told_of(node, rebuilt), f"rebuilt; {node.log}")
        await eventually(lambda: node.runs("a"), f"it goes on; {node.log.read_text()}")
        assert await node.pids() == before


ON = ("--set", "encryption.storage.enabled=true")
RECOVERY = b"a horse on a stick"


def given(node: Node, *contents: bytes) -> dict[str, bytes]:
    """Uploads files; what they are called at the hub, and what is in them."""
    for data in contents:
        record = PublishedRecord("cam/a.bin", "", None)
        node.publisher("a").upload(Content(data), record, 30.0)
    return {sha256(data): data for data in contents}


async def files_at_hub(site: Installation, files: Mapping[str, bytes]) -> None:
    """These and no others, each once and whole."""
    for sha in files:
        await eventually(partial(arrived, site, sha), "the file has arrived")
    assert sorted(file.sha256 for file in await listed(site)) == sorted(files)
    assert {sha: blob(site, sha) for sha in files} == files


async def nothing_waits(node: Node) -> bool:
    files = (await node.sync()).files
    return files is not None and files.count == 0


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize("on", [False, True], ids=["plain", "encrypted"])
async def test_restore_drill(tidy_dir: Path, on: bool) -> None:
    """A node with records and files that never left it is lost with its device; the backup is all that there is.

    Of the encrypted one the key was lost, too: somebody knows the recovery passphrase.
    """
    options = ON if on else ()
    async with installation(tidy_dir) as site:
        node = await site.started(sleeper("a"), sleeper("b"), options=options)
        publish(node, 1, 30)
        files = given(node, content(400_000))
        await at_hub(site, 30)
        await files_at_hub(site, files)
        await eventually(partial(nothing_waits, node), "the node knows")
        await site.hub.kill()
        publish(node, 31, 30)
        unsent = given(node, content(1_500_000), b"small", b"")
        made = maker(node.directory, recovery=RECOVERY if on else None).to_file(
            tidy_dir / "stick.skb"
        )
        assert made.records > 0
        assert (made.files, len(made.opened_by)) == (3, 2 if on else 0)
        await node.kill()
        node.clean()
        shutil.rmtree(node.directory)

        other = site.node("n2")
        other.options += options
        keeping = Keeping(passphrase=RECOVERY) if on else Keeping()
        told = restored(made, other.directory, on=on, keeping=keeping)
        assert (told.name, told.files) == (node.name, 3)
        await other.start()
        await other.ready()
        await eventually(
            lambda: other.runs("a", "b"), f"all runs, without a hub; {other.log.read_text()}"
        )
        publish(other, 61, 10)
        sync = await other.sync()
        assert sync.files
        assert (sync.files.count, sync.files.size) == (3, 1_500_005)
        files |= unsent | given(other, b"of the new device")
        await site.hub.start()
        assert told.keyless is not on
        if told.keyless:  # a backup that anybody can read has neither key nor secret in it
            assert await other.process.end() == 0
            async with site.hub.api() as api:
                await api.send("POST", f"/api/v1/nodes/{node.name}/revoke", None, NodeRevoked)
            await other.enrol(site.hub, again=True)
            await other.start()
        await at_hub(site, 70)
        await files_at_hub(site, files)
        await eventually(partial(nothing_waits, other), "the node knows")
        assert await site.hub.rows("skerry.file.damaged") == []
        status: NodeStatus | None = await other.status()
        assert status
        assert status.id == told.id
        assert await told_of(other, "restored by hand")
