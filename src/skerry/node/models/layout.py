"""Where models lie below `<data>/models`, and the names that Cyberwave's programs know them by. Pure.

    manifest.json                     every model of the node, by its id
    <id>/<file>, <id>/metadata.json   the newest version of each
    .files/<sha256>                   each file once; everything else here is hard links to it
    .fetching/<sha256>                what has come so far, and beside it `.from`: what it is a part of
    .views/<digest>/                  manifest.json and <id>/… of exactly the models of one workload

A view never changes: a workload that was started from older files keeps them until it ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from skerry.kit.clock import iso
from skerry.wire.codec import encode
from skerry.wire.models import ModelFile, ModelSpec

DIRECTORY = "models"
MANIFEST = "manifest.json"
METADATA = "metadata.json"
FILES = ".files"
PARTS = ".fetching"
VIEWS = ".views"
DIRECTORY_MODE = 0o755


class Entry(msgspec.Struct, frozen=True):
    """A model in a manifest. `files` and `last_used_at` (ns since 1970) are ours, the rest is Cyberwave's.

    Of a model with several files, path, size and checksum are those of the first one.
    """

    model_id: str
    local_path: str
    size_bytes: int
    downloaded_at: str
    source_url: str
    checksum_sha256: str
    runtime: str
    downloaded_from: str
    files: list[ModelFile]
    last_used_at: int = 0


class Metadata(msgspec.Struct, frozen=True):
    """What lies beside a model's files, with the fields of edge-core 0.1.3 and 0.1.30."""

    model_id: str
    runtime: str
    filename: str
    checksum_sha256: str
    size_bytes: int
    downloaded_at: str
    downloaded_from: str
    download_url: str
    source_url: str
    upstream_url: str
    files: list[ModelFile]


def models_root(data_dir: Path) -> Path:
    """The cache's directory."""
    return data_dir / DIRECTORY


def view_of(root: Path, models: Iterable[ModelSpec]) -> Path:
    """Where a workload that needs these models finds them; the same files are the same view."""
    described = sorted((model.name, model.format, model.content) for model in models)
    return root / VIEWS / hashlib.sha256(encode(described)).hexdigest()[:32]


def entry_of(
    model: ModelSpec, directory: Path, fetched_at: int, manifest_of: Entry | None = None
) -> Entry:
    """A model's entry in the manifest of `directory`; keeps from an earlier one when it was used."""
    first = model.files[0]
    return Entry(
        model_id=model.name,
        local_path=str(directory / model.name / first.name),
        size_bytes=first.size,
        downloaded_at=iso(fetched_at),
        source_url=_where(model),
        checksum_sha256=first.sha256,
        runtime=model.format,
        downloaded_from=_from(model),
        files=model.files,
        last_used_at=manifest_of.last_used_at if manifest_of else fetched_at,
    )


def metadata_of(model: ModelSpec, fetched_at: int) -> Metadata:
    """What lies beside a model's files."""
    first, where = model.files[0], _where(model)
    return Metadata(
        model_id=model.name,
        runtime=model.format,
        filename=first.name,
        checksum_sha256=first.sha256,
        size_bytes=first.size,
        downloaded_at=iso(fetched_at),
        downloaded_from=_from(model),
        download_url=where,
        source_url=where,
        upstream_url=where,
        files=model.files,
    )


def _where(model: ModelSpec) -> str:
    return model.source.url or model.source.file or ""


def _from(model: ModelSpec) -> str:
    """Cyberwave's word for the source."""
    if model.source.hub:
        return "artifact_url"
    return "download_url" if model.source.url else "prestaged"
