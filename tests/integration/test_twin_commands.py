"""Commands of the hub's people at a real gate and broker: the driver gets each once, and what it answers comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import paho.mqtt.client as mqtt
import pytest
from tests.gate_rig import FOREIGN, OWN, PATIENCE, Device, GateRig, properties
from tests.gate_site import Site as GateSite

from skerry.kit.clock import SystemClock
from skerry.kit.errors import Refused
from skerry.node.twin_ports import Told
from skerry.node.twins.commanding import TwinCommands
from skerry.wire.devices import Action, Command

pytestmark = pytest.mark.timeout(120)
TOPIC = f"cyberwave/twin/{OWN}/command"
WORKFLOW = "33333333-3333-4333-8333-333333333333"


class Site(GateSite):
    """An agent that gives commands, and hears what the gate has captured."""

    commands: TwinCommands

    def start_agent(self) -> None:
        super().start_agent()
        self.commands = TwinCommands(
            self.link, lambda twin: twin == OWN, lambda one: one == WORKFLOW, str, SystemClock()
        )

    async def _store(self) -> None:
        async for batch in self.link.captured():
            for entry in batch.entries:
                self.commands.heard(OWN, entry.topic, entry.payload)
            self.store.of[batch.session] = batch.entries[-1].n
            self.link.stored(batch)

    def give(self, number: int = 1, twin: str = OWN, **message: object) -> asyncio.Task[Told]:
        return self.order("twin_command", number, twin, **{"command": "arm"} | message)

    def order(
        self, action: Action, number: int = 1, twin: str = OWN, **message: object
    ) -> asyncio.Task[Told]:
        payload = msgspec.Raw(json.dumps(message).encode())
        order = Command(f"order-{number}", action, 1, 2, "ann", twin=twin, payload=payload)
        return asyncio.create_task(self.commands.give(order))


@pytest.fixture
async def site(short_dir: Path, memory_dir: Path) -> AsyncIterator[Site]:
    with GateRig(short_dir, memory_dir) as rig:
        found = Site(rig)
        rig.write_tokens()
        rig.start()
        found.start_agent()
        await found.until(lambda: found.link.session)
        yield found
        await found.stop_agent()


def driver(site: Site, topic: str = TOPIC, *, version: int = mqtt.MQTTv5) -> Device:
    device = site.rig.device(site.rig.token("driver"), version=version).connect()
    device.subscribe(topic, qos=1)
    return device


async def told(device: Device) -> tuple[dict[str, object], mqtt.MQTTMessage]:
    message = await asyncio.to_thread(device.heard.get, timeout=PATIENCE)
    return json.loads(message.payload), message


async def tokens_known(site: Site) -> None:
    site.rig.token("driver")
    await site.link.tokens()


async def test_a_driver_answers_where_it_is_asked_to(site: Site) -> None:
    await tokens_known(site)
    device = await asyncio.to_thread(driver, site)
    giving = site.give(data={"height": 2})
    said, message = await told(device)
    assert {key: said[key] for key in ("command", "data", "source_type")} == {
        "command": "arm", "data": {"height": 2}, "source_type": "tele",
    }  # fmt: skip
    where = message.properties.ResponseTopic
    assert where == f"{TOPIC}/skerry-order-1/response"
    answer = {"contract": "twin.command_response.v1", "status": "denied", "reason": "no battery"}
    correlation = properties(CorrelationData=message.properties.CorrelationData)
    device.publish(where, json.dumps(answer), 1, properties=correlation)
    reply = await giving
    assert (reply.message, reply.failed) == ("denied", True)
    assert json.loads(reply.reply) == answer


async def test_an_older_one_answers_on_the_same_topic(site: Site) -> None:
    await tokens_known(site)
    device = await asyncio.to_thread(lambda: driver(site, version=mqtt.MQTTv311))
    first, second = site.give(1), site.give(2, command="start_video")
    await told(device)
    await told(device)
    device.publish(TOPIC, json.dumps({"status": "ok", "command": "start_video"}))
    assert (await second) == Told("ok", '{"status":"ok","command":"start_video"}')
    device.publish(TOPIC, json.dumps({"status": "error"}))
    assert (await first).failed


async def test_it_is_said_once_somebody_listens(site: Site) -> None:
    await tokens_known(site)
    giving = site.give()
    await asyncio.sleep(0)
    device = await asyncio.to_thread(driver, site)
    _, message = await told(device)
    device.publish(message.properties.ResponseTopic, '{"status": "accepted"}', 1)
    assert (await giving).message == "accepted"
    assert device.heard.empty()


async def test_another_devices_twin_is_not_commanded(site: Site) -> None:
    with pytest.raises(Refused, match="not linked to this device"):
        await site.give(twin=FOREIGN)


async def test_a_navigation_goes_on_its_own_topic_and_comes_back_by_its_status(site: Site) -> None:
    await tokens_known(site)
    navigate = f"cyberwave/twin/{OWN}/navigate"
    device = await asyncio.to_thread(driver, site, f"{navigate}/command")
    giving = site.order("twin_navigate", goal=[1, 2])
    said, _ = await told(device)
    assert (said["goal"], said["action_id"]) == ([1, 2], "order-1")
    device.publish(f"{navigate}/status", json.dumps({"action_id": "order-1", "status": "running"}))
    assert (await giving).message == "running"
    assert device.heard.empty()


async def test_a_worker_is_told_to_run_its_workflow_and_to_stop(site: Site) -> None:
    base = f"cyberwave/workflow/{WORKFLOW}"
    token = site.rig.token("worker", role="worker", workflows=[WORKFLOW])
    await site.link.tokens()
    worker = await asyncio.to_thread(lambda: site.rig.device(token).connect())
    worker.subscribe(f"{base}/run", qos=1)
    worker.subscribe(f"{base}/cancel", qos=1)
    running = await site.order("run_workflow", workflow_uuid=WORKFLOW, inputs={"a": 1})
    said, message = await told(worker)
    assert (message.topic, said["inputs"]) == (f"{base}/run", {"a": 1})
    execution = json.loads(running.reply)["execution_uuid"]
    assert said["execution_uuid"] == execution
    await site.order("cancel_workflow", 2, workflow_uuid=WORKFLOW, execution_uuid=execution)
    said, message = await told(worker)
    assert (message.topic, said["execution_uuid"]) == (f"{base}/cancel", execution)
    assert worker.heard.empty()
