"""`skerry doctor --security` on a node: what its checks look at, collected. Loaded when asked for.

A part of the composition root, beside `services`, as `storage_view` is.
"""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

from skerry.node.health.weaknesses import Surface, weaknesses
from skerry.wire.local import CheckResult

if TYPE_CHECKING:
    from skerry.node.services import Node

_PRIVATE = ("node.secret", "node.db", "keys.json", "*.key", "trust/*")


async def security_report(node: Node) -> list[CheckResult]:
    """Every check of `health.weaknesses`."""
    here = {status.workload for status in node.supervisor.statuses()}
    certificate = node.keys.certificate()
    surface = Surface(
        hub_url=node.sync.reachability.status.hub or "",
        files=await asyncio.to_thread(_modes, node.settings.data_dir),
        keys=node.keys.status(),
        own_key=None if certificate is None or not certificate.ends else certificate.key,
        backups=await node.safekeeping.status(),
        workloads=[spec for name, spec in node.desired.specs().items() if name in here],
        public_port=node.api.public_port,
        core_limit=resource.getrlimit(resource.RLIMIT_CORE)[0],
        is_root=os.geteuid() == 0,
    )
    return weaknesses(surface)


def _modes(data_dir: Path) -> dict[str, int]:
    private = [path for pattern in _PRIVATE for path in data_dir.glob(pattern)]
    return {str(path): path.stat().st_mode & 0o777 for path in (data_dir, *private)}
