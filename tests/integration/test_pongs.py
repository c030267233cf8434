"""A program's ping is answered by the node, as long as it is news."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.bridge_rig import agent
from tests.gate_rig import OWN, GateRig

from skerry.core.cyberwave.intake import Rules
from skerry.kit.clock import SystemClock
from skerry.node.broker.pongs import FRESH, Pongs

PING, PONG = f"labcyberwave/ping/{OWN}/request", f"labcyberwave/pong/{OWN}/response"


async def test_a_ping_is_answered_and_an_old_one_is_not(short_dir: Path, memory_dir: Path) -> None:
    with GateRig(short_dir, memory_dir) as rig:
        token = rig.token("driver", prefix="lab")
        await asyncio.to_thread(rig.start)
        clock = SystemClock()
        async with agent(rig, short_dir / "node", rules=Rules("lab")) as one:
            pongs = Pongs(one.link, lambda: "lab", clock)
            answering = asyncio.create_task(pongs.run())
            program = await asyncio.to_thread(rig.device(token).connect)
            await asyncio.to_thread(program.subscribe, PONG)
            pongs.ping(OWN, clock.wall_ns() - FRESH)
            program.publish(PING, "{}")
            await one.until(lambda: one.heard.pings)
            pongs.ping(OWN, clock.wall_ns())
            topic, payload = await asyncio.to_thread(program.hear)
            told = json.loads(payload)
            assert (topic, told["type"], told["resource_uuid"]) == (PONG, "pong", OWN)
            assert program.heard.empty()
            answering.cancel()
