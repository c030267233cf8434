"""Who is started when, and from which image: what people see of a boot and of a restart of everything."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import socket
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from tests.command_line import CommandLine
from tests.container_site import PYTHON_ENV, remove_image, says, state
from tests.cyberwave_site import DEVICE, CyberwaveSite, cyberwave_site, log_of, native
from tests.driver_site import Drivers, drivers
from tests.engines import TestEngine, image_archive
from tests.native_workers import add_script, worker_of
from tests.ports import free_port
from tests.registry import Registry, layer, registry

from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(180)

Json = Mapping[str, Any]

LIFE = """
import os, pathlib, signal, socket, sys, time
driver = pathlib.Path(sys.argv[1] + ".driver")
def say(word):
    with open(sys.argv[1], "a") as file:
        file.write(f"{sys.argv[2]} {word}\\n")
def end(*_):
    say("is asked to end")
    if sys.argv[2] == "driver":
        driver.unlink()
    time.sleep(0.3)  # who does not wait for its end is overtaken
    with socket.socket() as gate:
        gone = gate.connect_ex(("127.0.0.1", int(os.environ["CYBERWAVE_MQTT_PORT"])))
    say("has ended after the gate" if gone else "has ended")
    sys.exit(0)
signal.signal(15, end)
while sys.argv[2] == "worker" and not driver.exists():
    time.sleep(0.05)  # its interpreter may be up before the driver's, which was started first
say("is started")
if sys.argv[2] == "driver":
    driver.touch()
while True:
    signal.pause()
"""

VERSION = """
import json, signal, sys, time
signal.signal(15, lambda *_: sys.exit(0))
print(json.dumps({"version": open("/version").read()}), flush=True)
while True:
    time.sleep(1)
    print("a second", flush=True)
"""


class Story:
    """What driver, worker and broker have written of their lives, in the order in which it happened.

    A worker writes nothing before a driver has: which of the two was started first is for `starts_in_order`.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "story"
        self.path.touch()
        self.program = directory / "life.py"
        self.program.write_text(LIFE)

    def driver(self) -> Json:
        return native("python", self.program, self.path, "driver")

    def broker(self, directory: Path, seconds: float) -> Path:
        """Mosquitto, which takes so long to start."""
        program = directory / "slow-mosquitto"
        program.write_text(
            f'#!/bin/sh\nsleep {seconds}\necho broker is started >> {self.path}\nexec {_mosquitto()} "$@"\n'
        )
        program.chmod(0o755)
        return program

    def forget(self) -> None:
        self.path.write_text("")

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()

    async def goes(self, *lines: str) -> None:
        try:
            await eventually(lambda: len(self.lines) >= len(lines), "the story goes on", 60)
        finally:
            assert self.lines == list(lines)


def _mosquitto() -> str:
    found = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert found is not None
    return found


def work(site: CyberwaveSite, story: Story) -> None:
    """There are workers, too."""
    site.work_natively(["python", str(story.program), str(story.path), "worker"])
    add_script(site)
    site.sign_in()


async def starts_in_order(site: CyberwaveSite, twin: str) -> bool:
    """Whether the workers were started after the driver."""
    driver, worker = [await state(site.node, name) for name in (site.driver(twin), worker_of(site))]
    assert driver
    assert worker
    return driver.since < worker.since


async def test_drivers_are_started_when_the_device_is_heard_of_and_workers_after_them(
    short_dir: Path,
) -> None:
    async with cyberwave_site(short_dir) as site:
        story = Story(short_dir)
        slow = story.broker(short_dir, 2.0)
        site.node.options += ["--set", f"cyberwave.mosquitto={slow}"]
        work(site, story)
        [arm] = await site.join(story.driver())
        await eventually(lambda: "driver is started" in story.lines, "the driver runs")
        await site.power_off()
        story.forget()
        await site.boot_without_hub()
        await story.goes("broker is started", "driver is started", "worker is started")
        assert await starts_in_order(site, arm)
        await site.power_off()
        assert {"driver has ended", "worker has ended"} <= {*story.lines}


