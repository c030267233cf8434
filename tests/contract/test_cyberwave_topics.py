"""What the node makes of everything that Cyberwave's SDK publishes by MQTT, sent by the SDK itself through a real gate and broker."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections import Counter
from pathlib import Path

import pytest
from tests.bridge_rig import Agent, agent
from tests.cyberwave_sdk import Sdk
from tests.gate_rig import OWN, GateRig

from skerry.core.cyberwave.presence import Presence, Stream, presence_of
from skerry.wire.files import read_reference

pytestmark = pytest.mark.timeout(120)
TWIN, JOINT = f"cyberwave/twin/{OWN}", f"cyberwave/joint/{OWN}"

SAY = """
import json, sys, time
import numpy as np
from cyberwave.mqtt import CyberwaveMQTTClient
from cyberwave.edge.health import EdgeHealthCheck
asked = json.load(sys.stdin)
twin, sent = asked["twin"], []
client = CyberwaveMQTTClient("127.0.0.1", asked["port"], api_key=asked["token"])
publish = client.publish
def counted(topic, message, *given, **named):
    done = publish(topic, message, *given, **named)
    sent.append([topic, bool(done)])
    return done
client.publish = counted
client.connect()
while not client.connected:
    time.sleep(0.05)
client.update_twin_position(twin, {"x": 1.0, "y": float("nan"), "z": 0.5})
client.update_twin_rotation(twin, {"w": 1.0, "x": 0.0, "y": 0.0, "z": 0.0})
client.update_twin_scale(twin, {"x": 1.0, "y": 1.0, "z": 1.0})
client.update_joint_state(twin, "elbow", position=0.25, velocity=1.5)
client.update_joints_state(twin, {"elbow": 0.5, "wrist": 1.0})
client.update_joints_state(twin, {"elbow": 0.75}, velocities={"elbow": 0.1})
client.update_twin_gps(twin, 47.5, 8.5, 400.0)
client.publish_depth_frame(twin, {"shape": [2, 2], "values": [1, 2, 3, 4]})
client.publish_pointcloud(twin, np.arange(12, dtype=np.float32).reshape(4, 3))
client.publish_command_message(twin, "ok")
client.publish_webrtc_message(twin, {"type": "offer", "sdp": "x"})
health = EdgeHealthCheck(client, [twin])
health.mark_alive()
health.register_stream_config("front", {"kind": "camera", "resolution": "640x480", "source": "0", "fps": 20})
health._publish_once()
client.publish(f"cyberwave/twin/{twin}/event", {"what": "done"}, qos=1)
client.disconnect()
print(json.dumps({"sent": sent, "id": client.client_id}))
"""


def one_of(found: Agent, name: str) -> dict[str, object]:
    """The only record of a name, its JSON."""
    [value] = found.values(name)
    body: dict[str, object] = json.loads(str(value))
    return body


async def test_what_the_sdk_publishes_becomes_what_is_documented(
    cyberwave_sdk: Sdk, short_dir: Path, memory_dir: Path
) -> None:
    with GateRig(short_dir, memory_dir) as rig:
        token = rig.token()
        rig.start()
        asked = {"twin": OWN, "port": rig.mqtt_port, "token": token}
        async with agent(rig, short_dir / "node") as one:
            told = await asyncio.to_thread(cyberwave_sdk.ask, SAY, asked)
            assert all(done for _, done in told["sent"])
            counts = Counter(topic for topic, _ in told["sent"])
            await one.until(
                lambda: len(one.values(f"{TWIN}/telemetry")) == counts[f"{TWIN}/telemetry"]
            )
            await one.until(lambda: len(one.all("file")) == 2 and one.values(f"{TWIN}/event"))

            assert one_of(one, f"{TWIN}/position")["position"] == {"x": 1.0, "y": None, "z": 0.5}
            assert one_of(one, f"{TWIN}/rotation")["session_id"] == told["id"]
            assert one_of(one, f"{TWIN}/gps")["latitude"] == 47.5
            elbow = next(each for each in one.all() if each.name == f"{JOINT}/elbow")
            assert (elbow.value, elbow.meta) == (
                0.25,
                {"velocity": 1.5, "source_type": "edge", "session": told["id"]},
            )
            flat, aggregated = (json.loads(str(value)) for value in one.values(f"{JOINT}/update"))
            assert (flat["elbow"], flat["wrist"]) == (0.5, 1.0)
            assert aggregated["positions"] == {"elbow": 0.75}
            kinds = [json.loads(str(value))["type"] for value in one.values(f"{TWIN}/telemetry")]
            assert kinds[:2] == ["connected", "telemetry_start"]
            assert set(kinds[2:]) >= {"disconnected", "telemetry_end"}
            files = {each.name: read_reference(each.value) for each in one.all("file")}
            cloud = json.loads(one.node.bytes_of(files[f"{TWIN}/pointcloud"]))
            floats = next(v for v in cloud.values() if isinstance(v, str) and len(v) == 64)
            assert struct.unpack("<12f", base64.b64decode(floats)) == tuple(range(12))
            assert set(files) == {f"{TWIN}/pointcloud", f"{TWIN}/depth"}
            assert [topic for topic, _ in one.heard.replies] == [f"{TWIN}/command"]
            [(twin, payload)] = one.heard.healths
            said = presence_of(payload)
            assert twin == OWN
            assert said == Presence(
                online=True,
                edge=OWN,
                source="edge",
                streams=(Stream("front", "connected", healthy=True, stale=False, kind="camera"),),
            )
            assert {each.lane for each in one.all("measurement")} == {"sample"}
            assert {each.lane for each in one.all("event")} == {"event"}
