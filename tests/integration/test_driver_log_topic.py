"""Drivers' logs on `driverlog`: real files, a real gate and broker, a real subscriber."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.driver_rig import IMAGE, Rig, device, twin
from tests.gate_rig import OWN, Device, GateRig
from tests.gate_site import Site

from skerry.keeper.log_file import LogFile, stamp
from skerry.keeper.log_rules import LogRules
from skerry.kit.clock import NS, SystemClock
from skerry.kit.errors import Transient
from skerry.node.drivers.log_topic import LogTopic
from skerry.node.log_tails import BEHIND, LogTails

pytestmark = pytest.mark.timeout(120)
NAME = f"cyberwave-driver-{OWN[:8]}"
TOPIC = f"devcyberwave/twin/{OWN}/driverlog"
BEGAN = 1_700_000_000


class Logged:
    """A driver whose log a test writes, and an agent that publishes it."""

    def __init__(self, site: Site, directory: Path) -> None:
        self.site = site
        self.path = directory / "current.log"
        self._file = LogFile(
            str(self.path), LogRules(10 * BEHIND, 3), lambda: 0, lambda _s, _c: None
        )
        around = device(directory, CYBERWAVE_MQTT_TOPIC_PREFIX="dev")
        self._rig = Rig(directory, twin(OWN), on=around)
        self.since: int | None = 0
        tails = LogTails(lambda _: self.path, BEGAN * NS)
        self.topic = LogTopic(tails, self, lambda: around, SystemClock(), lambda *_: self.since)

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        """By the agent that there is at present."""
        await self.site.link.publish(topic, payload, qos)

    def write(self, *lines: str, at: float = BEGAN) -> None:
        begin = stamp(int(at * NS))
        self._file.append([b"%b stdout F %b\n" % (begin, line.encode()) for line in lines])

    async def look(self) -> None:
        await self.topic.look(list((await self._rig.look()).values()))


@pytest.fixture
async def logged(short_dir: Path, memory_dir: Path) -> AsyncIterator[Logged]:
    with GateRig(short_dir, memory_dir) as rig:
        site = Site(rig)
        rig.write_tokens()
        rig.start()
        site.start_agent()
        await site.until(lambda: site.link.session)
        (short_dir / "node").mkdir()
        yield Logged(site, short_dir / "node")
        await site.stop_agent()


async def subscribed(site: Site) -> Device:
    token = site.rig.token(prefix="dev")
    await site.link.tokens()
    listener = site.rig.device(token).connect()
    listener.subscribe(TOPIC)
    return listener


async def heard(listener: Device, count: int) -> list[dict[str, Any]]:
    said = [await asyncio.to_thread(listener.hear) for _ in range(count)]
    assert {topic for topic, _ in said} == {TOPIC}
    return [json.loads(payload) for _, payload in said]


async def test_pulls_and_prints_are_one_stream(logged: Logged) -> None:
    """What stood in the log before this agent is not said again."""
    logged.write("of an earlier agent", at=BEGAN - 1)
    logged.write(f"skerry: docker pull completed for image {IMAGE}")
    listener = await subscribed(logged.site)
    await logged.look()
    logged.write("ERROR: no motor", at=BEGAN + 2.5)
    await logged.look()
    pull, line = await heard(listener, 2)
    assert pull["message"] == f"docker pull completed for image {IMAGE}"
    assert (line["message"], line["level"], line["timestamp"]) == (
        "ERROR: no motor",
        "ERROR",
        BEGAN + 2.5,
    )
    assert line["container_name"] == NAME
    assert line["driver_image"] == IMAGE
    await logged.look()
    assert listener.heard.empty()


async def test_lines_of_a_twin_that_had_the_name_before_are_not_told(logged: Logged) -> None:
    listener = await subscribed(logged.site)
    logged.since = None
    logged.write("of the former")
    await logged.look()
    logged.since = (BEGAN + 5) * NS
    logged.write("its last", at=BEGAN + 4)
    logged.write("own", at=BEGAN + 6)
    await logged.look()
    assert [one["message"] for one in await heard(listener, 1)] == ["own"]


async def test_lines_wait_for_the_broker_and_come_once_in_order(logged: Logged) -> None:
    listener = await subscribed(logged.site)
    logged.write("1")
    await logged.look()
    assert [one["message"] for one in await heard(listener, 1)] == ["1"]
    await logged.site.stop_agent()
    logged.write("2", "3")
    with pytest.raises(Transient):
        await logged.look()
    logged.write("4")
    logged.site.start_agent()
    await logged.site.until(lambda: logged.site.link.session)
    for _ in range(2):
        await logged.look()
    assert [one["message"] for one in await heard(listener, 3)] == ["2", "3", "4"]


async def test_who_prints_too_much_loses_the_oldest_and_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "current.log"
    file = LogFile(str(path), LogRules(10 * BEHIND, 3), lambda: 0, lambda _s, _c: None)
    tails = LogTails(lambda _: path, BEGAN * NS)
    file.append([b"%b stdout F first\n" % stamp(BEGAN * NS)])
    assert [one.text for one in await tails.fresh(NAME)] == ["first"]
    lines = 2 * BEHIND // 100
    file.append([b"%b stdout F %060d\n" % (stamp(BEGAN * NS), n) for n in range(lines)])
    told = (await tails.fresh(NAME))[0].text
    left_out = int(told.split()[1])
    assert told == f"skerry: {left_out} lines left out here"
    given: list[str] = []
    while news := await tails.fresh(NAME):
        given += [one.text for one in news]
    assert [int(text) for text in given] == list(range(left_out, lines))
    assert not await tails.fresh(NAME)
