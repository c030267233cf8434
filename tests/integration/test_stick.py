"""Data of a node that never connects, on a stick: there, back, twice, overlapping, damaged, of others, and full."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.fault.test_file_transfers import arrived, blob, upload
from tests.model_cases import content
from tests.small_disk import small_disk
from tests.stick_rig import Site, cut_off_site, fresh

from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def site(short_dir: Path) -> AsyncIterator[Site]:
    async with cut_off_site(short_dir) as found:
        yield found


@pytest.mark.guarantee("G1")
@pytest.mark.guarantee("G10")
async def test_there_and_back(site: Site) -> None:
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

    assert await site.values() == []
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

    await site.restart()  # what the receipt said outlives the process
    assert await site.waiting() == 0


@pytest.mark.guarantee("G1")
async def test_sticks_that_overlap_in_any_order_and_a_live_push_after_them(
    site: Site, short_dir: Path
) -> None:
    first, second, third = (fresh(short_dir / name) for name in ("a", "b", "c"))
    await site.publish(3000)
    await site.export(first)
    await site.publish(2000)
    await site.export(second)
    brought = await site.bring(second)
    assert brought.code == 0, brought.err
    older = await site.bring(first)
    assert older.code == 0, older.err
    assert older.out.startswith("0 records")
    await site.has_all_once()

    late = await site.shell.run("import", str(first), "--receipts")
    assert late.code == 0, late.err
    assert await site.waiting() == 0  # it was written when the hub had all of it
    await site.publish(10)
    stale = await site.shell.run("import", str(second), "--receipts")
    assert "0 records" in stale.out
    assert await site.waiting() == 10

    await site.publish(1000)
    await site.export(third)
    assert (await site.bring(third)).code == 0
    await site.restart(url=site.shell.site.hub.url)  # without the receipt
    await site.publish(500)
    await eventually(
        lambda: site.shell.site.hub.has("deck.depth", site.published), "all is there", 20
    )
    await site.has_all_once()


@pytest.mark.guarantee("G1")
async def test_a_file_that_comes_before_the_one_it_follows(site: Site, short_dir: Path) -> None:
    await site.publish(2000, noise=800)
    exported = await site.export(None, "--part", "300KB")
    assert exported.code == 0, exported.err
    parts = site.files()
    assert len(parts) > 2
    other = fresh(short_dir / "other")
    shutil.move(parts[0], other)
    early = await site.bring()
    assert early.code == 1
    assert "First import the file that was exported before" in early.err
    assert "Traceback" not in early.err
    assert (await site.bring(other)).code == 0
    late = await site.bring()
    assert late.code == 0, late.err
    await site.has_all_once()


async def test_what_is_not_for_this_hub_or_node_changes_nothing(
    site: Site, short_dir: Path
) -> None:
    await site.publish(100)
    await site.export()
    [carried] = site.files()
    good = carried.read_bytes()

    for at, sentence in ((len(good) // 2, "damaged"), (len(good) - 9, "damaged")):
        carried.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        damaged = await site.bring()
        assert damaged.code == 1
        assert sentence in damaged.err
        assert carried.name in damaged.err
    carried.write_bytes(good[: len(good) - 20])
    assert "ends early" in (await site.bring()).err
    assert site.files(".receipt") == []

    node = good[good.index(b'"node":"') + 8 :][:36]
    carried.write_bytes(good.replace(node, b"0" * 36))
    assert "which this hub does not have" in (await site.bring()).err
    carried.write_bytes(good.replace(b'"format":1', b'"format":7'))
    newer = await site.bring()
    assert "update it first" in newer.err
    hub = good[good.index(b'"hub":"') + 7 :].partition(b'"')[0]
    carried.write_bytes(good.replace(hub, b"0" * len(hub)))
    assert "it is for another hub" in (await site.bring()).err
    carried.write_bytes(b"holiday pictures")
    assert "no file of Skerry's" in (await site.bring()).err
    assert (await site.bring(fresh(short_dir / "empty"))).code == 2

    carried.write_bytes(good)
    assert (await site.bring()).code == 0
    [receipt] = site.files(".receipt")
    written = receipt.read_bytes()
    receipt.write_bytes(written[:-5] + bytes([written[-5] ^ 1]) + written[-4:])
    forged = await site.shell.run("import", str(site.stick), "--receipts")
    assert "left alone" in forged.err
    assert await site.waiting() > 0
    receipt.write_bytes(good)  # what it sent itself is no word of the hub
    assert "it is no receipt" in (await site.shell.run("import", str(site.stick), "--receipts")).err
    assert await site.waiting() > 0


@pytest.mark.guarantee("G1")
async def test_a_small_stick_takes_what_fits_and_the_rest_after_its_receipt(
    site: Site, short_dir: Path
) -> None:
    await site.publish(3000, noise=1000)
    with small_disk(short_dir / "small", 2) as stick:
        trips = 0
        while True:
            exported = await site.export(stick)
            assert exported.code == 0, exported.err
            if "nothing to export" in exported.out:
                break
            trips += 1
            assert not list(stick.glob("*.part"))
            assert (await site.bring(stick)).code == 0
            assert trips < 12
        assert trips > 1
        (stick / "films").write_bytes(bytes(1_100_000))
        await site.publish(1)
        full = await site.export(stick)
        assert full.code == 1
        assert "Remove something from the stick" in full.err
    await site.has_all_once()
