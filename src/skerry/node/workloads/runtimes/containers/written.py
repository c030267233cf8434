"""Where on this device an engine puts what a container writes, so that the node can measure it by itself."""

from __future__ import annotations

from pathlib import Path

import msgspec

from skerry.node.twin_ports import Written
from skerry.node.workloads.runtimes.containers.engine import Engine


class _Mount(msgspec.Struct, frozen=True, rename="pascal"):
    type: str = ""
    source: str = ""
    may_write: bool = msgspec.field(default=True, name="RW")


class _Storage(msgspec.Struct, frozen=True, rename="pascal"):
    data: dict[str, str] | None = None


class _Found(msgspec.Struct, frozen=True, rename="pascal"):
    graph_driver: _Storage | None = None
    mounts: list[_Mount] = []
    size_rw: int = 0


async def written(engine: Engine, container: str) -> Written:
    """Raises EngineGone, EngineRefusal."""
    found = await _inspect(engine, container, size=False)
    layer = ((found.graph_driver and found.graph_driver.data) or {}).get("UpperDir", "")
    volumes = [
        Path(one.source)
        for one in found.mounts
        if one.type == "volume" and one.source and one.may_write
    ]
    return Written(Path(layer) if layer else None, tuple(volumes))


async def layer_size(engine: Engine, container: str) -> int:
    """By the engine's own count, for one that does not say where the layer is. Raises EngineGone, EngineRefusal."""
    return (await _inspect(engine, container, size=True)).size_rw


async def _inspect(engine: Engine, container: str, *, size: bool) -> _Found:
    query = {"size": "1"} if size else {}
    answer = await engine.call("GET", f"/containers/{container}/json", query)
    return msgspec.json.decode(answer, type=_Found)
