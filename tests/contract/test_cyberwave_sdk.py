"""What we say of Cyberwave's SDK, asked of the SDK itself: its files, its strict models, its framing."""

from __future__ import annotations

import base64
import csv
import hashlib
from pathlib import Path

from tests.cyberwave_sdk import Sdk

from skerry.core.cyberwave import schemas
from skerry.wire.data_samples import Sample, pack, unpack

SDK_FILES = 1020
SDK_DIGEST = "f1fb5ce80af2b99e85b35c4558ca377ce52a97c07ecaa6e1c68d757c061a32f7"
"""Of the lines of RECORD about the package's own files, as the wheel on the package index has them (0.7.4)."""

UUID = "6f1f0c1e-0000-4000-8000-000000000001"
SCHEMAS = {
    "TwinSchema": schemas.TWIN,
    "AssetSchema": schemas.ASSET,
    "EnvironmentSchema": schemas.ENVIRONMENT,
    "WorkspaceSchema": schemas.WORKSPACE,
    "ProjectSchema": schemas.PROJECT,
    "EdgeSchema": schemas.EDGE,
    "MLModelSchema": schemas.ML_MODEL,
}

REQUIRED = """
import json, sys
import cyberwave.rest as rest
print(json.dumps({
    name: [key for key, field in getattr(rest, name).model_fields.items() if field.is_required()]
    for name in json.load(sys.stdin)
}))
"""

FIELDS = """
import json, sys
import cyberwave.rest as rest
print(json.dumps({name: list(getattr(rest, name).model_fields) for name in json.load(sys.stdin)}))
"""

READ = """
import json, sys
import cyberwave.rest as rest
faults = []
for name, body in json.load(sys.stdin):
    try:
        read = getattr(rest, name).from_dict(body)
        faults.append("" if read.uuid == body["uuid"] else "another")
    except Exception as error:
        faults.append(str(error))
print(json.dumps(faults))
"""

FRAME = """
import base64, json, sys
from cyberwave.data.header import HeaderMeta, HeaderTemplate, decode, encode
answers = []
for each in json.load(sys.stdin):
    header = dict(each["header"])
    kind, shape, dtype = header.pop("content_type"), header.pop("shape", None), header.pop("dtype", None)
    payload = base64.b64decode(each["payload"])
    shape = tuple(shape) if shape else None
    meta = HeaderMeta(kind, each["at"], each["number"], shape, dtype, header or None)
    read, rest = decode(base64.b64decode(each["framed"]))
    template = HeaderTemplate(content_type=kind, shape=shape, dtype=dtype, metadata=header or None)
    again = [template.pack(payload, ts=each["at"]) for _ in range(3)][-1]
    answers.append({
        "framed": base64.b64encode(encode(meta, payload)).decode(),
        "third": base64.b64encode(again).decode(),
        "same": read == meta and rest == payload,
    })
print(json.dumps(answers))
"""

SAMPLES = [
    Sample({"content_type": "application/json"}, 1700000000.5, 3, b'{"j1":0.5}'),
    Sample(
        {"content_type": "numpy/ndarray", "shape": [2, 2, 3], "dtype": "uint8"}, 0.0, 0, bytes(12)
    ),
    Sample(
        {
            "content_type": "numpy/ndarray",
            "shape": [1],
            "dtype": "<f8",
            "color_format": "größe 😀",
            "nested": {"a": [1, -0.5, 1e30, True, None, ""], "quoted": 'a"\\\n\x7f'},
        },
        -1.25,
        2**62,
        bytes(8),
    ),
    Sample({"content_type": "application/octet-stream", "x": "y" * 65_400}, 1e9, -1, b""),
]


def test_every_installed_file_is_the_one_of_its_wheel(cyberwave_sdk: Sdk) -> None:
    checked = 0
    for record in cyberwave_sdk.packages.glob("*.dist-info/RECORD"):
        for path, told, _size in csv.reader(record.read_text().splitlines()):
            if told:
                checked += 1
                assert told == f"sha256={_digest(cyberwave_sdk.packages / path)}", path
    assert checked > SDK_FILES


