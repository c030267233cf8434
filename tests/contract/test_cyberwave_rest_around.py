"""What drivers, workers and their SDK ask a node by REST about a twin's state, its driver's log, and what it belongs to."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from tests.rest_rig import DRIVER, DRIVER_WORKLOAD, WORKER, WORKSPACE, Heard, RestSite, rest_site
from tests.twin_bodies import ARM, ARM_ASSET, DEVICE, ENVIRONMENT, arm

from skerry.node.contracts.cyberwave_api.app import rest_app
from skerry.node.contracts.cyberwave_api.asking import MOST_AT_ONCE
from skerry.node.contracts.cyberwave_api.sources import Frame
from skerry.testing.waiting import eventually

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cyberwave-rest.md"


async def test_the_page_has_every_route(short_dir: Path) -> None:
    told = set()
    for line in PAGE.read_text().splitlines():
        cell = line.split("|")[1] if line.startswith("| ") else ""
        for part in cell.split(";"):
            methods = re.findall(r"GET|PUT|POST|PATCH|DELETE", part.split("`")[0])
            paths = re.findall("`(/[^`]+[^…`])`", part)
            told |= {(method, path) for path in paths for method in methods}
    async with rest_site(short_dir) as site:
        routes = {
            (route.method, route.resource.canonical.removeprefix("/api/v1"))
            for route in rest_app(site.sources()).router.routes()
            if route.resource is not None and route.method != "HEAD"
        }
    served = {each for each in routes if not each[1].startswith(("/files/", "/ml-models"))}
    assert told == served


async def test_joints_are_what_was_written_or_what_passed_last(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        call = f"twins/{ARM}"
        assert (await site.ask("GET", f"{call}/joint_states"))["name"] == []
        one = await site.ask("PUT", f"{call}/joints/j1/state", {"position": 0.5, "effort": 2})
        assert one == {"name": "j1", "position": 0.5, "velocity": None, "effort": 2}
        assert await site.ask("GET", f"{call}/joints/j1/state") == one
        await site.ask("GET", f"{call}/joints/j9/state", status=404)
        body = {"joint_states": {"j2": 1, "j1": {"position": 0.25}}}
        many = await site.ask("PUT", f"{call}/joint_states", body)
        assert (many["name"], many["position"]) == (["j1", "j2"], [0.25, 1])
        assert (many["velocity"], many["effort"]) == ([], [])
        for wrong in (
            {"joint_states": {"j1": "far"}},
            {"joint_states": 1},
            {**body, "as_home_position": True},
        ):
            await site.ask("PUT", f"{call}/joint_states", wrong, status=422)


async def test_a_leader_and_a_follower_have_calibrations(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        call = f"twins/{ARM}/calibration"
        await site.ask("GET", call, status=404)
        joint = {
            "range_min": 0.0,
            "range_max": 9.0,
            "homing_offset": 1,
            "drive_mode": "0",
            "id": "1",
        }
        told = {"joint_calibration": {"pan": joint}}
        assert (await site.ask("POST", call, told))["robot_type"] == "follower"
        await site.ask("POST", call, {"joint_calibration": {}, "robot_type": "leader"})
        found = await site.ask("GET", call)
        assert found["joint_calibration"] == {"pan": {**joint, "lower": None, "upper": None}}
        assert (await site.ask("GET", f"{call}?is_leader=True"))["robot_type"] == "leader"
        await site.ask("DELETE", f"{call}?robot_type=leader", status=204)
        await site.ask("GET", f"{call}?is_leader=True", status=404)
        await site.ask("DELETE", call, status=204)
        await site.ask("GET", call, status=404)
        await site.put(site.twins.entity, ARM, arm(joint_calibration={"pan": joint}))
        assert (await site.ask("GET", call))["joint_calibration"] == {"pan": joint}
        await site.ask("POST", call, {"joint_calibration": {"pan": {}}}, status=422)


class Camera:
    """Has seen one picture."""

    async def joints(self, twin: str) -> dict[str, object]:
        assert twin
        return {}

    async def frame(self, twin: str, sensor: str) -> Frame | None:
        return Frame(b"\xff\xd8", "image/jpeg", 7) if (twin, sensor) == (ARM, "wrist") else None


async def test_a_picture_is_one_that_has_passed(short_dir: Path) -> None:
    async with rest_site(short_dir) as site:
        site.seen = Camera()  # type: ignore[assignment]
        async with site.serving():
            call = f"/api/v1/twins/{ARM}/latest-frame?sensor_id=wrist"
            headers = {"Authorization": f"Bearer {DRIVER}"}
            assert await site.raw("GET", call, headers=headers) == b"\xff\xd8"
            for made_up in ("mock=true", "source_type=sim", "frame_bucket=policy_depth"):
                await site.raw("GET", f"{call}&{made_up}", headers=headers, status=404)
            await site.ask("GET", f"twins/{ARM}/latest-frame", status=404)


async def test_logs_are_read_back_the_newest_first(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        assert (await site.ask("GET", f"twins/{ARM}/logs"))["items"] == []
        place = site.logs / DRIVER_WORKLOAD
        place.mkdir(parents=True)
        lines = [
            f"2026-11-22T10:00:0{n}.000000000Z stderr F {'ERROR' if n == 3 else 'INFO'} {n}\n"
            for n in range(6)
        ]
        pull = "2026-11-22T09:00:00.000000000Z stderr F skerry: docker pull started for image a:1\n"
        (place / "current.log").write_text("".join([pull, *lines]))
        found = await site.ask("GET", f"twins/{ARM}/logs?limit=1&offset=6")
        [first] = found["items"]  # type: ignore[misc, attr-defined]
        assert first["message"] == "docker pull started for image a:1"
        assert str(first["edge_core_version"]).startswith("skerry ")
        found = await site.ask("GET", f"twins/{ARM}/logs?limit=2&offset=1")
        items: list[dict[str, object]] = found["items"]  # type: ignore[assignment]
        assert [each["message"] for each in items] == ["INFO 4", "ERROR 3"]
        assert [each["level"] for each in items] == ["INFO", "ERROR"]
        assert (found["total"], found["has_more"], items[0]["twin_uuid"]) == (7, True, ARM)
        query = (
            "level=ERROR&include_total=false&start=2026-11-22T10:00:02Z&end=2026-11-22T10:00:05Z"
        )
        found = await site.ask("GET", f"environments/{ENVIRONMENT}/driver-logs?{query}")
        assert [each["message"] for each in found["items"]] == ["ERROR 3"]  # type: ignore[attr-defined]
        assert (found["total"], found["has_more"]) == (None, False)
        site.log_since = None
        assert (await site.ask("GET", f"twins/{ARM}/logs"))["items"] == []
        await site.ask("GET", f"twins/{ARM}/logs?limit=x", status=422)
        await site.ask("GET", f"twins/{ARM}/logs?offset=99999", status=422)
        await site.ask("GET", f"twins/{ARM}/logs?start=now", status=422)


async def test_an_alert_that_people_made_of_a_few_fields_has_all_that_programs_read(
    short_dir: Path,
) -> None:
    async with rest_site(short_dir) as site, site.serving():
        made = await site.ask("POST", "alerts", {"name": "by a program"})
        await site.put(site.alerts.entity, ARM, {"twin_uuid": ARM, "name": "by people"})
        found = await site.list("alerts?status=active&severity=warning")
        assert {each["name"] for each in found} == {"by a program", "by people"}
        assert [each.keys() for each in found] == 2 * [made.keys()]
        over = await site.ask("POST", f"alerts/{ARM}/resolve")
        assert (over["status"], over.keys()) == ("resolved", made.keys())


async def test_a_line_has_the_level_that_it_has_on_the_topic(short_dir: Path) -> None:
    """The one that its first 80 characters name, in whatever letters."""
    texts = {
        "ERROR": "\x1b[31mred error\x1b[0m",
        "WARNING": "[main] warn: hot",
        "DEBUG": "debugging",
        "INFO": f"{'.' * 80} ERROR",
    }
    async with rest_site(short_dir) as site, site.serving():
        place = site.logs / DRIVER_WORKLOAD
        place.mkdir(parents=True)
        lines = [f"2026-11-22T10:00:00.000000000Z stderr F {text}\n" for text in texts.values()]
        (place / "current.log").write_text("".join(lines))
        found = await site.ask("GET", f"twins/{ARM}/logs")
        items: list[dict[str, str]] = found["items"]  # type: ignore[assignment]
        assert {each["level"]: each["message"] for each in items} == texts
        query = f"twin_uuids={ARM.upper()}&level=debug"
        found = await site.ask("GET", f"environments/{ENVIRONMENT}/driver-logs?{query}")
        assert [each["message"] for each in found["items"]] == ["debugging"]  # type: ignore[attr-defined]


async def test_what_a_twin_belongs_to(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        for call in (ARM_ASSET, "x%2Farm", "X%2FARM", "x%2Fcatalog%2Farm"):
            assert (await site.ask("GET", f"assets/{call}"))["uuid"] == ARM_ASSET
        for query in (
            "",
            "?registry_id=x/arm",
            "?search=ar",
            "?registry_id=x/standard-cam&search=",
        ):
            expected = [] if "cam" in query else [ARM_ASSET]
            assert [each["uuid"] for each in await site.list(f"assets{query}")] == expected
        assert len(await site.list("assets", WORKER)) == 2
        around = await site.ask("GET", f"environments/{ENVIRONMENT}")
        assert around["name"] == "Bay"
        assert await site.list("environments?limit=200&offset=0") == [around]
        assert await site.list("environments?limit=200&offset=200") == []
        assert await site.ask("GET", "environments/by-slug?slug=x/envs/bay") == around
        [project] = await site.list("projects")
        assert (project["uuid"], project["workspace_uuid"]) == (around["project_uuid"], WORKSPACE)
        assert await site.list(f"projects/{project['uuid']}/environments") == [around]
        [workspace] = await site.list("users/workspaces")
        assert workspace["uuid"] == WORKSPACE
        assert await site.ask("GET", f"users/workspaces/{WORKSPACE}") == workspace
        await site.ask("GET", f"users/workspaces/{ARM}", status=404)
        for call in ("twins", "projects", f"projects/{project['uuid']}/environments"):
            await site.ask("POST", call, {"name": "x"}, status=403)
        usual = {"name": "Quickstart Environment", "description": ""}
        call = f"projects/{project['uuid']}/environments"
        assert await site.ask("POST", call, usual) == around


async def test_the_one_edge_is_this_device(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        [edge] = await site.list("edges")
        told = {"fingerprint": DEVICE, "metadata": {"a": 1}}
        for call in ("edges", "edges"):
            assert (await site.ask("POST", call, told))["uuid"] == edge["uuid"]
        assert (await site.ask("GET", f"edges/{edge['uuid']}"))["fingerprint"] == DEVICE
        found = await site.ask("POST", "edges/discover", {**told, "platform": "linux"})
        assert found["edge_uuid"] == edge["uuid"]
        assert found["twins"] == [
            {"twin_uuid": ARM, "twin_name": "arm", "camera_config": {"fps": 10}}
        ]
        await site.ask("POST", "edges", {"fingerprint": "another"}, status=409)
        await site.ask("GET", f"edges/{ARM}", status=404)
        call = f"edges/{edge['uuid']}"
        await site.ask("PUT", call, {"name": "mine"}, status=403)
        await site.ask("POST", f"{call}/restart-core", {}, status=403)
        await site.ask("DELETE", f"{call}/twins/{ARM}", status=403)
        await site.ask("PUT", f"{call}/twins/{ARM}/camera-config", {}, status=410)


async def test_one_program_does_not_keep_the_others_out(short_dir: Path) -> None:
    """By requests whose bodies do not end."""
    head = (
        f"POST /api/v1/alerts HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {WORKER}\r\n"
        "Content-Length: 9\r\n\r\n"
    ).encode()
    async with rest_site(short_dir) as site, site.serving():
        pairs = [await asyncio.open_unix_connection(str(site.path)) for _ in range(MOST_AT_ONCE)]
        for _, writer in pairs:
            writer.write(head)
            await writer.drain()

        async def is_full() -> bool:
            headers = {"Authorization": f"Bearer {WORKER}"}
            try:
                await site.raw("GET", "/api/v1/twins", headers=headers, status=429)
            except AssertionError:
                return False
            return True

        await eventually(is_full, "the worker has had its share")
        await site.ask("GET", f"twins/{ARM}")
        for _, writer in pairs:
            writer.write(b'{"name":1')
            writer.close()
        await eventually(lambda: _answers(site), "the worker is answered again")


async def test_what_was_begun_is_done_and_told_when_its_asker_has_gone(short_dir: Path) -> None:
    heard = Heard()
    async with rest_site(short_dir, heard) as site, site.serving():
        async with site.alerts._changing:  # as another change that takes long
            _, writer = await asyncio.open_unix_connection(str(site.path))
            body = b'{"name": "Hot"}'
            head = f"POST /api/v1/alerts HTTP/1.1\r\nHost: n\r\nAuthorization: Bearer {DRIVER}\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await eventually(lambda: bool(site.alerts._changing._waiters), "it is asked")
            writer.close()
            await writer.wait_closed()
            await site.ask("GET", f"twins/{ARM}")  # the server has seen the end by now
        await eventually(lambda: heard.statuses() == ["active"], "it is told of")


async def _answers(site: RestSite) -> bool:
    try:
        await site.ask("GET", f"twins/{ARM}", token=WORKER)
    except AssertionError:
        return False
    return True
