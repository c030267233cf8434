"""A device whose drivers are containers of a real engine."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from tests.container_site import state, with_engine
from tests.cyberwave_site import CyberwaveSite, cyberwave_site, log_of
from tests.driver_image import with_driver
from tests.engines import TestEngine, ask

from skerry.testing.waiting import eventually
from skerry.wire.devices import ENDED, CommandView, EdgeAction, EdgeOrder

Json = Mapping[str, Any]


class Drivers:
    """A device whose drivers are containers of this engine."""

    def __init__(self, site: CyberwaveSite, engine: TestEngine, image: str = "") -> None:
        self.site = site
        self.engine = engine
        self.image = image or with_driver(engine)

    def twin(self, name: str = "arm", *params: str, **variables: object) -> Json:
        """Its driver counts its lives in a directory of its own."""
        data = self.data(name)
        data.mkdir(parents=True, exist_ok=True)
        words = [word for key, value in variables.items() for word in ("-e", f"{key}={value}")]
        entry = {"docker_image": self.image, "params": ["-v", f"{data}:/data", *words, *params]}
        return {"name": name, "metadata": {"drivers": {"default": entry}}}

    async def joined(self) -> str:
        """The node joins with one twin, whose driver runs; its UUID."""
        [arm] = await self.site.join(self.twin())
        await self.runs(arm)
        return arm

    def data(self, name: str) -> Path:
        return self.site.site.directory / "data" / name

    def seen(self, name: str = "arm") -> Json:
        """What the driver of this name was started with."""
        return dict(json.loads((self.data(name) / "seen.json").read_text()))

    async def runs(self, twin: str, lives: int = 1) -> None:
        name = self.site.driver(twin)

        async def does() -> bool:
            found = await state(self.site.node, name)
            return found is not None and found.phase == "running" and self.lives(twin) >= lives

        try:
            await eventually(does, f"{name} runs")
        except AssertionError as error:
            shown = await state(self.site.node, name)
            raise AssertionError(
                f"{error}: {shown} {log_of(self.site.node, name)[-2000:]}"
            ) from None

    async def order(self, action: EdgeAction, request: str) -> CommandView:
        """What became of an order of the hub's."""
        path = f"/api/devices/{self.site.node.name}/orders"
        async with self.site.site.hub.api() as api:
            given = await api.send("POST", path, EdgeOrder(action, request), CommandView)

        found: list[CommandView] = []

        async def ended() -> bool:
            async with self.site.site.hub.api() as api:
                found[:] = [await api.get(f"{path}/{given.id}", CommandView)]
            return found[0].state in ENDED

        await eventually(ended, f"order {action} has ended", timeout=60)
        return found[0]

    async def row(self, entity: str, row: str) -> Json:
        """A shared row, as the hub has it."""
        async with self.site.site.hub.api() as api:
            found = await api.get(f"/api/v1/entities/{entity}/rows", dict[str, Any])
        return dict(next(one["body"] for one in found["rows"] if one["id"] == row))

    async def flaps(self, twin: str) -> None:
        """It is stopped, and its status says why."""

        async def does() -> bool:
            found = await state(self.site.node, self.site.driver(twin))
            return found is not None and found.phase == "stopped" and "flapping" in found.message

        try:
            await eventually(does, f"the driver of {twin} is stopped as flapping", timeout=60)
        except AssertionError as error:
            raise AssertionError(f"{error}: {await self.site.node.status()}") from None

    def lives(self, twin: str) -> int:
        return self.site.count(self.site.driver(twin))

    def containers(self) -> dict[str, Json]:
        """By name, as the engine shows them; without those that go in between."""
        found = json.loads(ask(self.engine.socket, "GET", "/v1.40/containers/json?all=1")[1])
        shown = [
            ask(self.engine.socket, "GET", f"/v1.40/containers/{one['Id']}/json") for one in found
        ]
        there = [json.loads(body) for status, body in shown if status == 200]
        return {one["Name"].lstrip("/"): one for one in there}

    async def alert(self, kind: str, *, active: bool = True, within: float = 60.0) -> Json:
        """The one of this kind that the hub has, once it has it."""
        found: list[Json] = []

        async def told() -> bool:
            found[:] = [
                one for one in await self.site.alerts()
                if one["alert_type"] == kind and (one["status"] == "active") == active
            ]  # fmt: skip
            return len(found) == 1

        try:
            await eventually(told, f"the hub has one alert {kind}", within)
        except AssertionError as error:
            shown = (await self.site.node.status() or "", await self.site.alerts())
            raise AssertionError(f"{error}: {shown}") from None
        return found[0]


@contextlib.asynccontextmanager
async def drivers(directory: Path, engine: TestEngine, image: str = "") -> AsyncIterator[Drivers]:
    """`image` is that of its drivers, which the engine has; by default the tests' own."""
    async with cyberwave_site(directory) as site:
        with_engine(site.node, engine)
        site.sign_in()
        yield Drivers(site, engine, image)
        await site.power_off()
