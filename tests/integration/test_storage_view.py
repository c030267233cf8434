"""`skerry storage` of a real node: all of its directory, and why each part is kept."""

import json
from pathlib import Path

from tests.command_line import CommandLine
from tests.installation import installation, sleeper

from skerry.testing.waiting import eventually
from skerry.wire.records import PublishedRecord


def on_disk(top: Path) -> int:
    return sum(each.lstat().st_blocks * 512 for each in [top, *top.rglob("*")])


async def test_the_sum_is_that_of_the_directory_and_each_part_says_why(tidy_dir: Path) -> None:
    async with installation(tidy_dir) as site:
        node = await site.started(sleeper("cam"), sleeper("gone"))
        await eventually(lambda: node.link_is("online"), "the node is online")
        await site.hub.kill()
        await eventually(lambda: node.link_is("offline"), "the node notices")
        client = node.publisher("cam")
        for start in range(0, 2000, 500):
            records = [PublishedRecord("cam.frames", n, n + 1) for n in range(start, start + 500)]
            records += [PublishedRecord("cam.text", "x" * 100, n + 1) for n in range(100)]
            client.publish("measurement", records, 10.0)
        (node.directory / "workloads" / "cam" / "video").write_bytes(bytes(3_000_000))
        with (node.directory / "workloads" / "cam" / "sparse").open("wb") as sparse:
            sparse.truncate(50_000_000)  # takes no room
        (node.directory / "workloads" / "left").mkdir()
        (node.directory / "workloads" / "left" / "data").write_bytes(bytes(300_000))
        (node.directory / "node.db.1.damaged").write_bytes(bytes(200_000))
        (node.directory / "backups").mkdir()
        (node.directory / "backups" / "one").write_bytes(bytes(400_000))
        shell = CommandLine(site)
        report = json.loads((await shell.run("storage", "-o", "json")).out)
        there = on_disk(node.directory)
        assert abs(report["used"] - there) < 0.05 * there
        assert report["used"] == sum(line["bytes"] for line in report["lines"])
        why = {line["what"]: line["why"] for line in report["lines"]}
        assert why["records keep, not at the hub"].startswith(
            "not acknowledged by the hub, not reached for "
        )
        oldest = {line["what"]: line["oldest"] for line in report["lines"]}
        assert oldest["records keep, not at the hub"] == 1
        assert why["workloads cam"] == "pinned by workload cam: its own directory"
        assert (
            why["workloads left"] == "of a workload that is not here any more: its owner removes it"
        )
        assert why["quarantine"] == "damaged, set aside: waits for a person (skerry doctor)"
        assert why["backups"].startswith("copies of the database")
        assert why["database free pages"]
        sizes = {line["what"]: line["bytes"] for line in report["lines"]}
        assert sizes["workloads cam"] >= 3_000_000
        assert sizes["backups"] >= 400_000
        streams = {use["name"]: use for use in report["streams"]}
        assert (streams["cam.frames"]["records"], streams["cam.text"]["records"]) == (2000, 400)
        assert (streams["cam.frames"]["oldest"], streams["cam.frames"]["newest"]) == (1, 2000)
        assert report["counted"] == 1.0
        keep = sizes["records keep, not at the hub"]
        assert (
            abs(sum(use["bytes"] for use in streams.values() if use["source"] == "cam") - keep)
            < 0.1 * keep
        )
        table = (await shell.run("storage")).out
        assert "growth: not known yet" in table
        assert "pinned by workload cam" in table
        by_name = await shell.run("storage", "--streams")
        assert "cam.frames" in by_name.out
