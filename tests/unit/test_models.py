"""Models as people write them, their rules, and the names that become parts of paths."""

import json
import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.model_cases import model

from skerry.core.models import check_model, model_difference, model_document
from skerry.core.names import component_fault
from skerry.core.specs import parse_desired
from skerry.hub.api.ranges import Part, part_of
from skerry.kit.errors import InvalidInput
from skerry.wire.models import ModelFile, ModelSource, ModelSpec, file_url

SHA = "ab" * 32
FILE = f"{{name: w.onnx, sha256: {SHA}, size: 12MB}}"
MODEL = f"kind: model\nname: yolo\nformat: onnx\nfile: {FILE}\nsource: {{hub: true}}\n"


def complaints(text: str) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        parse_desired(text, "m")
    return [line.removeprefix("m:") for line in str(caught.value).splitlines()]


def test_a_model_beside_workloads() -> None:
    desired = parse_desired(
        f"{MODEL}---\nkind: workload\nname: a\nprocess: {{command: [x]}}\nmodels: [yolo]\n", "m"
    )
    [found], [workload] = desired.models, desired.workloads
    assert found == ModelSpec(
        name="yolo",
        format="onnx",
        files=[ModelFile("w.onnx", SHA, 12_000_000)],
        source=ModelSource(hub=True),
    )
    assert workload.models == ["yolo"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: yolo", "name: ../etc", ["2: name: «../etc» cannot be the name of a file: it begins with a dot"]),
        ("name: yolo", "name: manifest.json", ["2: name: «manifest.json» is the name of a file of Skerry's own"]),
        ("name: w.onnx", "name: a/b", ["4: file.name: «a/b» cannot be the name of a file: it holds a slash"]),
        ("name: w.onnx", "name: metadata.json", ["4: file.name: «metadata.json» is the name of a file of Skerry's own"]),
        (SHA, "abc", ["4: file.sha256: «abc» is not a SHA-256 (64 lower-case hex digits): sha256sum FILE shows it"]),
        ("size: 12MB", "size: many", ["4: file.size: «many» is not a size: write a number with B, KB, MB, GB, KiB, MiB or GiB"]),
        (", size: 12MB", "", ["4: missing field «file.size»"]),
        ("hub: true", "hub: true, url: http://x/w", ["5: source needs exactly one of hub, url, file; this has hub, url"]),
        ("hub: true", "url: ftp://x/w", ["5: source.url: «ftp://x/w» is not an http or https URL"]),
        ("hub: true", "url: http://me:secret@x/w", ["5: source.url: a password must not stand in a URL"]),
        ("hub: true", "file: models/w", ["5: source.file: «models/w» is not an absolute path on the node"]),
        ("format: onnx", "format: a b", ["3: format: «a b» is not a word like «onnx»"]),
        ("source: {hub: true}", "", ["1: missing field «source»"]),
        ("file: ", "filez: ", ["1: a model has either «file» or «files»", "4: unknown field «filez»: did you mean «file»?"]),
    ],
)  # fmt: skip
def test_what_is_refused(old: str, new: str, expected: list[str]) -> None:
    assert complaints(MODEL.replace(old, new)) == expected


def test_several_files_need_a_directory_and_different_names() -> None:
    text = MODEL.replace(f"file: {FILE}", f"files: [{FILE}, {FILE}]")
    assert complaints(text) == ["4: files: «w.onnx» is there twice"]
    two = text.replace("w.onnx", "v.onnx", 1)
    assert complaints(two.replace("hub: true", "url: http://x/w")) == [
        "5: source.url: for 2 files name a directory, with «/» at its end"
    ]
    [found] = parse_desired(two.replace("hub: true", "url: http://x/y/"), "m").models
    assert [file_url(found.source, file) for file in found.files] == [
        "http://x/y/v.onnx",
        "http://x/y/w.onnx",
    ]


@pytest.mark.parametrize(
    "models",
    [
        "[yolo, yolo]",
        "['../x']",
        r'["a\u202eb"]',
        r'["a\u2028"]',
        "yolo",
        f"[{', '.join(f'm{n}' for n in range(65))}]",
    ],
)
def test_what_a_workload_may_not_name(models: str) -> None:
    text = f"kind: workload\nname: a\nprocess: {{command: [x]}}\nmodels: {models}\n"
    assert complaints(text)[0].startswith("4: models")


def test_a_document_gives_the_model_back() -> None:
    spec = model()
    text = json.dumps(model_document(spec))
    assert parse_desired(text, "m").models == [spec]
    assert check_model(spec) == []


def test_the_difference_is_told_by_the_files_names() -> None:
    old = model(data=b"one")
    new = structs.replace(model(data=b"two"), source=ModelSource(url="http://x/w"))
    assert [change.path for change in model_difference(old, new)] == ["files.w.onnx", "source"]
    assert [change.path for change in model_difference(None, new)] == [
        "format",
        "files.w.onnx",
        "source",
    ]


@given(st.text(max_size=300))
def test_a_name_without_a_fault_stays_where_it_is_put(name: str) -> None:
    if component_fault(name) is not None:
        return
    path = PurePosixPath("/cache") / name
    assert path.parent == PurePosixPath("/cache")
    assert os.path.normpath(path) == str(path)
    assert 0 < len(os.fsencode(name)) <= 255
    assert "\0" not in name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "a/b", "/etc/passwd", "a\0b", "a\nb", "..\\x", "x" * 256, "é" * 128, " a", "\ud800"],
)  # fmt: skip
def test_names_that_lead_elsewhere(name: str) -> None:
    assert component_fault(name) is not None


def test_names_that_people_give(tmp_path: Path) -> None:
    for name in ("yolov8n.pt", "Détecteur v2", "a..b", "x" * 255, "-rf"):
        assert component_fault(name) is None
        (tmp_path / name).touch()


@pytest.mark.parametrize(
    ("header", "if_range", "part"),
    [
        (None, None, Part(0, 10, whole=True)),
        ("bytes=4-", None, Part(4, 10, whole=False)),
        ("bytes=4-", '"e"', Part(4, 10, whole=False)),
        ("bytes=4-", '"other"', Part(0, 10, whole=True)),
        ("bytes=4-6", None, Part(4, 7, whole=False)),
        ("bytes=4-99", None, Part(4, 10, whole=False)),
        ("bytes=10-", None, None),
        ("bytes=6-4", None, None),
        ("bytes=1-2,4-5", None, Part(0, 10, whole=True)),
        ("bytes=-3", None, Part(0, 10, whole=True)),
        ("lines=1-2", None, Part(0, 10, whole=True)),
    ],
)
def test_ranges(header: str | None, if_range: str | None, part: Part | None) -> None:
    assert part_of(10, etag='"e"', range_header=header, if_range=if_range) == part
