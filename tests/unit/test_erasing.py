"""A node erases itself: whom it obeys, what it removes, what it leaves alone, and what it says about it."""

from __future__ import annotations

import hashlib
import hmac
import os
import random
from pathlib import Path

import msgspec
import pytest
from tests.config_rig import Kept
from tests.nesting import nest

from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.tmpfs import Tmpfs, tmpfs_below
from skerry.node.erasing import erase
from skerry.node.identity import Identity
from skerry.node.node_settings import NodeSettings
from skerry.node.outside import Outside
from skerry.node.retirement import (
    Mark,
    last_words,
    read_certificate,
    read_mark,
    why_not_obeyed,
    write_mark,
)
from skerry.node.settings import find_settings, node_settings
from skerry.node.twins.config_dir import ConfigDirectory, Host, Own, disk_for
from skerry.node.twins.files import TwinFiles
from skerry.node.workloads.runtimes.owner import owner_mark
from skerry.node.workloads.runtimes.secret_files import MEMORY
from skerry.testing.faulty_disk import FaultyDisk
from skerry.testing.manual_clock import ManualClock
from skerry.wire.devices import Erasure, WipeOrder

ORDER = WipeOrder("id-1", "n1", "hub-1", "receipt", 5, "sold")
TWIN, REPLACED, LINKED, OTHER = (f"{n}1111111-1111-4111-8111-111111111111" for n in range(1, 5))
IDENTITY = Identity("id-1", "n1", {}, "https://hub.example", "hub-1")


def settings_in(data_dir: Path, **options: str) -> NodeSettings:
    return node_settings(find_settings([], options={"data_dir": str(data_dir), **options}))


def furnished(data_dir: Path) -> Mark:
    """What a node has, a few odd things, and the mark."""
    for name in ("node.secret", "keys.json", "node.db", "node.db-wal", "trust/node.key"):
        path = data_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("canary")
    home = data_dir / "workloads" / "cam" / "deep" / "er"
    home.mkdir(parents=True)
    (home / "picture").write_bytes(b"canary" * 1000)
    (data_dir / "link").symlink_to(data_dir.parent / "outside")
    os.mkfifo(data_dir / "pipe")
    mark = Mark(ORDER, 1, ["https://hub.example"])
    write_mark("test", data_dir, RealDisk(), mark)
    return mark


def statement(data_dir: Path) -> Erasure:
    certificate = read_certificate(data_dir)
    assert certificate is not None
    return msgspec.json.decode(certificate.report.statement, type=Erasure)


@pytest.mark.guarantee("G9")
@pytest.mark.parametrize(
    ("order", "address", "why"),
    [
        (ORDER, "https://hub.example", ""),
        (ORDER, "http://127.0.0.1:8080", ""),
        (ORDER, "http://localhost:8080", ""),
        (ORDER, "http://hub.example", "nothing proves"),
        (ORDER, "http://127.0.0.1.example:80", "nothing proves"),
        (ORDER, "http://localhost@hub.example", "nothing proves"),
        (msgspec.structs.replace(ORDER, node_id="id-2"), "https://hub.example", "another device"),
        (msgspec.structs.replace(ORDER, hub_id="hub-2"), "https://hub.example", "another hub"),
    ],
)
def test_only_its_own_hub_is_obeyed_and_only_for_itself(
    order: WipeOrder, address: str, why: str
) -> None:
    assert why in why_not_obeyed(order, IDENTITY, address)
    assert bool(why) == bool(why_not_obeyed(order, IDENTITY, address))


