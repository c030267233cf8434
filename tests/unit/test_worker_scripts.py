"""Which files of a directory count."""

import os
from pathlib import Path

from skerry.node.workloads.workers.scripts import MAX_SCANNED, look_at, models_named
from skerry.wire.workload import WorkerSpec


def test_scripts_helpers_and_manifests_count_and_nothing_else(tmp_path: Path) -> None:
    manifests = {"skerry.yml", "skerry.yaml", "cyberwave.yml", "cyberwave.yaml"}
    for name in ("b.py", "a.py", "_shared.py", *manifests):
        (tmp_path / name).write_text(name)
    for name in (".a.py.swp", ".#a.py", "a.py~", "4913", "notes.txt", ".hidden.py"):
        (tmp_path / name).write_text("x")
    (tmp_path / "package.py").mkdir()
    look = look_at(WorkerSpec(str(tmp_path)))
    assert set(look.files) == {"_shared.py", "a.py", "b.py", *manifests}
    assert (look.scripts, look.problem) == (("a.py", "b.py"), "")


def test_a_name_that_is_no_text_can_be_stored_and_told(tmp_path: Path) -> None:
    for name in (b"\xff.py", "größe.py".encode()):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_text("x")
    look = look_at(WorkerSpec(str(tmp_path)))
    assert look.scripts == ("größe.py", "\\udcff.py")
    assert "".join(look.files).encode()
    assert models_named(tmp_path, look.files).doubts


def test_only_name_and_content_matter(tmp_path: Path) -> None:
    script = tmp_path / "a.py"
    script.write_text("one")
    worker = WorkerSpec(str(tmp_path))
    before = look_at(worker)
    os.utime(script, (1, 1))
    script.chmod(0o600)
    assert look_at(worker) == before
    script.write_text("two")
    assert look_at(worker).files.keys() == before.files.keys()
    assert look_at(worker) != before


def test_links_are_followed_and_dangling_ones_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("one")
    (tmp_path / "a.py").symlink_to(tmp_path / "real")
    (tmp_path / "b.py").symlink_to(tmp_path / "gone")
    assert look_at(WorkerSpec(str(tmp_path))).scripts == ("a.py",)


def test_nothing_to_start_is_explained(tmp_path: Path) -> None:
    gone = look_at(WorkerSpec(str(tmp_path / "w")))
    assert gone.problem == f"waits for directory {tmp_path}/w: it is not there"
    (tmp_path / "_only.py").write_text("x")
    empty = look_at(WorkerSpec(str(tmp_path), pattern="*.py"))
    assert empty.problem == f"waits for a script in {tmp_path} that fits «*.py»"
    assert set(empty.files) == {"_only.py"}
    blocked = look_at(WorkerSpec(str(tmp_path / "_only.py")))
    assert blocked.problem == f"cannot read directory {tmp_path}/_only.py: Not a directory"


def test_models_are_found_in_what_counts_and_what_is_unclear_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b'\xef\xbb\xbfcw.models.load("yolo")  # \xff\n')
    (tmp_path / "b.py").write_text("x = input()\ncw.models.load(x)\n")
    (tmp_path / "c.py").write_text("cw.models.load('huge')\n" + "#" * MAX_SCANNED)
    (tmp_path / "skerry.yml").write_text("models: [depth]\n")
    (tmp_path / ".draft.py").write_text("cw.models.load('draft')\n")
    names = list(look_at(WorkerSpec(str(tmp_path))).files)
    found = models_named(tmp_path, [*names, "gone.py"])
    assert found.models == ("depth", "yolo")
    assert [doubt.split(":")[0] for doubt in found.doubts] == ["c.py", "gone.py", "b.py"]
    assert found.doubts[2] == "b.py:2: «x» cannot be known without running it"
