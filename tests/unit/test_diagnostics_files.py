"""The last lines of logs, the bundle's file, and what the system's files tell."""

import io
import os
import tarfile
from pathlib import Path

import pytest
import zstandard

from skerry.kit.disk import RealDisk
from skerry.kit.errors import Refused
from skerry.node.diagnostics import system
from skerry.node.diagnostics.bundle import MANIFEST, MARGIN, packed, read_manifest, written
from skerry.node.diagnostics.tails import last_lines


def test_whole_lines_only_the_last_ones(tmp_path: Path) -> None:
    log = tmp_path / "current.log"
    log.write_bytes(b"".join(b"line %05d\n" % n for n in range(10_000)) + b"unfinish")
    found = last_lines(log, most_bytes=1000)
    assert found.endswith(b"line 09999\n")
    assert set(map(len, found.splitlines())) == {10}
    assert len(last_lines(log, most_lines=7).splitlines()) == 7
    log.write_bytes(b"x" * 5000)
    assert last_lines(log, most_bytes=1000) == b""


def test_what_was_before_the_rotation_comes_first(tmp_path: Path) -> None:
    log = tmp_path / "current.log"
    log.write_bytes(b"c\n")
    (tmp_path / "current.log.1").write_bytes(b"a\nb\n")
    (tmp_path / "current.log.2").write_bytes(b"older\n")
    assert last_lines(log) == b"older\na\nb\nc\n"
    assert last_lines(log, most_lines=2) == b"b\nc\n"


def test_links_and_pipes_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("c4n4ry\n")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic"):
        last_lines(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refused, match="no plain file"):
        last_lines(tmp_path / "pipe")


def test_a_bundle_is_a_tar_in_zstd_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.zst"
    with written(path, RealDisk(), 10**18, 1000) as bundle:
        bundle.add("logs/w.log", b"hello\n")
        bundle.add_json("a.json", {"x": [1]})
        assert not path.exists()
    assert path.stat().st_mode & 0o777 == 0o600
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        assert tar.getnames() == ["logs/w.log", "a.json"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_bundle_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fails() -> None:
        with written(tmp_path / "b", RealDisk(), 0, 1000) as bundle:
            bundle.add("x", b"y" * 100_000)
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fails()
    assert list(tmp_path.iterdir()) == []


class Full(RealDisk):
    def free_bytes(self, path: Path) -> int:  # noqa: ARG002
        return MARGIN + 999


@pytest.mark.parametrize("name", ["there", "link", "no/b"])
def test_what_is_there_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / "there").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with (
        pytest.raises(Refused, match="already|no directory"),
        written(tmp_path / name, RealDisk(), 0, 1000),
    ):
        pass
    assert (tmp_path / "there").read_text() == "mine"


def test_a_short_disk_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="are free there"), written(tmp_path / "b", Full(), 0, 1000):
        pass
    assert list(tmp_path.iterdir()) == []


def test_of_mounts_no_option_with_a_value(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(
        "22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "23 22 0:21 / /tmp rw,nosuid,password=c4n4ry shared:2 - cifs //me:c4n4ry@host/x rw,password=c4n4ry\n"
    )
    found = system.disks([Path("/tmp")], tmp_path)  # noqa: S108
    assert found[0].mount == system.Mount("/tmp", "cifs", "rw,nosuid")  # noqa: S108


def made(path: Path, *, claims: dict[str, int] | None = None, more: bytes = b"") -> Path:
    with path.open("wb") as file, packed(file, 1) as bundle:
        bundle.add("a.log", b"0123456789" * 1000 + more)
        manifest = {
            "members": bundle.members if claims is None else claims,
            "missing": {"b": "gone"},
        }
        bundle.add_json(MANIFEST, manifest)
    return path


def test_what_comes_from_afar_is_looked_at_before_it_is_kept(tmp_path: Path) -> None:
    whole = made(tmp_path / "whole")
    manifest = read_manifest(whole, 1 << 20)
    assert (sorted(manifest.members), manifest.missing) == (["a.log", MANIFEST], {"b": "gone"})
    data = whole.read_bytes()
    for cut in range(0, len(data) - 4, 7):
        short = tmp_path / "short"
        short.write_bytes(data[:cut])
        with pytest.raises(Refused, match="no whole bundle"):
            read_manifest(short, 1 << 20)
    with pytest.raises(Refused, match="not those that its manifest names"):
        read_manifest(made(tmp_path / "lies", claims={"a.log": 1}), 1 << 20)
    bomb = made(tmp_path / "bomb", more=bytes(50 << 20))
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(Refused, match="which no bundle has"):
        read_manifest(bomb, 40 << 20)
