"""Models: files that workloads need, named once for the fleet. Reference: docs/reference/models.md.

`core.models` turns what people write into these values; an assignment carries those that its workload needs.
"""

from __future__ import annotations

import msgspec


class ModelSource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a node gets the files: exactly one of the three.

    `url` and `file` (a path on the node) name one file, or end with «/» and stand for a directory.
    """

    hub: bool = False
    url: str | None = None
    file: str | None = None


class ModelFile(msgspec.Struct, frozen=True):
    """One file. `sha256` is 64 lower-case hex digits, `size` is in bytes; both are what the node accepts, exactly."""

    name: str
    sha256: str
    size: int


def file_url(source: ModelSource, file: ModelFile) -> str | None:
    """Where a file of a model with a URL or a path lies; None: at the hub."""
    where = source.url or source.file
    return f"{where}{file.name}" if where is not None and where.endswith("/") else where


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model as desired. `format` is a word for people and programs: «onnx», «pt»."""

    name: str
    files: list[ModelFile]
    source: ModelSource
    format: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def content(self) -> tuple[tuple[str, str], ...]:
        """What a workload sees of it: names and hashes. Where it comes from does not matter to what runs."""
        return tuple(sorted((file.name, file.sha256) for file in self.files))


MAX_NAMED = 32
"""Models that a node may ask for at once: their names must fit a request's head."""


class NamedModels(msgspec.Struct, frozen=True):
    """What the hub says about models that a node asked for by name. `unknown`: those that it does not have."""

    models: list[ModelSpec]
    unknown: list[str]


class ModelView(msgspec.Struct, frozen=True):
    """A model at the hub, and the workloads that name it."""

    name: str
    spec: ModelSpec
    used_by: list[str]
    updated_at: int


class BlobState(msgspec.Struct, frozen=True):
    """How much of a blob the hub has. `complete`: all of it, and it is what its name says."""

    sha256: str
    received: int
    complete: bool


class CachedModel(msgspec.Struct, frozen=True):
    """A model on a node. Times are ns since 1970; `missing` says why workloads cannot use it yet; empty: they can."""

    name: str
    format: str
    size: int
    fetched: int
    used_by: list[str]
    last_used_at: int
    missing: str = ""


class ModelCache(msgspec.Struct, frozen=True):
    """What `skerry node models` shows. Sizes in bytes; `evictable` is what no workload needs at present."""

    models: list[CachedModel]
    limit: int
    used: int
    evictable: int
