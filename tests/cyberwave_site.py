"""A device of Cyberwave's: a hub with an environment's twins, a node that has them, and a boot at which no hub is there.

Drivers and workers are those of `tests/fixtures/cyberwave`, on the unmodified SDK. UUIDs are new for each site, so that
sites side by side do not hear each other on the data bus.
"""

from __future__ import annotations

import contextlib
import json
import platform
import shlex
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from tests.cyberwave_sdk import FIXTURES
from tests.driver_image import DRIVER_IMAGE
from tests.installation import Installation, Node, installation
from tests.ports import free_pair

from skerry.cli.http import Patience, node_api
from skerry.core.cyberwave.names import driver_container, fingerprint, worker_container
from skerry.kit.errors import SkerryError
from skerry.node.twins.alerts import alerts_of
from skerry.node.twins.rows import ASSETS, twins_of
from skerry.testing.waiting import eventually
from skerry.wire.devices import ENDED, CommandView, EdgeAction, EdgeOrder
from skerry.wire.local import StopRequest
from skerry.wire.rows import RowPut, RowWritten

REGISTRY_ID = "acme/arm"
DEVICE = fingerprint(platform.node(), uuid.getnode(), platform.system(), platform.machine())
"""As the node calls itself by default, so that it is the same with fingerprint.json and without."""

Json = Mapping[str, Any]

SLOW = 120.0
"""Seconds. The SDK's imports take five of one processor, which others want too."""


VARIABLES = ["DRIVER_*", "BEFORE", "LIVES"]
"""Those of tests' drivers, by which none of them takes up code."""


