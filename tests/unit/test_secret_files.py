"""Files of secrets: in memory or not at all, for one instance, and gone with it."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from skerry.keeper.log_rules import LogRules
from skerry.kit.errors import Refused
from skerry.node.ports import ContainerLaunch, Launch
from skerry.node.workloads.runtimes.secret_files import MEMORY, SecretFiles
from skerry.wire.workload import ContainerSpec, Resources

PLAIN = Launch(
    instance="i1",
    workload="w",
    environment={},
    strict=False,
    log=Path("/log"),
    log_rules=LogRules(1, 1),
    secret_files={"db": b"value"},
)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[SecretFiles]:
    found = SecretFiles(MEMORY / f"skerry-test-{os.getpid()}-{tmp_path.name}", lambda: {"known"})
    yield found
    for instance in ("i1", "i2", "known"):
        found.remove(instance)
    assert not found.root.exists()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nobody_else_enters_and_the_file_is_read_only(files: SecretFiles) -> None:
    files.deliver(PLAIN)
    at = files.directory("w", "i1")
    assert (at / "db").read_bytes() == b"value"
    modes = [mode(path) for path in (files.root, at.parent, at, at / "db")]
    assert modes == [0o700, 0o700, 0o700, 0o400]


def test_any_user_of_a_container_reads_what_nobody_outside_can_reach(files: SecretFiles) -> None:
    container = ContainerLaunch(
        instance="i1", workload="w", environment={}, strict=False, log=Path("/log"),
        log_rules=LogRules(1, 1), spec=ContainerSpec(image="x"), resources=Resources(),
        socket=Path("/s"), secret_files={"db": b"value"},
    )  # fmt: skip
    files.deliver(container)
    at = files.directory("w", "i1")
    modes = [mode(path) for path in (files.root, at.parent, at, at / "db")]
    assert modes == [0o700, 0o700, 0o755, 0o444]


def test_a_new_value_replaces_only_files_that_are_there(files: SecretFiles) -> None:
    files.deliver(PLAIN)
    at = files.directory("w", "i1")
    before = (at / "db").stat().st_ino
    files.replace("w", {"db": b"another", "api": b"x"})
    assert [(each.name, each.read_bytes()) for each in at.iterdir()] == [("db", b"another")]
    assert (at / "db").stat().st_ino != before
    files.replace("unknown", {"db": b"x"})


def test_what_has_ended_leaves_nothing(files: SecretFiles) -> None:
    for instance in ("i1", "i2", "known"):
        files.deliver(replace(PLAIN, instance=instance))
    files.keep_only(["i2"])
    assert sorted(path.name for path in files.root.glob("*/*")) == ["i2", "known"]
    files.remove("i2")
    files.remove("known")
    assert not files.root.exists()
    files.keep_only([])


def test_a_disk_is_no_place_for_secrets(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\ntmpfs {tmp_path}/memory tmpfs rw 0 0\n")
    on_disk = SecretFiles(tmp_path / "s", set, mounts)
    with pytest.raises(Refused, match=r"would be written to a disk: .* is ext4, not tmpfs"):
        on_disk.deliver(PLAIN)
    assert not (tmp_path / "s").exists()
    missing = SecretFiles(tmp_path / "memory" / "s", set, mounts)
    with pytest.raises(Refused, match="is missing, not tmpfs"):
        missing.deliver(PLAIN)


def test_a_directory_that_others_may_enter_is_not_used(files: SecretFiles) -> None:
    files.root.mkdir(mode=0o755)
    with pytest.raises(Refused, match="is not this node's alone"):
        files.deliver(PLAIN)
    files.root.rmdir()
    files.root.symlink_to("/")
    with pytest.raises(Refused, match="is not this node's alone"):
        files.deliver(PLAIN)
    files.root.unlink()


@pytest.mark.guarantee("G9")
def test_links_in_a_directory_that_somebody_else_has_made_lead_nowhere(
    files: SecretFiles, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    for name in ("known", "ended"):
        (victim / name).mkdir(parents=True)
        (victim / name / "db").write_bytes(b"theirs")
    files.root.mkdir(mode=0o700)
    (files.root / "w").symlink_to(victim)
    files.keep_only([])
    files.remove("known")
    files.replace("w", {"db": b"value"})
    assert (victim / "known" / "db").read_bytes() == b"theirs"
    assert (victim / "ended" / "db").exists()
    (files.root / "w").unlink()
    files.root.rmdir()


@pytest.mark.guarantee("G9")
def test_a_directory_of_somebody_else_is_neither_filled_nor_cleared(
    files: SecretFiles, caplog: pytest.LogCaptureFixture
) -> None:
    at = files.root / "w" / "i1"
    at.mkdir(parents=True)
    (at / "db").write_bytes(b"")
    files.root.chmod(0o777)
    files.replace("w", {"db": b"value"})
    assert (at / "db").read_bytes() == b""
    assert f"rm -r {files.root}" in caplog.text
    with pytest.raises(Refused, match="another user of this machine"):
        files.deliver(PLAIN)
    files.keep_only([])
    assert at.exists()
    shutil.rmtree(files.root)
