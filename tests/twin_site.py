"""A device that serves twins beside a real hub: shipped stores and sync, a configuration directory on a real disk."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
from tests.shared_rig import Fleet, SharingNode, fleet
from tests.twin_bodies import ARM, ARM_ASSET, DEVICE, ENTITY, ENVIRONMENT, FOREIGN, Json, arm

from skerry.kit.clock import SystemClock
from skerry.kit.disk import Disk, RealDisk
from skerry.kit.sealing.cipher import NullCipher
from skerry.node.store.twin_files import TwinFileStore
from skerry.node.twins.file_alerts import FileAlerts
from skerry.node.twins.files import TwinFiles
from skerry.node.twins.rows import ASSETS, TwinStore
from skerry.node.twins.syncing import FileSync
from skerry.testing.memory_alerts import MemoryAlerts
from skerry.testing.waiting import eventually
from skerry.wire.codec import encode
from skerry.wire.entities import Find
from skerry.wire.records import Meta
from skerry.wire.rows import RowPut, RowVersion


class Device:
    """What an agent has of twins, made anew at each start; its node's sync is the caller's affair."""

    def __init__(self, node: SharingNode, directory: Path, disk: Disk | None = None) -> None:
        self.node = node
        self.warnings: list[tuple[str, str]] = []
        clock = SystemClock()
        self.twins = TwinStore(node.rows, node.program.entities, ENVIRONMENT, DEVICE, clock)
        self.files = TwinFiles(directory, disk or RealDisk())
        self.store = TwinFileStore(node._writer, node._rows_reader, NullCipher())
        self.alerts = MemoryAlerts()
        self.news = FileAlerts(self.alerts, self._announce)
        self.sync = FileSync(self.twins, self.files, self.store, clock, self.news)

    async def _announce(self, _name: str, words: str, about: Meta) -> None:
        self.warnings.append((str(about["twin"]), words))

    async def look(self) -> None:
        """One look at the store and all files."""
        await self.twins.read()
        await self.sync.look()

    async def row(self, uuid: str, entity: str = ENTITY) -> Json | None:
        """What its store has, whoever serves it."""
        found = (await self.node.program.entities.find(entity, Find(ids=[uuid]))).rows
        return json.loads(bytes(found[0].body)) if found else None

    def file(self, twin: str = ARM) -> Json:
        """What stands in the file."""
        found: Json = json.loads(self.files.path(twin).read_bytes())
        return found

    def drive(self, twin: str = ARM, **fields: object) -> None:
        """The driver changes fields in its file, as programs do it: the whole text, in place."""
        path = self.files.path(twin)
        path.write_text(json.dumps(self.file(twin) | fields, indent=4))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """As the agent runs it."""
        tasks = [asyncio.create_task(self.twins.follow()), asyncio.create_task(self.sync.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


class TwinSite:
    """A hub, one node, its configuration directory."""

    def __init__(self, found: Fleet, node: SharingNode, config: Path) -> None:
        self.fleet = found
        self.node = node
        self.config = config

    async def device(self, disk: Disk | None = None) -> Device:
        """The agent's part, from what is in its store."""
        device = Device(self.node, self.config, disk)
        await device.twins.open()
        return device

    async def restart_agent(self) -> Device:
        """The agent was ended and is back; its sync is off."""
        await self.node.stop()
        await self.node.start_at(self.fleet.hub.address)
        return await self.device()

    async def put(self, twin: str, body: Json, entity: str = ENTITY) -> None:
        """A person at the hub says what the row is."""
        await self._ask(
            "PUT", f"{entity}/rows/{twin}", encode(RowPut(msgspec.Raw(json.dumps(body).encode())))
        )

    async def delete(self, twin: str, entity: str = ENTITY) -> None:
        await self._ask("DELETE", f"{entity}/rows/{twin}")

    async def history(self, twin: str = ARM) -> list[RowVersion]:
        """All versions at the hub."""
        answer = await self._ask("GET", f"{ENTITY}/rows/{twin}/history")
        return msgspec.json.decode(answer, type=list[RowVersion])

    async def at_hub(self, twin: str = ARM) -> Json:
        """The row's body."""
        found: Json = json.loads(await self._ask("GET", f"{ENTITY}/rows/{twin}"))["body"]
        return found

    async def edits(self, twin: str = ARM) -> list[Json]:
        """What came from the node, in whatever state."""
        return [
            json.loads(bytes(each.body)) for each in await self.history(twin) if each.by != "hub"
        ]

    async def synced(self) -> None:
        """The hub has all of the node's edits."""
        await eventually(self.node.sent_all, "the hub has every edit")

    async def shows(self, device: Device, field: str, value: object, twin: str = ARM) -> None:
        """The node has this from the hub, and the file says it after a look."""

        async def shown() -> bool:
            await device.twins.read()
            found = device.twins.twin(twin)
            return found is not None and found.body.get(field) == value

        await eventually(shown, f"twin {twin} has {field}={value!r}")
        await device.look()

    async def identify(self) -> None:
        """The hub knows the node as this device."""
        call = f"devices/{self.node.enrolled.node_id}/fingerprint?fingerprint={DEVICE}"
        await self._ask_hub("POST", f"/api/{call}")

    async def _ask(self, method: str, call: str, data: bytes | None = None) -> bytes:
        return await self._ask_hub(method, f"/api/v1/entities/{call}", data)

    async def _ask_hub(self, method: str, path: str, data: bytes | None = None) -> bytes:
        url = f"{self.fleet.hub.address}{path}"
        async with (
            aiohttp.ClientSession(headers=self.fleet.hub.person) as session,
            session.request(method, url, data=data) as response,
        ):
            assert response.status in {200, 204}, await response.text()
            return await response.read()


@contextlib.asynccontextmanager
async def twin_site(directory: Path) -> AsyncIterator[tuple[TwinSite, Device]]:
    """A node that has its environment from the hub: one twin of its own with an asset, and one of another device."""
    config = directory / "cyberwave"
    config.mkdir()
    async with fleet(directory) as found:
        site = TwinSite(found, await found.node("boat"), config)
        await site.identify()
        device = await site.device()
        site.node.sync_on()
        await site.synced()
        await site.put(ARM_ASSET, {"name": "Arm", "registry_id": "x/arm"}, ASSETS)
        await site.put(FOREIGN, arm(metadata={"edge_fingerprint": "another"}))
        await site.put(ARM, arm())
        await site.shows(device, "name", "arm")
        yield site, device
