"""The models of one node without the node: real disk, real sockets, a supervisor's questions asked by the test."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

from tests.model_cases import content, model

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock, SystemClock
from skerry.kit.disk import Disk, RealDisk
from skerry.kit.errors import Transient
from skerry.kit.pace import Pace
from skerry.node.models.download import Download
from skerry.node.models.fetching import ModelNeeds
from skerry.node.models.layout import models_root, view_of
from skerry.node.models.origins import HubAccess
from skerry.node.models.store import ModelStore
from skerry.node.ports import Turns
from skerry.node.sync.connections import open_session
from skerry.testing.waiting import eventually
from skerry.wire.models import ModelSource, ModelSpec
from skerry.wire.workload import Assignment, Generation, ProcessSpec, WorkloadSpec

__all__ = ["content", "model"]


def assignment(name: str, *models: ModelSpec, n: int = 1) -> Assignment:
    spec = WorkloadSpec(
        name=name,
        process=ProcessSpec(command=["true"]),
        models=[each.name for each in models],
    )
    return Assignment(name, Generation(1, n), spec, models=list(models))


class ModelRig:
    """One node's models. `data_dir` may be used again by another rig: that is a restart of the agent."""

    def __init__(
        self, data_dir: Path, needs: ModelNeeds, woken: Bell, in_use: list[Assignment]
    ) -> None:
        self.data_dir = data_dir
        self.root = models_root(data_dir)
        self.needs = needs
        self.woken = woken
        self.in_use = in_use

    async def fetched(self, *wanted: Assignment, seconds: float = 20.0) -> None:
        """Returns when nothing is missing for any of these, which are all that is wanted."""
        self.needs.want(wanted)
        await eventually(
            lambda: not any(map(self.needs.missing, wanted)),
            f"the models are here: {[self.needs.missing(one) for one in wanted]}",
            seconds,
        )

    async def started(self, one: Assignment) -> Path:
        """What a start does: checks, as often as it takes; returns the view."""
        while True:
            try:
                await self.needs.check(one)
            except Transient:
                await eventually(lambda: not self.needs.missing(one), "it is fetched again")
            else:
                return view_of(self.root, one.models)

    def file(self, spec: ModelSpec) -> Path:
        """The cache's file of a model with one file."""
        return self.root / ".files" / spec.files[0].sha256

    def parts(self) -> dict[str, int]:
        """What has come of what is not here yet."""
        directory = self.root / ".fetching"
        found = directory.iterdir() if directory.is_dir() else ()
        return {path.name: path.stat().st_size for path in found if "." not in path.name}


@contextlib.asynccontextmanager
async def model_rig(
    data_dir: Path,
    *,
    hub: HubAccess | None = None,
    limit: int = 10**9,
    disk: Disk | None = None,
    clock: Clock | None = None,
    rate: int | None = None,
    turns: Turns | None = None,
) -> AsyncIterator[ModelRig]:
    """The agent's part of it within the block."""
    clock, disk = clock or SystemClock(), disk or RealDisk()
    woken, in_use = Bell(), list[Assignment]()
    async with open_session() as session:
        store = ModelStore(models_root(data_dir), limit, disk, clock)
        download = Download(session, hub, disk, Pace(rate, clock), turns=turns)
        needs = ModelNeeds(store, download, lambda: in_use, woken, clock, random.Random(7))
        try:
            yield ModelRig(data_dir, needs, woken, in_use)
        finally:
            await needs.close()


def by_url(url: str, data: bytes, name: str = "yolo") -> ModelSpec:
    """A model whose one file is served at `url`."""
    return model(name, data, ModelSource(url=url))
