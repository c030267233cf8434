"""Model documents: from what people write to `wire.models.ModelSpec`, and the differences between two of them."""

from __future__ import annotations

import re

import msgspec

from skerry.core.fields import (
    WRONG,
    Field,
    Problem,
    boolean,
    list_of,
    one_of,
    section,
    size,
    text,
)
from skerry.core.model_rules import model_problems
from skerry.core.yaml_lines import Document, Path, Plain
from skerry.kit.one_line import one_line
from skerry.wire.models import ModelSpec
from skerry.wire.people import FieldChange

KIND = "model"

_SEVERAL = re.compile(r"files\[0\]")


def read_model(document: Document) -> tuple[ModelSpec, list[Problem]]:
    """One document of kind «model». With problems, the spec is only good for finding more of them."""
    problems: list[Problem] = []
    root = Field(document, (), document.value, problems)
    values = section(_FIELDS, ("name", "source"))(root)
    fields = dict(values) if isinstance(values, dict) else {}
    given = document.value if isinstance(document.value, dict) else {}
    if ("file" in given) == ("files" in given):
        root.wrong("a model has either «file» or «files»")
    fields.pop("kind", None)
    single = "file" in given
    files = [fields.pop("file", {})] if single else fields.get("files", [])
    complete = {"name": "unnamed", "source": {"hub": True}, **fields, "files": _completed(files)}
    spec = msgspec.convert(complete, ModelSpec)
    known = {problem.path for problem in problems}
    judged = [_as_written(problem) if single else problem for problem in model_problems(spec)]
    problems += [problem for problem in judged if not _is_explained(problem.path, known)]
    return spec, problems


def check_model(spec: ModelSpec) -> list[str]:
    """What is wrong with a model that came by an API, one sentence for each field; empty when it is fine."""
    return [one_line(problem.sentence) for problem in model_problems(spec)]


def model_difference(old: ModelSpec | None, new: ModelSpec) -> list[FieldChange]:
    """The fields that differ, by dotted path; files are told by name."""
    before, after = {} if old is None else _leaves(old), _leaves(new)
    return [
        FieldChange(path, before.get(path), after.get(path))
        for path in dict.fromkeys([*before, *after])
        if before.get(path) != after.get(path)
    ]


def model_document(spec: ModelSpec) -> dict[str, Plain]:
    """The model as its YAML document."""
    written: dict[str, Plain] = msgspec.to_builtins(spec)
    return {"kind": KIND, **written}


def _leaves(spec: ModelSpec) -> dict[str, str]:
    written = {"format": spec.format} if spec.format else {}
    for file in spec.files:
        written[f"files.{file.name}"] = f"{file.sha256} ({file.size} bytes)"
    source = spec.source
    written["source"] = "hub" if source.hub else source.url or source.file or ""
    return written


def _completed(files: object) -> list[dict[str, object]]:
    """Stand-ins for what is missing or wrong, so that the rest can be checked too."""
    found = files if isinstance(files, list) else []
    stand_in = {"name": "unnamed", "sha256": "0" * 64, "size": 0}
    return [stand_in | (file if isinstance(file, dict) else {}) for file in found]


def _as_written(problem: Problem) -> Problem:
    """Where the document has one `file` instead of a list."""
    if problem.path[:2] != ("files", 0):
        return problem
    return Problem(("file", *problem.path[2:]), _SEVERAL.sub("file", problem.sentence))


def _is_explained(path: Path, known: set[Path]) -> bool:
    """Whether something at, around or below `path` has been complained about already."""
    return () in known or any(
        path[: len(other)] == other or other[: len(path)] == path for other in known
    )


def _sha256(field: Field) -> object:
    word = text(field)
    return word if word is WRONG else str(word).lower()


_FILE = section({"name": text, "sha256": _sha256, "size": size}, ("name", "sha256", "size"))
_FIELDS = {
    "kind": one_of(KIND),
    "name": text,
    "format": text,
    "file": _FILE,
    "files": list_of(_FILE, "files"),
    "source": section({"hub": boolean, "url": text, "file": text}),
}
