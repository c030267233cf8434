"""Twins' files on a real disk: one file for good, no name that is not a twin's, no tail of a former text for who has it open."""

import json
import os
from pathlib import Path

import pytest

from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, Refused
from skerry.node.twins.files import MAX_FILE, TwinFiles
from skerry.testing.faulty_disk import FaultyDisk

TWIN = "6f1f0c1e-0000-4000-8000-000000000001"


@pytest.fixture
def files(tmp_path: Path) -> TwinFiles:
    return TwinFiles(tmp_path, RealDisk())


def text(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_a_new_file_is_nobody_elses(files: TwinFiles) -> None:
    assert files.read(TWIN) is None
    assert files.write(TWIN, text(a=1), None)
    path = files.path(TWIN)
    assert path.stat().st_mode & 0o777 == 0o600
    seen = files.read(TWIN)
    assert seen is not None
    assert seen.text == text(a=1)
    assert files.known() == [TWIN]


@pytest.mark.parametrize("value", ["long" * 5000, "", "x" * 40])
def test_a_file_stays_the_same_one(files: TwinFiles, value: str) -> None:
    """A container has it mounted: the inode stays, and who has it open reads the new text. Case 29."""
    files.write(TWIN, text(a="b" * 100), None)
    path = files.path(TWIN)
    path.chmod(0o644)
    inode = path.stat().st_ino
    with path.open("rb") as reader:
        assert files.write(TWIN, text(a=value), files.stamp(TWIN))
        assert reader.read() == text(a=value)
    assert path.stat().st_ino == inode
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_that_a_driver_puts_in_its_place_leads_to_nobodys_file(
    files: TwinFiles, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_bytes(text(b=1))
    other.chmod(0o644)
    files.path(TWIN).symlink_to(other)
    with pytest.raises(OSError, match="symbolic links"):
        files.write(TWIN, text(a=1), files.stamp(TWIN))
    assert other.stat().st_mode & 0o777 == 0o644
    assert other.read_bytes() == text(b=1)


class Looking(RealDisk):
    """Notes what a reader finds between the steps of writing."""

    def __init__(self) -> None:
        self.found: list[bytes] = []

    def _truncate(self, fd: int, size: int) -> None:
        self.found.append(Path(f"/proc/self/fd/{fd}").read_bytes())
        super()._truncate(fd, size)


@pytest.mark.parametrize("size", [0, 10, 100, 5000])
def test_who_reads_before_the_cut_finds_a_whole_text(tmp_path: Path, size: int) -> None:
    disk = Looking()
    files = TwinFiles(tmp_path, disk)
    files.write(TWIN, text(a="b" * 100), None)
    files.write(TWIN, text(a="c" * size), files.stamp(TWIN))
    assert [json.loads(each) for each in disk.found] == [{"a": "c" * size}]


def test_a_file_that_a_driver_has_grown_without_writing_is_not_filled(tmp_path: Path) -> None:
    class Growing(RealDisk):
        def rewrite(self, label: str, path: Path, text: bytes, most: int) -> None:
            os.truncate(path, 1 << 40)  # at the last moment
            super().rewrite(label, path, text, most)

    files = TwinFiles(tmp_path, Growing())
    files.write(TWIN, text(a=1), None)
    with pytest.raises(OSError, match=f"it has {1 << 40} bytes, more than {MAX_FILE}"):
        files.write(TWIN, text(a=2), files.stamp(TWIN))
    assert files.path(TWIN).stat().st_blocks <= 16


def test_a_file_that_has_changed_meanwhile_is_left(files: TwinFiles) -> None:
    files.write(TWIN, text(a=1), None)
    before = files.stamp(TWIN)
    files.path(TWIN).write_bytes(text(a="by the driver"))
    assert not files.write(TWIN, text(a=2), before)
    assert not files.write(TWIN, text(a=2), None)
    assert files.path(TWIN).read_bytes() == text(a="by the driver")


def test_a_directory_that_docker_has_made_makes_way(files: TwinFiles) -> None:
    files.path(TWIN).mkdir()
    assert files.read(TWIN) is None
    assert files.write(TWIN, text(a=1), None)
    assert files.path(TWIN).read_bytes() == text(a=1)


def test_a_directory_with_something_in_it_is_left(files: TwinFiles) -> None:
    (files.path(TWIN) / "mine").mkdir(parents=True)
    with pytest.raises(OSError, match="not empty"):
        files.write(TWIN, text(a=1), None)


@pytest.mark.parametrize(
    "name",
    ["credentials", "fingerprint", "environment", "edge", "cameras", "../evil", "", TWIN.upper(), f"{TWIN}/../x", TWIN.replace("-", "")],
)  # fmt: skip
def test_only_a_twins_name_is_one(files: TwinFiles, name: str) -> None:
    (files.directory / "credentials.json").write_text("{}")
    with pytest.raises(InvalidInput, match="no UUID"):
        files.path(name)
    assert files.known() == []


def test_what_is_no_file_is_refused(files: TwinFiles, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("{}")
    files.path(TWIN).symlink_to(secret)
    with pytest.raises(Refused, match="a link"):
        files.read(TWIN)
    files.remove(TWIN)
    assert secret.exists()
    os.mkfifo(files.path(TWIN))
    with pytest.raises(Refused, match="no file"):
        files.read(TWIN)
    files.remove(TWIN)
    with files.path(TWIN).open("wb") as file:
        file.truncate(MAX_FILE + 1)
    with pytest.raises(Refused, match="bytes"):
        files.read(TWIN)


def test_a_write_that_fails_leaves_the_file_or_says_so(tmp_path: Path) -> None:
    files = TwinFiles(tmp_path, FaultyDisk(fail_at=1))
    with pytest.raises(OSError, match="twin.write"):
        files.write(TWIN, text(a=1), None)
    assert files.stamp(TWIN) is None
