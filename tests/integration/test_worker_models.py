"""Where Cyberwave's workers look for models: a real directory, in which they may have put anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.nesting import nest

from skerry.kit.disk import RealDisk
from skerry.node.drivers.worker_models import linked, mounted


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "models" / "cyberwave-worker-11111111"


def kinds(place: Path) -> dict[str, str]:
    return {
        path.name: "link" if path.is_symlink() else "directory" if path.is_dir() else "file"
        for path in place.iterdir()
    }


def test_a_container_has_places_for_models_of_the_node_beside_its_own(
    place: Path, tmp_path: Path
) -> None:
    owner = os.geteuid(), os.getegid()
    mounted(place, (), owner, RealDisk())
    assert kinds(place) == {}
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (place / "fetched.pt").write_text("by the SDK")
    (place / "cat").symlink_to(stranger)
    (place / "dog").write_text("in the way")
    (place / "manifest.json").symlink_to(stranger / "manifest")
    for _ in range(2):
        mounted(place, ("cat", "dog"), owner, RealDisk())
        assert kinds(place) == {
            "cat": "directory", "dog": "directory", "manifest.json": "file", "fetched.pt": "file"
        }  # fmt: skip
    assert not list(stranger.iterdir())
    assert (place / "fetched.pt").read_text() == "by the SDK"
    mounted(place, (), None, RealDisk())
    assert "manifest.json" not in kinds(place)


def test_a_directory_in_the_manifests_place_gives_way_and_nothing_that_it_leads_to(
    place: Path, tmp_path: Path
) -> None:
    manifest, stranger = place / "manifest.json", tmp_path / "stranger"
    (manifest / "deep").mkdir(parents=True)
    stranger.mkdir()
    (stranger / "kept").write_text("of somebody else")
    for link in (manifest / "a", manifest / "deep" / "b"):
        link.symlink_to(stranger)
    nest(manifest / "deep", 3000, "file")
    mounted(place, (), None, RealDisk())
    assert (manifest / "a").is_symlink()
    mounted(place, ("cat",), None, RealDisk())
    assert kinds(place) == {"cat": "directory", "manifest.json": "file"}
    assert (stranger / "kept").exists()


def test_a_process_has_links_to_models_of_the_node_beside_its_own(
    place: Path, tmp_path: Path
) -> None:
    (place / "cat").mkdir(parents=True)
    (place / "cat" / "w.pt").write_text("by the SDK, before the node had it")
    (place / "mine").mkdir()
    for view, names in (("v1", ("cat", "dog")), ("v2", ("dog",)), ("v3", ("cat", "dog"))):
        linked(place, names, tmp_path / view, RealDisk())
        links = {path.name: path.readlink() for path in place.iterdir() if path.is_symlink()}
        assert links == {name: tmp_path / view / name for name in (*names, "manifest.json")}
    linked(place, (), None, RealDisk())
    assert kinds(place) == {"mine": "directory"}
