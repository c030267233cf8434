"""Two hubs on one PostgreSQL, 500 nodes; each hub is killed once: how long until all its nodes are at the other."""

from __future__ import annotations

from pathlib import Path

from tests.installation import BY_SECRET, Hub
from tests.postgres import installed, server
from tests.simulated_nodes import kills

from bench.figures import Figure

NODES = 500
EVERY = 10.0


async def run(place: Path) -> list[Figure]:
    """The nodes push twelve values every ten seconds; in the end every record must be there, once."""
    programs = installed()
    assert programs is not None, "PostgreSQL is not installed"
    with server(programs) as running, running.database() as url:
        found = [Hub(place, name, url, BY_SECRET) for name in ("hub-a", "hub-b")]
        try:
            for hub in found:
                await hub.start()
            times = await kills(found, url, NODES, EVERY, within=60.0)
        finally:
            for hub in found:
                if hub.process.runs:
                    await hub.kill()
    return [
        Figure(
            "two_hubs",
            f"{NODES} nodes, one hub killed: all its nodes greeted at the other, live links open",
            max(times),
            "s",
            target=5.0,
            note=f"each hub killed once: {', '.join(f'{seconds:.2f}' for seconds in times)}; nothing lost, nothing twice; "
            "the nodes, in one process, and PostgreSQL share the cores",
        )
    ]
