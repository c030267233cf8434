"""What a node takes from its hub as an order only if it could be one: names become paths here, hashes decide what is run.

A hub that is right never sends anything else; one that was taken over must not get out of the data directory by a name.
Pure, and small: every agent loads it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from skerry.core.names import (
    RESERVED_FILES,
    RESERVED_MODELS,
    component_fault,
    is_sha256,
    name_fault,
)
from skerry.kit.one_line import one_line
from skerry.wire.models import ModelFile, ModelSpec
from skerry.wire.secrets import SecretUse
from skerry.wire.workload import Assignment

_SHOWN = 64


def order_fault(row_id: str, order: Assignment) -> str | None:
    """What is wrong with an assignment that came as row `row_id`, as a sentence; None: nothing."""
    if order.workload != row_id or order.spec.name != row_id:
        return f"it is told as «{_shown(row_id)}», but is for «{_shown(order.workload)}» and runs «{_shown(order.spec.name)}»"
    return name_fault(row_id) or _secrets_fault(order.spec.secrets) or models_fault(order.models)


def _secrets_fault(uses: Iterable[SecretUse]) -> str | None:
    names = (use.file_name for use in uses)
    return next(filter(None, (component_fault(name) for name in names if name is not None)), None)


def models_fault(models: Iterable[ModelSpec]) -> str | None:
    """What is wrong with models that the hub hands out, as a sentence; None: nothing."""
    for model in models:
        faults = (
            component_fault(model.name),
            _own(model.name, RESERVED_MODELS),
            *map(_file_fault, model.files),
        )
        if fault := next(filter(None, faults), None):
            return fault
    return None


def _file_fault(file: ModelFile) -> str | None:
    if fault := component_fault(file.name) or _own(file.name, RESERVED_FILES):
        return fault
    if not is_sha256(file.sha256):
        return f"«{_shown(file.sha256)}» is no SHA-256 of a model's file"
    return None if file.size >= 0 else f"a model's file cannot have {file.size} bytes"


def _own(name: str, reserved: Collection[str]) -> str | None:
    return f"«{name}» is the name of a file of Skerry's own" if name in reserved else None


def _shown(text: str) -> str:
    return one_line(text[:_SHOWN])
