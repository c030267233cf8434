"""What nodes are told (`skerry get assignments`), as a table and as workload files."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from skerry.cli.output import Cell, Table
from skerry.core.specs import to_document
from skerry.wire.people import AssignmentView


def assignments_table(views: Sequence[AssignmentView]) -> Table:
    """One row for each workload on each node, with what differs from the workload itself."""
    return Table(
        ("WORKLOAD", "NODE", "GENERATION", "DIFFERS"),
        [
            (
                view.workload,
                view.node,
                f"{view.generation.epoch}.{view.generation.n}",
                Cell(
                    " ".join(f"{each.path}={each.new or ''}" for each in view.fields),
                    raw=[each.path for each in view.fields],
                ),
            )
            for view in views
        ],
        views,
        "no node is told anything",
    )


def specs_text(views: Sequence[AssignmentView]) -> str:
    """Every assignment as a document of its own, below a comment that names its node."""
    return "".join(
        f"--- # {view.node}\n"
        + yaml.safe_dump(to_document(view.spec), sort_keys=False, allow_unicode=True)
        for view in views
    )