async def test_a_restart_ends_workers_first_and_starts_them_last(short_dir: Path) -> None:
    async with cyberwave_site(short_dir) as site:
        story = Story(short_dir)
        work(site, story)
        (site.config / "workers" / "a.py").unlink()
        [arm] = await site.join(story.driver())
        await story.goes("driver is started")
        add_script(site)
        await story.goes("driver is started", "worker is started")
        story.forget()
        assert (await site.order("restart_edge_core")).message == "restarted"
        await story.goes(
            *("worker is asked to end", "worker has ended"),
            *("driver is asked to end", "driver has ended"),
            *("driver is started", "worker is started"),
        )
        assert await starts_in_order(site, arm)
        story.forget()
        done = await CommandLine(site.site).run("worker", "restart")
        assert done.code == 0, done.err
        await story.goes("worker is asked to end", "worker has ended", "worker is started")
        await site.power_off()


@pytest.mark.guarantee("G4")
async def test_a_router_that_cannot_start_keeps_nobody_down(short_dir: Path) -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        async with cyberwave_site(short_dir) as site:
            story = Story(short_dir)
            site.node.prefix = ["env", "ZENOH_ROUTER_ENABLED=true", f"ZENOH_ROUTER_PORT={port}"]
            work(site, story)
            [arm] = await site.join(story.driver())
            both = {"driver is started", "worker is started"}
            await eventually(lambda: both <= {*story.lines}, "both run", 60)
            assert "the Zenoh router has not run for 5 s" in site.node.log.read_text()

            async def told() -> bool:
                return any(
                    (one["twin_uuid"], one["alert_type"], one["status"])
                    == (arm, "driver_health", "active")
                    and "the Zenoh router has not run" in one["description"]
                    for one in await site.alerts()
                )

            await eventually(told, "people are told of it")
            await site.power_off()


class Listener:
    """Everything that goes through a node's broker, from when that is there."""

    def __init__(self, site: CyberwaveSite) -> None:
        self._path = site.node.directory / "run" / "broker" / "broker"
        self._queue: queue.Queue[tuple[str, Json]] = queue.Queue()
        self.heard: list[tuple[str, Json]] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, transport="unix")
        self._client.on_message = lambda _client, _data, message: self._queue.put(
            (message.topic, json.loads(message.payload))
        )
        self._client.on_connect = lambda client, *_: client.subscribe("#")

    async def __aenter__(self) -> Self:
        async def connected() -> bool:
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect_ex(str(self._path)) == 0

        await eventually(connected, "the broker is there")
        self._client.connect(str(self._path))
        self._client.loop_start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def healths(self, twin: str) -> list[float]:
        """When the device has said of a twin that it is there."""
        topic = f"cyberwave/twin/{twin}/edge_health"
        return [
            float(body["timestamp"])
            for where, body in self._all()
            if where == topic and body["edge_id"] == DEVICE
        ]

    def lines(self, twin: str) -> list[str]:
        """What was said of its driver."""
        topic = f"cyberwave/twin/{twin}/driverlog"
        return [str(body["message"]) for where, body in self._all() if where == topic]

    def seconds_in_silence(self, twin: str) -> int:
        """How many seconds the twin's driver has counted since the device last spoke for itself."""
        count = 0
        for topic, body in self._all():
            if topic.endswith("/edge_health") and body["edge_id"] == DEVICE:
                count = 0
            elif topic == f"cyberwave/twin/{twin}/driverlog" and body["message"] == "a second":
                count += 1
        return count

    def _all(self) -> list[tuple[str, Json]]:
        with contextlib.suppress(queue.Empty):
            while True:
                self.heard.append(self._queue.get_nowait())
        return self.heard


def pulled(image: str, *params: str) -> Json:
    """A twin whose driver is an image of the registry."""
    return {"metadata": {"drivers": {"default": {"docker_image": image, "params": list(params)}}}}


def add_version(source: Registry, version: str, *more: bytes) -> str:
    """The image, as the registry has it from now on: it prints which one it is."""
    config = {"Env": PYTHON_ENV, "Cmd": ["python3", "-c", VERSION]}
    layers = [image_archive(), layer({"version": version.encode()}), *more]
    return source.add("acme/arm:1", layers, config)


@contextlib.contextmanager
def out_of_reach(engine: TestEngine) -> Iterator[None]:
    """As long as the block lasts."""
    away = engine.socket.with_suffix(".away")
    engine.socket.rename(away)
    try:
        yield
    finally:
        away.rename(engine.socket)


@pytest.fixture
def source(docker_engine: TestEngine) -> Iterator[Registry]:
    """A registry; nothing of it stays in the engine."""
    with registry() as found:
        yield found
        remove_image(docker_engine, f"{found.address}/acme/arm:1")


def at(moment: str) -> float:
    """An engine's time, in seconds since 1970."""
    return datetime.fromisoformat(f"{moment[:19]}+00:00").timestamp()


