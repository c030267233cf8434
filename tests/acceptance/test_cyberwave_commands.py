"""People at the hub command a driver on the unmodified SDK: it does so once, and its answer comes back."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import pytest
from tests.command_line import CommandLine
from tests.cyberwave_sdk import FIXTURES, Sdk
from tests.cyberwave_site import cyberwave_site, native
from tests.installation import installation

from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(240)


async def test_a_driver_obeys_once_and_answers(short_dir: Path, cyberwave_sdk: Sdk) -> None:
    """Also on a device whose topics begin otherwise."""
    async with cyberwave_site(short_dir) as site:
        site.variables |= {"CYBERWAVE_TOPIC_PREFIX": "lab/", "CYBERWAVE_ENVIRONMENT": "Dev"}
        site.sign_in()
        [twin] = await site.join(native(*cyberwave_sdk.words(FIXTURES / "driver.py")))
        site.sign_in()
        driver = site.driver(twin)
        await site.tells(driver, active=twin)
        await site.tells(driver, pong="pong")
        skerry = CommandLine(site.site)
        message = json.dumps({"command": "wiggle", "data": {"times": 2}})
        words = (
            "twin",
            "command",
            site.node.name,
            twin,
            message,
            "--request-id",
            "w1",
            "-o",
            "json",
        )
        for _ in range(2):
            ended = await skerry.run(*words)
            assert ended.code == 0, ended.err
            told = json.loads(ended.out)
            assert (told["state"], told["message"]) == ("done", "accepted")
            reply = json.loads(told["reply"])
            assert {
                "contract": "twin.command_response.v1", "status": "accepted", "command": "wiggle", "twin_uuid": twin,
            }.items() <= reply.items()  # fmt: skip
        assert site.count(driver, command="wiggle", data={"times": 2}) == 1
        await eventually(lambda: site.has(twin, 1), "the hub has its events by the usual name", 60)

        words = ("twin", "command", site.node.name, twin, '{"goal": [1, 2]}', "--topic", "navigate")
        ended = await skerry.run(*words, "-o", "json")
        told = json.loads(ended.out)
        assert (ended.code, told["message"]) == (0, "running"), told
        assert json.loads(told["reply"])["action_id"] == told["id"]
        assert site.count(driver, goal=[1, 2]) == 1

        ended = await skerry.run("twin", "run-workflow", site.node.name, str(uuid.uuid4()))
        assert ended.code == 1
        assert "none of this device's environment and twins" in ended.out

        ended = await skerry.run("twin", "command", site.node.name, str(uuid.uuid4()), message)
        assert ended.code == 1
        assert "not linked to this device" in ended.out

        shown = (await skerry.run("get", "workloads")).out
        assert f"{driver} (device)" in shown
        assert "cyberwave-gate" not in shown
        twins = (await skerry.run("get", "twins")).out
        assert re.search(rf"arm +{twin} +{site.node.name} +online", twins), twins
        elsewhere = ("--data-dir", str(short_dir / "no-node-here"))
        printed = await skerry.run("logs", driver, *elsewhere)
        assert '"command": "wiggle"' in printed.out, printed.err
        assert "twins     know it as " in (await skerry.run("device", "show", site.node.name)).out


async def test_a_device_without_twins_says_so(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        node = site.node()
        await node.enrol(site.hub)
        await node.start()
        await node.ready()
        skerry = CommandLine(site)
        ended = await skerry.run("twin", "sync-workflows", node.name)
        assert (ended.code, "serves no twins" in ended.out) == (1, True), ended