class CyberwaveSite:
    """One node and its hub; `config` is its configuration directory."""

    def __init__(self, site: Installation, url: str | None = None) -> None:
        self.site = site
        self.config = site.directory / "config"
        self.environment, self.asset = str(uuid.uuid4()), str(uuid.uuid4())
        self.variables: dict[str, str] = {}
        """Of credentials.json, for every driver and worker."""
        self.mqtt_port = free_pair()
        self.node = site.node(url=url)
        for setting in (
            "enabled=true",
            f"config_dir={self.config}",
            f"environment={self.environment}",
            f"mqtt_port={self.mqtt_port}",
            f"rest_port={self.mqtt_port + 1}",
        ):
            self.node.options += ["--set", f"cyberwave.{setting}"]

    def choose_environment(self) -> None:
        """What Cyberwave's command line writes when somebody chooses one."""
        self._write("environment", {"uuid": self.environment, "name": "Test"})
        self._write("fingerprint", {"fingerprint": DEVICE})

    def environment_by_file(self) -> None:
        """Only environment.json says which one."""
        at = self.node.options.index(f"cyberwave.environment={self.environment}")
        del self.node.options[at - 1 : at + 1]

    def sign_in(self) -> None:
        """What it writes then; without that no driver and no worker is started."""
        self._write("credentials", {"token": "cw_of_the_device", "envs": self.variables})

    def _write(self, name: str, content: Json) -> None:
        self.config.mkdir(exist_ok=True)
        path = self.config / f"{name}.json"
        path.write_text(json.dumps(content))
        path.chmod(0o600)

    def add_workers(self, *names: str) -> None:
        """Copies workers of the fixtures into the directory of workers."""
        (self.config / "workers").mkdir(parents=True, exist_ok=True)
        for name in names or ("watching.py",):
            shutil.copy(FIXTURES / "workers" / name, self.config / "workers" / name)

    async def join(self, *twins: Json, asset: Json | None = None) -> list[str]:
        """The node enrols, starts, and has these twins from the hub; returns their UUIDs. Nobody has signed in yet."""
        self.choose_environment()
        names = [REGISTRY_ID, DRIVER_IMAGE, *map(_driver_of, twins)]
        self.node.options += ["--set", f"cyberwave.privileged={json.dumps(names)}"]
        self.node.options += ["--set", f"cyberwave.driver_variables={json.dumps(VARIABLES)}"]
        await self.node.enrol(self.site.hub)
        await self.node.start()
        await self.node.ready()
        known = {"name": "Arm", "registry_id": REGISTRY_ID}
        await self.put(ASSETS, self.asset, asset or known)
        return [await self.add_twin(twin) for twin in twins]

    async def add_twin(self, body: Json) -> str:
        """One more at the hub, which the node has then."""
        one = str(uuid.uuid4())
        await self.put(twins_of(self.environment), one, self.linked(body))
        await eventually((self.config / f"{one}.json").exists, "the node has the twin")
        return one

    def linked(self, body: Json) -> Json:
        """A twin that this device serves."""
        metadata = {"edge_fingerprint": DEVICE, **body.get("metadata", {})}
        own = {"asset_uuid": self.asset, "environment_uuid": self.environment}
        return {"name": "arm", **own, **body, "metadata": metadata}

    async def put(self, entity: str, row: str, body: Json) -> None:
        """A person at the hub says what a row is, as soon as the node has said that there are such rows."""

        async def written() -> bool:
            put = RowPut(msgspec.Raw(json.dumps(body).encode()))
            async with self.site.hub.api() as api:
                try:
                    await api.send("PUT", f"/api/v1/entities/{entity}/rows/{row}", put, RowWritten)
                except SkerryError:
                    return False
            return True

        await eventually(written, f"the hub takes a row of {entity}")

    async def power_off(self) -> None:
        """Everything of the node ends: agent, keeper, broker, gate, drivers, workers."""
        async with node_api(self.node.directory, Patience(connect=2.0, answer=SLOW)) as api:
            await api.order("POST", "/v1/stop", StopRequest(workloads=True))
        assert self.node.process.process is not None
        await self.node.process.process.wait()

    async def boot_without_hub(self) -> None:
        """The hub is unreachable from the first second on; somebody has signed in."""
        self.sign_in()
        if self.site.hub.process.runs:
            await self.site.hub.kill()
        await self.node.start()

    def driver(self, twin: str) -> str:
        """The workload of a twin's driver."""
        return driver_container(twin)

    def worker(self) -> str:
        """The workload of the environment's workers."""
        return worker_container(self.environment)

    def work_natively(self, words: Sequence[str]) -> None:
        """Workers run on the device itself, by this command."""
        command = json.dumps(list(words))
        self.node.options += ["--set", f"cyberwave.worker_command={command}"]

    def log(self, workload: str) -> str:
        """All that is in a workload's log."""
        return log_of(self.node, workload)

    def said(self, workload: str) -> list[Json]:
        """The JSON lines that a program has printed, of all its lives."""
        return list(_json_lines(log_of(self.node, workload)))

    def count(self, workload: str, **wanted: object) -> int:
        """How many of its lines say this."""
        return sum(wanted.items() <= line.items() for line in self.said(workload))

    async def tells(self, workload: str, **wanted: object) -> None:
        """Waits for a line."""

        async def told() -> bool:
            return self.count(workload, **wanted) > 0

        await eventually(told, f"{workload} says {wanted}: {self.log(workload)[-3000:]}", SLOW)

    async def ticks(self, driver: str, more: int) -> None:
        """Waits until a driver has published so much more."""
        until = self._ticks(driver) + more
        await eventually(lambda: self._ticks(driver) >= until, f"{driver} goes on", SLOW)

    def _ticks(self, driver: str) -> int:
        return max((int(line.get("ticks", 0)) for line in self.said(driver)), default=0)

    async def change_twin(self, twin: str, body: Json) -> None:
        """A person at the hub changes it."""
        await self.put(twins_of(self.environment), twin, self.linked(body))

    async def drained(self) -> bool:
        """Whether the hub has all that the node has."""
        found = await self.node.sync()
        return not any(lane.waiting for lane in found.lanes)

    async def hears(self, hook: str, times: int) -> None:
        """Waits until a worker's hook was called so often."""
        worker = self.worker()
        await eventually(
            lambda: self.count(worker, hook=hook) >= times,
            f"hook «{hook}» is called {times} times: {self.log(worker)[-3000:]}",
            SLOW,
        )

    async def alerts(self) -> list[Json]:
        """Those that the hub has."""
        entity = alerts_of(self.environment)
        async with self.site.hub.api() as api:
            found = await api.get(f"/api/v1/entities/{entity}/rows", dict[str, Any])
        return [row["body"] for row in found["rows"]]

    async def order(self, action: EdgeAction, twin: str = "", **message: object) -> CommandView:
        """A person orders something at the hub; returns what has become of it once it is over."""
        payload = msgspec.Raw(json.dumps(message).encode())
        path = f"/api/devices/{self.node.name}/orders"
        async with self.site.hub.api() as api:
            given = EdgeOrder(action, str(uuid.uuid4()), twin, payload)
            found = await api.send("POST", f"{path}?ttl=60", given, CommandView)

            async def over() -> bool:
                nonlocal found
                found = await api.get(f"{path}/{found.id}", CommandView)
                return found.state in ENDED

            await eventually(over, f"order {action} is carried out", SLOW)
        return found

    async def events(self, twin: str) -> list[int]:
        """The numbers of the driver's events that the hub has."""
        rows = await self.site.hub.rows(f"cyberwave/twin/{twin}/event")
        return [json.loads(str(row.value))["n"] for row in rows]

    async def has(self, twin: str, count: int) -> bool:
        """Whether the hub has so many of them."""
        return len(await self.events(twin)) >= count


@contextlib.asynccontextmanager
async def cyberwave_site(directory: Path) -> AsyncIterator[CyberwaveSite]:
    """A hub that runs, and a node that has not been started yet."""
    async with installation(directory) as site:
        yield CyberwaveSite(site)


def native(*words: str | Path, **variables: str) -> Json:
    """The body of a twin whose driver is a command on the device itself."""
    params = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
    return _with_driver({"command": list(map(str, words)), "params": params})


def contained(image: str, **variables: str) -> Json:
    """The body of a twin whose driver is an image."""
    params = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
    return _with_driver({"docker_image": image, "params": params})


def _with_driver(entry: Json) -> Json:
    return {"metadata": {"drivers": {"default": entry}}}


def _driver_of(twin: Json) -> str:
    """What the device has to trust for it."""
    drivers = twin.get("metadata", {}).get("drivers", {})
    entry = next(iter(drivers.values()), {})
    return shlex.join(entry.get("command", ())) or str(entry.get("docker_image", REGISTRY_ID))


def log_of(node: Node, workload: str) -> str:
    """All that is in its log."""
    directory = node.directory / "logs" / workload
    files: Sequence[Path] = sorted(directory.glob("*.log")) if directory.is_dir() else []
    return "".join(path.read_text(errors="replace") for path in files)


def _json_lines(log: str) -> Iterator[Json]:
    for line in log.splitlines():
        _, _, text = line.partition("{")
        with contextlib.suppress(json.JSONDecodeError):
            yield json.loads("{" + text)