async def test_case_7_two_twins_are_heard_of_from_before_the_first_container_until_a_driver_runs(
    short_dir: Path, docker_engine: TestEngine, source: Registry
) -> None:
    image = add_version(source, "1", layer({"r": os.urandom(3_000_000)}))
    source.stop()
    async with drivers(short_dir, docker_engine) as rig:
        site = rig.site
        site.variables["CYBERWAVE_EDGE_HEALTH_PUBLISH_INTERVAL_SECONDS"] = "1"
        site.node.options += ["--set", f"cyberwave.privileged=[{image}]"]
        twins = await site.join(pulled(image), pulled(image))
        await site.power_off()
        source.pause = 0.2
        source.start()
        async with contextlib.AsyncExitStack() as ending:
            with out_of_reach(docker_engine):  # so that nothing is pulled before somebody listens
                await site.boot_without_hub()
                listener = await ending.enter_async_context(Listener(site))
                await eventually(lambda: bool(listener.healths(twins[0])), "it is heard of")
            for twin in twins:
                await eventually(
                    lambda twin=twin: len(listener.healths(twin)) >= 3, f"{twin} is heard of"
                )
            assert not rig.containers()
            source.pause = 0.0
            await eventually(
                lambda: site.node.runs(*map(site.driver, twins)), "the drivers run", 60
            )
            said = f"docker pull completed for image {image}"
            for twin in twins:
                await eventually(lambda twin=twin: said in listener.lines(twin), "it was pulled")
                lines = [one for one in listener.lines(twin) if one.startswith("docker pull")]
                assert lines[0] == f"docker pull started for image {image}"
                assert lines[-1] == said
                assert any(one.startswith("docker pull: ") for one in lines)
            created = [at(one["Created"]) for one in rig.containers().values()]
            for twin in twins:
                assert listener.healths(twin)[0] < min(created)
                await eventually(
                    lambda twin=twin: listener.seconds_in_silence(twin) >= 4,
                    "its driver runs, and the device does not speak each second any more",
                )


async def test_a_restart_on_purpose_takes_a_newer_image_and_a_crash_takes_none(
    short_dir: Path, docker_engine: TestEngine, source: Registry
) -> None:
    image = add_version(source, "1")
    async with drivers(short_dir, docker_engine) as rig:
        site = rig.site
        [arm] = await site.join(pulled(image))
        name = site.driver(arm)
        await eventually(lambda: site.count(name, version="1") == 1, "it runs", 60)
        add_version(source, "2")
        asked = len(source.asked)
        os.kill(await site.node.pid(name), 9)
        await eventually(lambda: site.count(name, version="1") == 2, "it runs again", 60)
        await site.node.kill()
        await site.node.start()
        await eventually(lambda: site.node.runs(name), "an agent finds it running")
        assert len(source.asked) == asked
        assert (await site.order("restart_edge_core")).message == "restarted"
        await eventually(lambda: site.count(name, version="2") == 1, "the newer one runs", 60)


@pytest.mark.guarantee("G2")
async def test_case_19_what_is_here_is_started_without_a_registry(
    short_dir: Path, docker_engine: TestEngine, source: Registry
) -> None:
    image = add_version(source, "1")
    async with drivers(short_dir, docker_engine) as rig:
        site = rig.site
        [arm] = await site.join(pulled(image))
        name = site.driver(arm)
        await eventually(lambda: site.count(name, version="1") == 1, "it runs", 60)
        source.stop()
        assert (await site.order("restart_edge_core")).message == "restarted"
        await eventually(lambda: site.count(name, version="1") == 2, "it runs again", 60)
        assert _warnings(rig, arm) == 1
        old = "its image may not be the newest"
        await eventually(lambda: says(site.node, name, old), "its status tells so, too")
        await site.power_off()
        with socket.create_server(("127.0.0.1", source.port)):  # takes calls, says nothing
            await site.boot_without_hub()
            await eventually(lambda: site.node.runs(name), "it runs without hub and registry")
        assert _warnings(rig, arm) == 2
        log = log_of(site.node, name)
        assert (
            f"the image {image} that is here is used: the registry has said nothing for 3 s" in log
        )
        await site.site.hub.start()
        await eventually(site.drained, "the hub has what the device has told meanwhile")
        assert "driver_start_failure" not in {one["alert_type"] for one in await site.alerts()}


def _warnings(rig: Drivers, twin: str) -> int:
    log = log_of(rig.site.node, rig.site.driver(twin))
    return log.count("WARNING: the image ")
