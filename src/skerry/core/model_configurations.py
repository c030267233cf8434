"""Which models `cyberwave.yml` and `skerry.yml` name: in `models:`, as texts or as maps with `id`, `model_id` or `name`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.core.model_mentions import Found, Scan, Unknown, add
from skerry.kit.errors import InvalidInput

if TYPE_CHECKING:
    from skerry.core.yaml_lines import Document, Plain

CONFIGURATIONS = frozenset({"cyberwave.yml", "cyberwave.yaml", "skerry.yml", "skerry.yaml"})

_IDS = ("id", "model_id", "name")


def scan_configuration(name: str, text: str) -> Scan:
    """One cyberwave.yml or skerry.yml."""
    from skerry.core.yaml_lines import read_documents  # noqa: PLC0415 - 1 MB, and most workers are scripts alone

    try:
        documents = read_documents(text, name)
    except InvalidInput as error:
        return Scan(unknown=(Unknown(name, 1, str(error)),))
    found: list[Found] = []
    unknown: list[Unknown] = []
    for document in documents:
        for index, item in enumerate(_listed(document, name, unknown)):
            line = document.line(("models", index))
            model = _id_of(item, document, index)
            if model is None:
                unknown.append(Unknown(name, line, "it is neither a text nor a map with «id»"))
            else:
                add(found, unknown, Found(name, line, model))
    return Scan(tuple(found), tuple(unknown))


def _listed(document: Document, name: str, unknown: list[Unknown]) -> list[Plain]:
    if not isinstance(document.value, dict | None):
        unknown.append(Unknown(name, 1, "it is no map with «models»"))
        return []
    models = document.value.get("models") if document.value else None
    if models is None or isinstance(models, list):
        return models or []
    unknown.append(Unknown(name, document.line(("models",)), "«models» is no list"))
    return []


def _id_of(item: Plain, document: Document, index: int) -> str | None:
    if isinstance(item, dict):
        key = next((key for key in _IDS if isinstance(item.get(key), str)), None)
        return None if key is None else str(item[key])
    if item is None or isinstance(item, list):
        return None
    return document.places["models", index].text
