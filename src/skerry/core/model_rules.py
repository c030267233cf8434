"""What makes a well-formed ModelSpec a sensible one. Used by `core.models` for files and for what comes by the hub's API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from skerry.core.fields import Problem, dotted
from skerry.core.names import (
    RESERVED_FILES,
    RESERVED_MODELS,
    component_fault,
    is_sha256,
    is_url,
)
from skerry.core.yaml_lines import Path
from skerry.wire.models import ModelFile, ModelSource, ModelSpec

MAX_FILES = 64
MAX_FILE_SIZE = 1 << 44
"""16 TiB: what ext4 takes."""

_SOURCES = ("hub", "url", "file")
_FORMAT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,62}")


def model_problems(spec: ModelSpec) -> Iterator[Problem]:
    """Everything that is wrong within one model."""
    yield from _name(("name",), spec.name, RESERVED_MODELS)
    if spec.format and not _FORMAT.fullmatch(spec.format):
        yield Problem(("format",), f"format: «{spec.format:.80}» is not a word like «onnx»")
    if not 1 <= len(spec.files) <= MAX_FILES:
        yield Problem(("files",), f"files: a model has 1 to {MAX_FILES} files")
    known: set[str] = set()
    for index, file in enumerate(spec.files):
        yield from _file(("files", index), file)
        if file.name in known:
            yield Problem(("files", index, "name"), f"files: «{file.name}» is there twice")
        known.add(file.name)
    yield from _source(spec.source, len(spec.files))


def _name(path: Path, name: str, reserved: frozenset[str]) -> Iterator[Problem]:
    fault = component_fault(name)
    if fault is None and name in reserved:
        fault = f"«{name}» is the name of a file of Skerry's own"
    if fault is not None:
        yield Problem(path, f"{dotted(path)}: {fault}")


def _file(path: Path, file: ModelFile) -> Iterator[Problem]:
    yield from _name((*path, "name"), file.name, RESERVED_FILES)
    if not is_sha256(file.sha256):
        where = (*path, "sha256")
        yield Problem(
            where,
            f"{dotted(where)}: «{file.sha256:.80}» is not a SHA-256 (64 lower-case hex digits): "
            "sha256sum FILE shows it",
        )
    if not 0 <= file.size <= MAX_FILE_SIZE:
        where = (*path, "size")
        yield Problem(where, f"{dotted(where)}: {file.size} is out of range")


def _source(source: ModelSource, files: int) -> Iterator[Problem]:
    given = [name for name in _SOURCES if getattr(source, name)]
    if len(given) != 1:
        found = ", ".join(given) or "none"
        yield Problem(
            ("source",), f"source needs exactly one of {', '.join(_SOURCES)}; this has {found}"
        )
    if source.url:
        yield from _url(source.url)
    if source.file and not source.file.startswith("/"):
        yield Problem(
            ("source", "file"), f"source.file: «{source.file}» is not an absolute path on the node"
        )
    for name in ("url", "file"):
        where = getattr(source, name)
        if where and files > 1 and not where.endswith("/"):
            sentence = f"source.{name}: for {files} files name a directory, with «/» at its end"
            yield Problem(("source", name), sentence)


def _url(url: str) -> Iterator[Problem]:
    if not is_url(url):
        yield Problem(("source", "url"), f"source.url: «{url:.200}» is not an http or https URL")
    elif "@" in urlsplit(url).netloc:
        yield Problem(("source", "url"), "source.url: a password must not stand in a URL")
