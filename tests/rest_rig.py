"""What drivers and workers ask a node by REST: the shipped app on its socket, over stores on real files, no hub.

As a program it is an agent that can be killed: `python tests/rest_rig.py DIR SOCKET` prints a line once it listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import msgspec
from tests.sealed_node import SealedNode, sealed_node
from tests.twin_bodies import ARM, ARM_ASSET, CAMERA, DEVICE, ENVIRONMENT, FOREIGN, Json, arm

from skerry.core.cyberwave.joints import JointState
from skerry.kit.clock import Clock, SystemClock
from skerry.kit.errors import Transient
from skerry.node.contracts.cyberwave_api.app import RestSocket, rest_app
from skerry.node.contracts.cyberwave_api.sources import (
    Device,
    Frame,
    LastSeen,
    Sources,
)
from skerry.node.store.entity_rows import EntityRows
from skerry.node.store.shared_frames import SharedFrames
from skerry.node.store.shared_rows import SharedRows
from skerry.node.twin_ports import Grant, Publish, Tokens
from skerry.node.twins.alert_notices import AlertNotices
from skerry.node.twins.alerts import AlertStore
from skerry.node.twins.rows import ASSETS, ENVIRONMENTS, TwinStore
from skerry.node.workloads.logs import LogFiles
from skerry.wire.entities import Change, Changes

DRIVER, WORKER = "cw_driver", "cw_worker"
DRIVER_WORKLOAD = "cyberwave-driver-6f1f0c1e"
CAMERA_ASSET = "a5500c1e-0000-4000-8000-00000000000b"
WORKSPACE = "3b1f0c1e-0000-4000-8000-00000000000c"


class Given(dict[str, Grant]):
    """Tokens by what they let do."""

    def give(self, instance: str, grant: Grant) -> str:
        self[instance] = grant
        return instance

    def grant_of(self, token: str) -> Grant | None:
        return self.get(token)


class Heard:
    """A broker that notes what the node says; `away`: it does not answer."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Json]] = []
        self.away = False

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        assert qos == 1
        if self.away:
            raise Transient("the gate is not there")
        self.said.append((topic, json.loads(payload)))

    def statuses(self, twin: str = ARM) -> list[object]:
        """Of a twin's alerts, in order."""
        return [
            told["status"] for topic, told in self.said if topic == f"cyberwave/twin/{twin}/alert"
        ]


class Unseen:
    """A device that keeps nothing of what passes."""

    async def joints(self, twin: str) -> dict[str, JointState]:
        assert twin
        return {}

    async def frame(self, twin: str, sensor: str) -> Frame | None:
        assert (twin, sensor) != ("", "")
        return None


