"""Data of a node that never connects, on a stick: there, back, twice, overlapping, damaged, of others, and full."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from tests.model_cases import content
from tests.site_files import arrived, blob, upload
from tests.stick_rig import Site, cut_off_site

from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(240)


@pytest.mark.guarantee("G1")
@pytest.mark.guarantee("G10")
async def test_a_site_that_never_connects(short_dir: Path) -> None:
    """One site for all of it: it takes seconds to make."""
    async with cut_off_site(short_dir) as site:
        await every_bad_file_is_named_with_what_is_wrong(site)
        await there_and_back(site)
        await records_as_files(site)


async def there_and_back(site: Site) -> None:
    await site.publish(5000)
    data = content(700_000)
    ref = await upload(site.node, data, "cam/canary-name.bin")
    exported = await site.export()
    assert exported.code == 0, exported.err
    assert "5001 records are in 1 files" in exported.out
    assert "all that the hub does not have yet" in exported.out
    [carried] = site.files()
    raw = carried.read_bytes()
    assert len(carried.name) < 64
    for word in (b"deck.depth", b"canary-name", b"lens", data[:16], ref.sha256.encode()):
        assert word not in raw + carried.name.encode()

    assert len(await site.values()) == 100
    brought = await site.bring()
    assert brought.code == 0, brought.err
    assert (
        "1 files are new at the hub, 0 records were there; 1 of 1 files were taken" in brought.out
    )
    await site.has_all_once()
    assert await arrived(site.shell.site, ref.sha256)
    assert blob(site.shell.site, ref.sha256) == data

    again = await site.bring(None, "--output", "json")
    assert json.loads(again.out)["new"] == 0
    await site.has_all_once()

    assert await site.waiting() > 0
    back = await site.export()
    assert back.code == 0, back.err
    assert "there is nothing to export" in back.out
    assert await site.waiting() == 0
    assert list(site.stick.iterdir()) == []
    files = (await site.node.sync()).files
    assert files is not None
    assert files.count == 0

    await site.publish(1000)
    large = content(900_000, seed=2)
    across = await upload(site.node, large, "cam/large.bin")
    assert (await site.export(None, "--part", "300KB")).code == 0
    assert len(site.files()) > 3
    assert (await site.bring()).code == 0
    assert blob(site.shell.site, across.sha256) == large
    await site.restart(url=site.shell.site.hub.nodes_url)  # online without the receipt
    await site.publish(500)
    hub = site.shell.site.hub
    await eventually(lambda: hub.has("deck.depth", site.published), "all is there")
    await site.has_all_once()


async def every_bad_file_is_named_with_what_is_wrong(site: Site) -> None:
    await site.publish(100)
    await site.export()
    [carried] = site.files()
    good = carried.read_bytes()
    hub = good[good.index(b'"hub":"') + 7 :].partition(b'"')[0]
    bad = {  # damaged in its last block: with that one whole, there would be a receipt for the rest
        "damaged": good[:-20] + bytes([good[-20] ^ 1]) + good[-19:],
        "ends early": good[: len(good) - 20],
        "update it first": good.replace(b'"format":1', b'"format":7'),
        "it is for another hub": good.replace(hub, b"0" * len(hub)),
        "it is no file of Skerry's": b"holiday pictures",
    }
    for number, data in enumerate(bad.values()):
        (site.stick / f"skerry-bad-{number}.stick").write_bytes(data)
    (site.stick / "skerry-bad.stick.part").write_bytes(good[:100])
    brought = await site.bring()
    assert brought.code == 1
    for number, words in enumerate(bad):
        [line] = [line for line in brought.err.splitlines() if f"bad-{number}.stick" in line]
        assert words in line, line
    assert "1 unfinished files are left alone" in brought.err
    assert "1 of 6 files were taken" in brought.out
    await site.has_all_once()

    [receipt] = site.files(".receipt")
    written = receipt.read_bytes()
    receipt.write_bytes(written[:-5] + bytes([written[-5] ^ 1]) + written[-4:])
    forged = await site.shell.run("import", str(site.stick), "--receipts")
    assert f"{receipt.name} is left alone" in forged.err
    assert await site.waiting() > 0
    receipt.write_bytes(written)
    taken = await site.shell.run("import", str(site.stick), "--receipts")
    assert taken.out.startswith("100 records")
    for path in site.stick.iterdir():
        path.unlink()
    nothing = await site.bring()
    assert (nothing.code, nothing.out) == (2, "")
    assert "there is no file of a node in" in nothing.err


async def records_as_files(site: Site) -> None:
    home = site.shell.home
    to = home / "deck.csv"
    written = await site.shell.run("records", "export", "deck.*", "--to", str(to))
    assert written.code == 0, written.err
    with to.open(newline="") as file:
        values = [int(row["value"]) for row in csv.DictReader(file)]
    assert sorted(values) == list(range(1, site.published + 1))
    parquet = home / "deck.parquet"
    assert (await site.shell.run("records", "export", "--to", str(parquet))).code == 0
    assert parquet.read_bytes()[:4] == b"PAR1"
    wrong = await site.shell.run("records", "export", "--to", str(home / "deck.xls"))
    assert (wrong.code, "write --format csv or parquet" in wrong.err) == (2, True)
    nowhere = await site.shell.run("records", "export", "--to", str(home / "no" / "deck.csv"))
    assert "No such file or directory" in nowhere.err
    assert not list(home.glob("*.part"))

    told = await site.shell.run("records", "completeness", "deck.*", "-o", "json")
    [series] = json.loads(told.out)
    assert (series["count"], series["last_value"]) == (site.published, site.published)
    assert series["publisher"] == {"missing": 0, "on_the_way": 0}
    shown = await site.shell.run("records", "completeness", "deck.*")
    assert "deck.depth" in shown.out
