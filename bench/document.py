"""docs/reference/performance.md, written from results.json and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from bench.figures import RESULTS, Figure, table

DOCUMENT = Path(__file__).parent.parent / "docs/reference/performance.md"

HEAD = """# Performance

Written by `python -m bench --document` from `bench/results.json`; the benches and the runners of the peers are in
`bench/`. Figures of one table come from one run on one machine, Skerry and peers one after the other. A target is the
figure that the issue demands; a miss is in bold and stays in until it is one no more. Hub, node and load generator share
the machine, over loopback.

    make bench                      # everything, under half an hour
    python -m bench restart push    # single benches
"""

TITLES = {
    "restart": "Restart of a crashed workload",
    "change": "From a change at the hub to the process",
    "footprint": "What a node costs",
    "link": "Link: coming back, and doing nothing",
    "push": "Push of values",
    "writes": "Wear of the disk",
    "hub": "Hub with 2,000 nodes",
    "wasm": "A WebAssembly instance for each request",
    "containers": "Containers",
    "storage": "Encryption at rest",
    "entities": "Rows of models",
    "enrolment": "Enrolment of devices",
    "devices": "List of devices",
    "mtls": "Sync by certificates, beside sync without",
    "cyberwave": "Drivers and workers of Cyberwave",
    "sync": "Sync of rows",
    "sync_million": "A million rows",
}


def write_document() -> Path:
    """Writes the page; returns its path."""
    held = json.loads(RESULTS.read_text())
    parts = [HEAD]
    for bench, title in TITLES.items():
        if bench in held:
            parts.append(_section(bench, title, held[bench]))
    DOCUMENT.write_text("\n".join(parts))
    return DOCUMENT


def _section(bench: str, title: str, held: dict[str, object]) -> str:
    machine = held["machine"]
    figures = held["figures"]
    assert isinstance(machine, dict)
    assert isinstance(figures, list)
    where = (
        f"`python -m bench {bench}` · {machine['date']} · {machine['cores']} cores of {machine['cpu']} · "
        f"{machine['system']} · Python {machine['python']} · load average before the run {held['load']:.2f}"
    )
    return f"## {title}\n\n{where}\n\n{table([Figure(**figure) for figure in figures])}\n"