def test_the_package_is_the_one_of_the_index_and_nothing_beside_it(cyberwave_sdk: Sdk) -> None:
    [record] = cyberwave_sdk.packages.glob("cyberwave-0.7.4.dist-info/RECORD")
    lines = sorted(
        line
        for line in record.read_text().splitlines()
        if line.startswith("cyberwave/") and "__pycache__" not in line
    )
    assert len(lines) == SDK_FILES
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == SDK_DIGEST
    there = {
        path.relative_to(cyberwave_sdk.packages).as_posix()
        for path in (cyberwave_sdk.packages / "cyberwave").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert there == {next(csv.reader([line]))[0] for line in lines}


def test_a_completed_body_has_what_the_sdks_models_require(cyberwave_sdk: Sdk) -> None:
    required = cyberwave_sdk.ask(REQUIRED, list(SCHEMAS))
    for name, schema in SCHEMAS.items():
        assert set(required[name]) == {*schema, "uuid"}, name


def test_the_sdk_reads_every_completed_body(cyberwave_sdk: Sdk) -> None:
    """Of nothing, with any key null, and with keys that nobody knows."""
    asked: list[tuple[str, dict[str, object]]] = []
    for name, schema in SCHEMAS.items():
        bodies: list[dict[str, object]] = [{}, {"unknown": {"a": 1}}]
        bodies += [{key: None} for key in schema]
        asked += [(name, schemas.completed(schema, UUID, body)) for body in bodies]
    assert cyberwave_sdk.ask(READ, asked) == [""] * len(asked)


def test_the_sdk_reads_a_body_whatever_people_have_written_into_it(cyberwave_sdk: Sdk) -> None:
    """Of rows, which take any value of any key; a value that fits is kept."""
    values = [7, 0.5, "text", "2026-11-22T21:00:00Z", True, [1], ["text"], {"a": 1}, [{"a": "b"}]]
    values += [[{"a": 1}], [], {}, 10**30, 1_795_000_000_000]
    values += ["2026-W47-7", "2026-11-22X21:00", "2026-11-22"]
    remark = dict.fromkeys(("code", "title", "message", "path"), "text")
    remark |= {"severity": "info", "scope": "asset"}
    values += [[remark], [remark | {"severity": "grave"}], [remark | {"scope": "all"}]]
    ours = ("TwinSchema", "AssetSchema", "EnvironmentSchema")
    fields = cyberwave_sdk.ask(FIELDS, list(ours))
    asked = [
        (name, schemas.completed(SCHEMAS[name], UUID, {key: value}), key, value)
        for name in ours
        for key in fields[name]
        for value in values
    ]
    left_out = [
        (name, {**body, key: value}, key, value)
        for name, body, key, value in asked
        if key != "uuid" and value and body.get(key) != value
    ]
    faults = cyberwave_sdk.ask(READ, [one[:2] for one in (*asked, *left_out)])
    assert faults[: len(asked)] == [""] * len(asked)
    kept = zip(left_out, faults[len(asked) :], strict=True)
    assert not [one[2:] for one, fault in kept if not fault], "they could have been kept"


def test_framing_is_the_sdks_byte_for_byte_both_ways(cyberwave_sdk: Sdk) -> None:
    asked = [
        {
            "header": sample.header,
            "at": sample.at,
            "number": sample.number,
            "payload": base64.b64encode(sample.payload).decode(),
            "framed": base64.b64encode(pack(sample)).decode(),
        }
        for sample in SAMPLES
    ]
    for sample, answer in zip(SAMPLES, cyberwave_sdk.ask(FRAME, asked), strict=True):
        framed = base64.b64decode(answer["framed"])
        assert framed == pack(sample)
        assert unpack(framed) == sample
        assert answer["same"]
        third = Sample(sample.header, sample.at, 2, sample.payload)
        assert base64.b64decode(answer["third"]) == pack(third)


def _digest(path: Path) -> str:
    found = hashlib.sha256(path.read_bytes()).digest()
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode()