def test_everything_goes_the_keys_first_and_nothing_outside(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    data_dir, outside = tmp_path / "n1", tmp_path / "outside"
    data_dir.mkdir()
    outside.mkdir()
    (outside / "mine").write_text("stays")
    (outside / "theirs.pem").write_text("stays")
    erase(settings_in(data_dir), furnished(data_dir), RealDisk(), manual_clock)
    assert {path.name for path in data_dir.iterdir()} == {"decommissioned.json", "node.lock"}
    assert {path.read_text() for path in outside.iterdir()} == {"stays"}
    said = statement(data_dir)
    assert [Path(key).name for key in said.keys[:2]] == ["keys.json", "node.secret"]
    assert str(data_dir / "trust" / "node.key") in said.keys
    assert said.sealed
    assert said.files == 8
    assert said.bytes > 6000
    assert said.left[0] == f"{data_dir}/link: a link to {outside}, which stays"
    assert len(said.left) == 2  # what containers have with their engine
    certificate = read_certificate(data_dir)
    assert certificate is not None
    text = certificate.report.statement.encode()
    assert certificate.report.mac == hmac.new(b"receipt", text, hashlib.sha256).hexdigest()
    assert "receipt" not in (data_dir / "decommissioned.json").read_text()
    assert "has erased itself" in last_words(data_dir)


def test_a_database_and_backups_elsewhere_go_too_and_other_nodes_stay(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    data_dir, disk, share = tmp_path / "n1", tmp_path / "disk", tmp_path / "share"
    for each in (data_dir, disk, share):
        each.mkdir()
    for name in ("its.db", "its.db-wal", "its.db.lock", "another.db"):
        (disk / name).write_text("x")
    of_ours, of_others = share / "node-n1-id1-0001.skerry", share / "node-n2-id2-0001.skerry"
    of_ours.write_text("x")
    of_others.write_text("x")
    options = {"storage.path": str(disk / "its.db"), "storage.backup_path": str(share)}
    erase(settings_in(data_dir, **options), furnished(data_dir), RealDisk(), manual_clock)
    assert [path.name for path in disk.iterdir()] == ["another.db"]
    assert [path.name for path in share.iterdir()] == [of_others.name]


@pytest.mark.guarantee("G10")
async def test_what_it_wrote_into_the_configuration_directory_goes_and_nothing_else(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    data_dir, config, legacy = tmp_path / "n1", tmp_path / "config", tmp_path / "legacy"
    for each in (data_dir, legacy):
        each.mkdir()
    for name in ("credentials", "environment"):
        (legacy / f"{name}.json").write_text('{"token": "canary"}')
    disk = disk_for(config, Outside(data_dir, RealDisk()).note)
    host = Host("boat", 1, "Linux", "x86_64")
    await ConfigDirectory(config, Own(), host, disk, SystemClock(), Kept()).open(legacy)
    Outside(data_dir, RealDisk()).note_link(config / "models", data_dir / "models")
    (config / "models").symlink_to(data_dir / "models")
    again = disk_for(config, Outside(data_dir, RealDisk()).note)
    files = TwinFiles(config, again)
    for uuid in (TWIN, REPLACED, LINKED):
        files.write(uuid, b"{}", None)
    files.path(TWIN).write_text('{"name": "of a driver"}')
    for uuid in (REPLACED, LINKED):
        files.path(uuid).unlink()
    files.path(REPLACED).mkdir()
    (files.path(REPLACED) / "mine").write_text("stays")
    files.path(LINKED).symlink_to(legacy / "environment.json")
    (config / "workers").mkdir()
    again.write_atomic("workflow.write", config / "workers" / "wf_a.py", b"")
    for name in ("workers/mine.py", "cameras.json", f"{OTHER}.json"):
        (config / name).write_text("stays")
    (config / "environment.json").write_text("written by somebody since")
    erase(settings_in(data_dir), furnished(data_dir), RealDisk(), manual_clock)
    left = {str(path.relative_to(config)) for path in config.rglob("*") if not path.is_dir()}
    assert left == {
        "environment.json", "cameras.json", "workers/mine.py", f"{OTHER}.json", f"{LINKED}.json", f"{REPLACED}.json/mine",
    }  # fmt: skip
    assert (legacy / "environment.json").read_text() == '{"token": "canary"}'
    assert str(config / "credentials.json") in statement(data_dir).keys


@pytest.mark.guarantee("G10")
async def test_what_an_older_release_has_written_there_goes_too(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    data_dir, config, legacy = tmp_path / "n1", tmp_path / "config", tmp_path / "legacy"
    for each in (data_dir, legacy):
        each.mkdir()
    host = Host("boat", 1, "Linux", "x86_64")
    old = ConfigDirectory(config, Own(), host, RealDisk(), SystemClock(), Kept())  # notes nothing
    await old.open(legacy)
    TwinFiles(config, RealDisk()).write(TWIN, b"{}", None)
    outside = Outside(data_dir, RealDisk())
    disk = disk_for(config, outside.note)
    new = ConfigDirectory(config, Own(), host, disk, SystemClock(), Kept())
    await new.open(legacy)
    for path in new.made(legacy):
        outside.note(path)
    files = TwinFiles(config, disk)
    assert files.write(TWIN, b'{"name": "arm"}', files.stamp(TWIN))
    erase(settings_in(data_dir), furnished(data_dir), RealDisk(), manual_clock)
    assert list(config.iterdir()) == []


async def test_what_somebody_else_has_written_is_none_of_the_nodes(tmp_path: Path) -> None:
    host, legacy = Host("boat", 1, "Linux", "x86_64"), tmp_path / "legacy"
    config = tmp_path / "config"
    config.mkdir()
    (config / "fingerprint.json").write_text('{"fingerprint": "of-somebody"}')
    (config / ".migrated").write_text("")
    directory = ConfigDirectory(config, Own(), host, RealDisk(), SystemClock(), Kept())
    await directory.open(legacy)
    assert directory.made(legacy) == []


@pytest.mark.guarantee("G10")
def test_what_it_wrote_below_a_link_goes_and_what_a_link_hides_since_is_named(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    data_dir, disk, home = tmp_path / "n1", tmp_path / "disk", tmp_path / "home"
    for each in (data_dir, disk / "a", disk / "b"):
        each.mkdir(parents=True)
    home.symlink_to(disk)
    for name in ("a", "b"):
        own = disk_for(home / name, Outside(data_dir, RealDisk()).note)
        assert TwinFiles(home / name, own).write(TWIN, b"{}", None)
    (disk / "b").rename(disk / "moved")
    (disk / "b").symlink_to(disk / "moved")
    erase(settings_in(data_dir), furnished(data_dir), RealDisk(), manual_clock)
    assert list((disk / "a").iterdir()) == []
    assert [path.name for path in (disk / "moved").iterdir()] == [f"{TWIN}.json"]
    (words,) = (each for each in statement(data_dir).left if str(disk) in each)
    assert words.startswith(f"{disk / 'b' / TWIN}.json: behind a link")


def test_what_drivers_share_in_memory_goes_with_its_mount(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    data_dir = tmp_path / "n1"
    data_dir.mkdir()
    mark = owner_mark(data_dir, RealDisk(), random.Random(os.urandom(8)))
    memory = MEMORY / f"skerry-gate-{mark}"
    memory.mkdir(mode=0o700)
    shared = memory / "shared"
    shared.mkdir()
    assert Tmpfs(shared, 1 << 20).mounted() == ""
    (shared / "1.zenoh").write_text("canary")
    erase(settings_in(data_dir), furnished(data_dir), RealDisk(), manual_clock)
    assert tmpfs_below(memory) == []
    assert list(memory.iterdir()) == []
    assert not [words for words in statement(data_dir).left if str(memory) in words]
    memory.rmdir()


@pytest.mark.guarantee("G9")
def test_what_lies_elsewhere_by_a_link_goes_or_is_named(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    disk = tmp_path / "disk"
    for name in ("data", "db", "backups", "records"):
        (disk / name).mkdir(parents=True)
        (tmp_path / name).symlink_to(disk / name)
    data_dir = tmp_path / "data"
    (disk / "records" / "a.seg").write_text("x")
    (data_dir / "records").symlink_to(disk / "records")
    (disk / "db" / "real.db").write_text("x")
    (tmp_path / "its.db").symlink_to(disk / "db" / "real.db")
    (disk / "backups" / "node-n1-id1-0001.skerry").write_text("x")
    options = {
        "storage.path": str(tmp_path / "its.db"),
        "storage.backup_path": str(tmp_path / "backups"),
    }
    erase(settings_in(data_dir, **options), furnished(data_dir), RealDisk(), manual_clock)
    there = {str(path.relative_to(disk)) for path in disk.rglob("*") if path.is_file()}
    assert there == {"data/decommissioned.json", "data/node.lock", "records/a.seg"}
    assert read_mark(data_dir) is None
    assert data_dir.is_symlink()
    assert not (tmp_path / "its.db").is_symlink()
    left = statement(data_dir).left
    assert f"{disk}/data/records: a link to {disk}/records, which stays" in left


def test_settings_that_the_machine_has_elsewhere_stay(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    data_dir, machine = tmp_path / "n1", tmp_path / "etc.yaml"
    data_dir.mkdir()
    machine.write_text("encryption: {storage: {enabled: true}}\n")
    (data_dir / "node.yaml").symlink_to(machine)
    assert settings_in(data_dir).encryption.storage.enabled
    erase(settings_in(data_dir), furnished(data_dir), RealDisk(), manual_clock)
    assert settings_in(data_dir).encryption.storage.enabled
    (data_dir / "node.yaml").unlink()
    (data_dir / "node.yaml").write_text("encryption: {storage: {enabled: true}}\n")
    erase(settings_in(data_dir), furnished(data_dir), RealDisk(), manual_clock)
    assert not (data_dir / "node.yaml").exists()


@pytest.mark.guarantee("G9")
def test_what_cannot_be_erased_is_in_the_certificate(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    for n in range(1, 40):
        data_dir = tmp_path / f"n{n}"
        data_dir.mkdir()
        mark, disk = furnished(data_dir), FaultyDisk(fail_at=n)
        try:
            erase(settings_in(data_dir), mark, disk, manual_clock)
        except OSError:
            # The mark or the certificate could not be written: the next start goes on.
            again = read_mark(data_dir)
            if again is not None:
                erase(settings_in(data_dir), again, RealDisk(), manual_clock)
        if disk.operations < n:
            break
        left = {path.name for path in data_dir.rglob("*") if not path.is_dir()}
        said = statement(data_dir)
        if left - {"decommissioned.json", "node.lock", "decommission.json"}:
            assert len(said.left) > 1, left
    else:
        pytest.fail("more operations than expected")


@pytest.mark.guarantee("G9")
def test_no_program_keeps_a_node_from_erasing_itself_by_directories_in_each_other(
    tmp_path: Path,
) -> None:
    """Workers and drivers may write into directories of the node's, deeper than a path can name and than Python calls itself."""
    data_dir = tmp_path / "data"
    mark = furnished(data_dir)
    nest(data_dir / "workloads", 3000, "canary")
    erase(settings_in(data_dir), mark, RealDisk(), SystemClock())
    assert {path.name for path in data_dir.iterdir()} == {"node.lock", "decommissioned.json"}
    assert statement(data_dir).left == [
        "volumes that containers have with their engine, and images"
    ]
