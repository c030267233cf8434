"""The workers that workflows bring: `wf_*.py` files, each from the row of a workflow. Pure.

A row's name of a file becomes a path on the device, so it is one component that begins and ends as it should, or nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from skerry.core.names import component_fault
from skerry.kit.errors import InvalidInput
from skerry.kit.one_line import one_line

PREFIX, ENDING = "wf_", ".py"

MAX_NAME = 120
"""Characters of a file's name: a draft of it has a longer one."""

MAX_SOURCE = 1 << 20
"""Bytes of a file."""

_SHOWN = 60

Body = Mapping[str, Any]


class WorkflowFile(msgspec.Struct, frozen=True):
    """A file of a workflow (its UUID)."""

    workflow: str
    name: str
    source: bytes


class Brought(msgspec.Struct, frozen=True):
    """What the workflows of a device bring: `files` by name, `workflows` are those that are its own, `faults` what cannot be used."""

    files: Mapping[str, WorkflowFile] = {}
    workflows: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def brought(rows: Mapping[str, Body], twins: Collection[str]) -> Brought:
    """What these rows, by workflow, bring to a device that serves `twins`."""
    files: dict[str, WorkflowFile] = {}
    faults: list[str] = []
    own = [workflow for workflow, body in sorted(rows.items()) if _twins_of(body) & set(twins)]
    for workflow in own:
        try:
            found = _file_of(workflow, rows[workflow])
        except InvalidInput as error:
            faults.append(f"workflow {one_line(workflow[:_SHOWN])}: {error}")
            continue
        if found is not None and found.name in files:
            other = files[found.name].workflow
            faults.append(f"workflow {workflow}: its file «{found.name}» is that of {other}")
        elif found is not None:
            files[found.name] = found
    return Brought(files, tuple(own), tuple(faults))


def is_workflow_file(name: str) -> bool:
    """Whether a file of that name may be a workflow's."""
    has_form = name.startswith(PREFIX) and name.endswith(ENDING) and len(name) <= MAX_NAME
    return has_form and component_fault(name) is None


def _file_of(workflow: str, body: Body) -> WorkflowFile | None:
    """None: it runs elsewhere. Raises InvalidInput."""
    name, source = body.get("worker_filename"), body.get("worker_source")
    if name is None and source is None:
        return None
    if not isinstance(name, str) or not is_workflow_file(name):
        raise InvalidInput(
            f"«{one_line(str(name)[:_SHOWN])}» is no name of its worker: it begins with {PREFIX}, ends with {ENDING} and has no "
            "separator"
        )
    if not isinstance(source, str):
        raise InvalidInput(f"its worker «{name}» has no text")
    text = source.encode()
    if len(text) > MAX_SOURCE:
        raise InvalidInput(f"its worker «{name}» has more than {MAX_SOURCE} bytes")
    return WorkflowFile(workflow, name, text)


def _twins_of(body: Body) -> set[str]:
    several = body.get("twin_uuids")
    found = several if isinstance(several, list) else [body.get("twin_uuid")]
    return {twin for twin in found if isinstance(twin, str)}