class RestSite:
    """An agent's part, of one environment."""

    def __init__(self, node: SealedNode, directory: Path, path: Path, publish: Publish) -> None:
        self.clock: Clock = SystemClock()
        clock = self.clock
        store = node.store
        self.node = node
        self.path = path
        self.rows = SharedRows(store.writer, store.reader, clock, store.state.node_id, store.cipher)
        self.entities = EntityRows(
            self.rows, SharedFrames(self.rows, store.cipher, store.state.log)
        )
        self.twins = TwinStore(self.rows, self.entities, ENVIRONMENT, DEVICE, clock)
        self.notices = AlertNotices(publish, str, clock)
        self.alerts = AlertStore(
            self.rows, self.entities, ENVIRONMENT, self.twins, self.notices, clock
        )
        self.tokens = Given(
            {
                DRIVER: Grant("driver", DRIVER_WORKLOAD, (ARM,), ENVIRONMENT),
                WORKER: Grant("worker", "cyberwave-worker", (ARM, CAMERA), ENVIRONMENT),
            }
        )
        self.logs = directory / "logs"
        self.models = directory / "models"
        self.seen: LastSeen = Unseen()
        self.log_since: int | None = 0
        self._session: aiohttp.ClientSession | None = None

    def sources(self, tokens: Tokens | None = None) -> Sources:
        """What the app is made of."""
        clock = self.clock
        return Sources(
            environment=ENVIRONMENT,
            device=Device(DEVICE, "boat-7", "Linux-x86_64"),
            tokens=tokens or self.tokens,
            twins=self.twins,
            alerts=self.alerts,
            logs=LogFiles(self.logs, clock),
            driver_of=lambda twin: DRIVER_WORKLOAD if twin == ARM else None,
            log_since=lambda *_: self.log_since,
            models_root=self.models,
            signing=b"secret",
            seen=self.seen,
            clock=clock,
        )

    async def put(self, entity: str, row_id: str, body: Json) -> None:
        """A row as it came from the hub or was made here."""
        change = Change("put", row_id, msgspec.Raw(json.dumps(body).encode()))
        await self.entities.change(entity, Changes([change]))
        await self.twins.read()

    async def fill(self) -> None:
        """The environment's rows, if there are none yet."""
        if self.twins.twin(ARM) is not None:
            return
        await self.put(
            ASSETS, ARM_ASSET, {"name": "Arm", "registry_id": "x/arm", "slug": "x/catalog/arm"}
        )
        await self.put(ASSETS, CAMERA_ASSET, {"name": "Eye", "registry_id": "x/standard-cam"})
        await self.put(
            ENVIRONMENTS,
            ENVIRONMENT,
            {"name": "Bay", "workspace_uuid": WORKSPACE, "slug": "x/envs/bay"},
        )
        await self.put(self.twins.entity, ARM, arm(slug="x/twins/arm"))
        eye = arm(name="eye", asset_uuid=CAMERA_ASSET, attach_to_twin_uuid=ARM)
        await self.put(self.twins.entity, CAMERA, eye)
        await self.put(self.twins.entity, FOREIGN, arm(metadata={"edge_fingerprint": "another"}))

    @contextlib.asynccontextmanager
    async def serving(self, tokens: Tokens | None = None) -> AsyncIterator[RestSite]:
        """From now on requests are answered."""
        rest = RestSocket(self.path, rest_app(self.sources(tokens)))
        await rest.start()
        loops = [asyncio.create_task(self.notices.run()), asyncio.create_task(self.alerts.follow())]
        connector = aiohttp.UnixConnector(str(self.path))
        try:
            async with aiohttp.ClientSession("http://node", connector=connector) as self._session:
                yield self
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.wait(loops)
            await rest.stop()

    async def ask(
        self, method: str, call: str, body: object = None, *, token: str = DRIVER, status: int = 200
    ) -> Json:
        """The answer of a call below /api/v1; a list is in «list»."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        found = await self.raw(method, f"/api/v1/{call}", body, headers, status)
        answer = json.loads(found) if found else {}
        return answer if isinstance(answer, dict) else {"list": answer}

    async def raw(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] = {},
        status: int = 200,
    ) -> bytes:
        """What came, of this status."""
        assert self._session is not None
        text = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        data = text and io.BytesIO(text)
        async with self._session.request(method, path, data=data, headers=headers) as response:
            found = await response.read()
            assert response.status == status, found.decode()
            return found

    async def list(self, call: str, token: str = DRIVER) -> list[Json]:
        """The elements of an answer."""
        found: list[Json] = (await self.ask("GET", call, token=token))["list"]  # type: ignore[assignment]
        return found


@contextlib.asynccontextmanager
async def rest_site(
    directory: Path, publish: Publish | None = None, path: Path | None = None
) -> AsyncIterator[RestSite]:
    """A device with an arm, its camera, and another device's twin beside them; not serving yet."""
    async with sealed_node(directory, on=False) as node:
        site = RestSite(node, directory, path or directory / "rest", publish or Heard())
        await site.twins.open()
        await site.fill()
        await site.alerts.open()
        yield site


async def _main(directory: Path, path: Path) -> None:
    async with rest_site(directory, path=path) as site, site.serving():
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), Path(sys.argv[2])))
