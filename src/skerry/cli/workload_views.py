"""Workloads as the hub knows them: those that people assign, and those that devices want by themselves."""

from __future__ import annotations

from skerry.cli.http import Api
from skerry.kit.errors import NotFound
from skerry.wire.people import DeviceWorkload, WorkloadView


async def workload_views(
    hub: Api, name: str | None
) -> tuple[list[WorkloadView], list[DeviceWorkload]]:
    """All of both kinds, or those of that name. Raises NotFound when there is none of that name."""
    asked = {"name": name}
    own = await hub.get("/api/v1/device-workloads", list[DeviceWorkload], asked)
    try:
        views = await hub.get("/api/v1/workloads", list[WorkloadView], asked)
    except NotFound:
        if not own:
            raise
        views = []
    return views, own
