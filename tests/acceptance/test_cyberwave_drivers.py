"""Drivers of twins as containers of real engines, from the hub's row to what runs and what people are told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.container_site import state
from tests.cyberwave_site import CyberwaveSite, contained, log_of, native
from tests.driver_image import PROGRAM
from tests.driver_site import drivers
from tests.engines import TestEngine, ask
from tests.files_in_use import contents
from tests.installation import installation

from skerry.node.cyberwave.places import device_memory
from skerry.testing.chaos_proxy import ChaosProxy
from skerry.testing.waiting import eventually

Json = Mapping[str, Any]


FAILURE_WITHIN = 60.0
"""Seconds after which a driver that exits at once is told of (case 21)."""

UP_WITHIN, ENDS_WITHIN = 30.0, 10.0
"""Seconds, of a boot and of an agent's end with a hub that never answers (case 5)."""


async def test_case_9_a_linked_twins_driver_runs_as_documented_and_a_foreign_ones_does_not(
    short_dir: Path, engine: TestEngine
) -> None:
    async with drivers(short_dir, engine) as rig:
        site = rig.site
        [arm] = await site.join(
            rig.twin("arm", "-e", "CYBERWAVE_Z=1", "-e", "CYBERWAVE_A=2", "-e", "CYBERWAVE_Z=3")
        )
        foreign = {**site.linked(rig.twin("foreign")), "metadata": {"edge_fingerprint": "other-1"}}
        await site.put(f"twins_{site.environment.replace('-', '')}", "f" * 8 + arm[8:], foreign)
        await rig.runs(arm)
        name = f"cyberwave-driver-{arm[:8]}"
        assert rig.containers().keys() == {name}
        shown = rig.containers()[name]
        host = shown["HostConfig"]
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert host["NetworkMode"] == "host"
        assert not host["Privileged"]
        assert (host["Memory"], host["PidsLimit"]) == (device_memory() // 2, 4096)
        mounts = {one["Destination"]: (one["Source"], one["RW"]) for one in shown["Mounts"]}
        assert mounts[f"/app/{arm}.json"] == (str(site.config / f"{arm}.json"), True)
        assert mounts["/app/.cyberwave"][1] is False
        seen = rig.seen()
        environment = seen["env"]
        assert environment["CYBERWAVE_TWIN_UUID"] == arm
        assert environment["CYBERWAVE_TWIN_JSON_FILE"] == f"/app/{arm}.json"
        assert (environment["CYBERWAVE_Z"], environment["CYBERWAVE_A"]) == ("3", "2")
        assert environment["CYBERWAVE_BASE_URL"] == f"http://127.0.0.1:{site.mqtt_port + 1}"
        assert (seen["twin"], seen["writable"]) == ("arm", True)
        given = [one.partition("=")[0] for one in shown["Config"]["Env"]]
        assert len(given) == len(set(given))


async def test_case_13_a_camera_child_has_no_container_and_its_parents_driver_serves_it(
    short_dir: Path, docker_engine: TestEngine
) -> None:
    """Also when it is attached while the driver runs, and has a driver of its own in its metadata."""
    async with drivers(short_dir, docker_engine) as rig:
        site = rig.site
        arm = await rig.joined()
        assert "CYBERWAVE_CHILD_TWIN_UUIDS" not in rig.seen()["env"]
        sees = {"sensors": [{"type": "rgb"}]}
        eye = {**rig.twin("eye"), "attach_to_twin_uuid": arm, "capabilities": sees}
        camera = await site.add_twin(eye)
        await rig.runs(arm, lives=2)
        seen = rig.seen()
        assert seen["env"]["CYBERWAVE_CHILD_TWIN_UUIDS"] == camera
        assert {f"{arm}.json", f"{camera}.json"} <= set(seen["files"])
        assert json.loads((site.config / f"{camera}.json").read_text())["name"] == "eye"
        await eventually(site.drained, "the hub has everything")
        assert rig.containers().keys() == {site.driver(arm)}
        assert {one["twin_uuid"] for one in await site.alerts()} == {arm}
        assert rig.lives(camera) == 0


async def test_tokens_are_one_for_each_driver_and_nobody_else_sees_them(
    short_dir: Path, docker_engine: TestEngine
) -> None:
    async with drivers(short_dir, docker_engine) as rig:
        site = rig.site
        one, two = await site.join(rig.twin("one"), rig.twin("two"))
        for twin in (one, two):
            await rig.runs(twin)
        tokens = [rig.seen(name)["env"]["CYBERWAVE_API_KEY"] for name in ("one", "two")]
        assert len(set(tokens)) == 2
        for name, other in (("one", tokens[1]), ("two", tokens[0])):
            seen = json.dumps(rig.seen(name))
            assert other not in seen
            assert "cw_of_the_device" not in seen
            assert set(tokens) - {other} <= {json.loads(rig.seen(name)["credentials"])["token"]}
        assert rig.seen("one")["files"] == sorted(
            ["credentials.json", "environment.json", "fingerprint.json", f"{one}.json"]
        )
        lines = list(_command_lines())
        logs = [content for path, content in contents(short_dir) if path.suffix == ".log"]
        for token in tokens:
            assert not [text for text in (*lines, *logs) if token.encode() in text]


def _command_lines() -> Iterator[bytes]:
    """Those of all processes; one may end meanwhile."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes()


async def test_case_17_a_twin_without_a_driver_is_told_of_and_the_other_one_runs(
    short_dir: Path, docker_engine: TestEngine
) -> None:
    async with drivers(short_dir, docker_engine) as rig:
        bare, arm = await rig.site.join({"name": "bare"}, rig.twin())
        await rig.runs(arm)
        told = await rig.alert("error")
        assert told["twin_uuid"] == bare
        assert "No drivers specified" in told["description"]
        assert (await rig.alert("driver_starting", active=False))["twin_uuid"] == arm


async def test_case_21_a_driver_that_exits_at_once_is_told_of(
    short_dir: Path, engine: TestEngine
) -> None:
    async with drivers(short_dir, engine) as rig:
        [arm] = await rig.site.join(rig.twin(CYBERWAVE_ENDS=99))
        told = await rig.alert("driver_start_failure", within=FAILURE_WITHIN)
        assert told["twin_uuid"] == arm
        assert arm in told["description"]
        assert told["description"].endswith("https://docs.cyberwave.com")


async def test_the_fifth_restart_stops_it_and_the_mark_outlives_the_agent(
    short_dir: Path, engine: TestEngine
) -> None:
    """Until it is tried again, ten minutes later: that is shown with a clock of its own (`tests/integration/test_driver_watching.py`)."""
    async with drivers(short_dir, engine) as rig:
        site = rig.site
        [arm] = await site.join(rig.twin(CYBERWAVE_ENDS=99))
        name = site.driver(arm)
        told = await rig.alert("driver_restart_loop")
        for word in (
            name,
            arm,
            "60 seconds",
            "stopped automatically",
            "https://docs.cyberwave.com",
        ):
            assert word in told["description"]

        await rig.flaps(arm)
        await eventually(lambda: not rig.containers(), "nothing of it is left")
        lives, counts = rig.lives(arm), told["metadata"]
        assert counts["restart_count"] == 5
        assert lives >= counts["total_restarts"] >= 5, "five lives have ended before it is stopped"
        await site.node.kill()
        await site.node.start()
        await rig.flaps(arm)
        assert rig.lives(arm) == lives


async def test_case_23_four_restarts_and_then_a_steady_life_are_told_to_nobody(
    short_dir: Path, engine: TestEngine
) -> None:
    async with drivers(short_dir, engine) as rig:
        [arm] = await rig.site.join(rig.twin(CYBERWAVE_ENDS=4))
        await rig.runs(arm, lives=5)
        _ = await rig.alert("driver_starting", active=False)
        assert {one["alert_type"] for one in await rig.site.alerts()} == {"driver_starting"}


async def test_case_25_an_alert_of_an_outage_is_delivered_after_it(
    short_dir: Path, docker_engine: TestEngine
) -> None:
    async with drivers(short_dir, docker_engine) as rig:
        site = rig.site
        twin = rig.twin(CYBERWAVE_ENDS=9)
        (rig.data("arm") / "lives").write_text("50")
        [arm] = await site.join(twin)
        await rig.runs(arm)
        await site.power_off()
        (rig.data("arm") / "lives").unlink()
        await site.boot_without_hub()
        await rig.flaps(arm)
        await site.site.hub.start()
        assert (await rig.alert("driver_restart_loop"))["twin_uuid"] == arm


async def test_case_19_an_image_that_is_here_needs_no_registry_and_one_that_is_not_is_told_of(
    short_dir: Path, docker_engine: TestEngine
) -> None:
    async with drivers(short_dir, docker_engine) as rig:
        missing = "127.0.0.1:9/arm-driver:3"
        here, gone = await rig.site.join(rig.twin("here"), contained(missing))
        await rig.runs(here)
        told = await rig.alert("driver_start_failure")
        assert told["twin_uuid"] == gone
        assert missing in told["description"]
        name = rig.site.driver(gone)
        for words in ("started", "failed"):
            line = f"docker pull {words} for image {missing}"
            await eventually(
                lambda line=line: line in log_of(rig.site.node, name), f"its log says {line}"
            )

        async def shipped() -> bool:
            rows = await rig.site.site.hub.rows(f"skerry.log.{name}")
            return any(f"pull failed for image {missing}" in str(row.value) for row in rows)

        await eventually(shipped, "the hub has what the pull says, with the driver's log")


async def test_case_31_a_restart_pushes_first_is_done_once_and_leaves_other_containers_alone(
    short_dir: Path, docker_engine: TestEngine
) -> None:
    async with drivers(short_dir, docker_engine) as rig:
        site = rig.site
        arm = await rig.joined()
        foreign = json.dumps({"Image": rig.image, "Cmd": ["true"]}).encode()
        assert (
            ask(docker_engine.socket, "POST", "/v1.40/containers/create?name=foreign", foreign)[0]
            == 201
        )
        file = site.config / f"{arm}.json"
        edited = {**json.loads(file.read_text()), "description": "by its driver"}
        with file.open("r+") as opened:
            opened.write(json.dumps(edited))
            opened.truncate()
        for _ in range(2):
            assert (await rig.order("restart_edge_core", "r1")).message == "restarted"
        await rig.runs(arm, lives=2)
        assert rig.lives(arm) == 2
        assert json.loads(file.read_text())["description"] == "by its driver"
        row = await rig.row(f"twins_{site.environment.replace('-', '')}", arm)
        assert row["description"] == "by its driver"
        assert rig.containers().keys() == {"foreign", site.driver(arm)}


@pytest.mark.guarantee("G8")
async def test_the_agents_end_and_return_stop_and_restart_no_driver(
    short_dir: Path, engine: TestEngine
) -> None:
    async with drivers(short_dir, engine) as rig:
        site = rig.site
        arm = await rig.joined()
        name = site.driver(arm)
        before = await state(site.node, name)
        for number in (signal.SIGTERM, signal.SIGKILL):
            await site.node.process.end(number)
            assert rig.containers()[name]["State"]["Running"]
            await site.node.start()
            await rig.runs(arm)
            after = await state(site.node, name)
            assert before is not None
            assert after is not None
            assert (after.pid, after.restarts) == (before.pid, before.restarts)
        assert rig.lives(arm) == 1


async def test_case_5_a_hub_that_takes_calls_and_never_answers_holds_up_neither_boot_nor_end(
    short_dir: Path,
) -> None:
    async with (
        installation(short_dir) as inst,
        ChaosProxy("127.0.0.1", inst.hub.nodes_port) as proxy,
    ):
        site = CyberwaveSite(inst, url=f"https://127.0.0.1:{proxy.port}")
        site.sign_in()
        data = short_dir / "data"
        data.mkdir()
        [arm] = await site.join(native("python", "-c", PROGRAM, LIVES=data / "lives"))
        await site.tells(site.driver(arm), life=1)
        await site.power_off()
        proxy.black_hole()
        async with asyncio.timeout(UP_WITHIN):
            await site.node.start()
            await site.tells(site.driver(arm), life=2)
        async with asyncio.timeout(ENDS_WITHIN):
            assert await site.node.process.end(signal.SIGTERM) == 0
        await site.node.start()
        await site.node.ready()
        await site.power_off()
