"""What drivers, workers and their SDK ask a node by REST: who may, what is answered, what is durable."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.rest_rig import (
    CAMERA_ASSET,
    DRIVER,
    WORKER,
    WORKSPACE,
    Heard,
    rest_site,
)
from tests.twin_bodies import ARM, ARM_ASSET, CAMERA, DEVICE, ENVIRONMENT, FOREIGN, arm

from skerry.core.cyberwave import schemas
from skerry.node.contracts.cyberwave_api.app import LIMITS, RestSocket, rest_app
from skerry.node.contracts.cyberwave_api.asking import MAX_BODY
from skerry.node.twins.alerts import MOST_OPEN, MOST_OVER
from skerry.testing.waiting import eventually


async def test_a_twin_has_all_that_the_sdk_requires(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        twin = await site.ask("GET", f"twins/{ARM}?workspace_uuid=whatever")
        assert twin.keys() >= {*schemas.TWIN, "uuid"}
        assert (twin["uuid"], twin["name"], twin["position_x"]) == (ARM, "arm", 1.0)
        assert [each["uuid"] for each in await site.list("twins")] == [ARM]
        assert (await site.ask("GET", "twins/by-slug?slug=x/twins/arm"))["uuid"] == ARM
        await site.put(site.twins.entity, CAMERA, arm(environment_uuid=None))
        bare = await site.ask("GET", f"twins/{CAMERA}", token=WORKER)
        assert bare["environment_uuid"] == ENVIRONMENT
        assert (await site.ask("GET", f"twins/{ARM.upper()}"))["uuid"] == ARM
        both = await site.list(f"environments/{ENVIRONMENT.upper()}/twins", WORKER)
        assert [each["uuid"] for each in both] == [ARM, CAMERA]


async def test_every_list_comes_to_an_end_for_who_reads_it_page_by_page(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        await site.put(site.twins.entity, CAMERA, arm())
        lists = ("twins", f"environments/{ENVIRONMENT}/twins", "assets", "environments", "projects")
        for path in (*lists, "users/workspaces", "edges", "mlmodels"):
            every = [each["uuid"] for each in await site.list(path, WORKER)]
            for query, part in (
                ("limit=1", every[:1]),
                ("limit=5&offset=1", every[1:]),
                (f"offset={len(every)}", []),
            ):
                found = await site.list(f"{path}?{query}", WORKER)
                assert [each["uuid"] for each in found] == part, path


@pytest.mark.parametrize("scheme", ["Bearer", "Token", "bearer"])
async def test_both_schemes_of_tokens_are_taken(short_dir: Path, scheme: str) -> None:
    async with rest_site(short_dir) as site, site.serving():
        headers = {"Authorization": f"{scheme} {DRIVER}"}
        await site.raw("GET", f"/api/v1/twins/{ARM}", headers=headers)
        headers = {"Authorization": f"Basic {DRIVER}"}
        await site.raw("GET", f"/api/v1/twins/{ARM}", headers=headers, status=401)


@pytest.mark.guarantee("G9")
async def test_a_token_is_the_whole_of_a_callers_rights(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        for token in ("", "cw_unknown"):
            answer = await site.ask("GET", f"twins/{ARM}", token=token, status=401)
            assert list(answer) == ["detail"]
        alert = await site.ask("POST", "alerts", {"name": "eye", "twin_uuid": CAMERA}, token=WORKER)
        for twin in (CAMERA, FOREIGN, "nonsense"):
            for method, call, body in (
                ("GET", f"twins/{twin}", None),
                ("PUT", f"twins/{twin}", {"name": "mine"}),
                ("PATCH", f"twins/{twin}/state", {"position_x": 1}),
                ("POST", f"twins/{twin}/driver-schema", {"driver_config": {}}),
                ("POST", f"twins/{twin}/driver-token", {}),
                ("GET", f"twins/{twin}/joint_states", None),
                ("PUT", f"twins/{twin}/joints/j/state", {"position": 1}),
                ("GET", f"twins/{twin}/logs", None),
                ("GET", f"twins/{twin}/latest-frame", None),
                ("POST", "alerts", {"name": "a", "twin_uuid": twin}),
            ):
                assert list(await site.ask(method, call, body, status=404)) == ["detail"]
            assert await site.list(f"alerts?twin_uuid={twin}") == []
        for method, call in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/resolve")):
            await site.ask(method, f"alerts/{alert['uuid']}{call}", {}, status=404)
        await site.ask("GET", f"twins/{CAMERA}", token=WORKER)
        await site.ask("GET", f"twins/{FOREIGN}", token=WORKER, status=404)
        await site.ask("GET", f"assets/{CAMERA_ASSET}", status=404)
        await site.ask("GET", f"environments/{FOREIGN}", status=404)
        del site.tokens[DRIVER]
        await site.ask("GET", f"twins/{ARM}", status=401)


async def test_every_route_asks_for_a_token(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        routes = [
            (route.method, route.resource.canonical)
            for route in rest_app(site.sources()).router.routes()
            if route.resource is not None
        ]
        assert len(routes) > 40
        for method, path in routes:
            filled = path.replace("{twin}", ARM).replace("{environment}", ENVIRONMENT)
            status = 404 if path.startswith("/files/") else 401
            await site.raw(method, filled.replace("{", "").replace("}", ""), status=status)


async def test_only_documented_fields_of_a_twin_are_a_drivers(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        body = {
            "name": "new",
            "fixed_base": True,
            "asset_uuid": CAMERA_ASSET,
            "environment_uuid": None,
            "metadata": {
                "edge_fingerprint": "mine",
                "drivers": {"default": {"docker_image": "evil"}},
                "edge_configs": {"edge_fingerprint": "mine", "camera_config": {"width": 3}},
                "sources": {"a": 1},
            },
        }
        twin = await site.ask("PUT", f"twins/{ARM}", body)
        assert (twin["name"], twin["fixed_base"], twin["asset_uuid"]) == ("new", True, ARM_ASSET)
        assert twin["metadata"] == {
            "edge_fingerprint": DEVICE,
            "edge_configs": {"camera_config": {"fps": 10, "width": 3}},
            "sources": {"a": 1},
        }
        twin = await site.ask("PUT", f"twins/{ARM}", {"metadata": {"sources": {"b": 2}}})
        assert twin["metadata"]["sources"] == {"b": 2}  # type: ignore[index]  # replaced key by key, as at Cyberwave's
        policy = {"controller_policy_uuid": CAMERA_ASSET, "kinematics_override": {"a": 1}}
        assert (await site.ask("PUT", f"twins/{ARM}", policy)).items() >= policy.items()
        twin = await site.ask("PUT", f"twins/{ARM}", {"kinematics_override": None, "name": None})
        assert twin["kinematics_override"] is None
        assert (twin["name"], twin["controller_policy_uuid"]) == ("new", CAMERA_ASSET)
        for wrong in ({"name": 1}, {"position_x": "far"}, {"fixed_base": 1}):
            await site.ask("PUT", f"twins/{ARM}", wrong, status=422)
        assert (await site.ask("GET", f"twins/{ARM}"))["name"] == "new"


async def test_a_state_is_changed_unless_another_version_was_expected(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        before = await site.ask("GET", f"twins/{ARM}")
        state = {"position_x": 1, "position_y": 0, "position_z": 0.5, "name": "no"}
        after = await site.ask("PATCH", f"twins/{ARM}/state", state)
        assert [after[f"position_{axis}"] for axis in "xyz"] == [1, 0, 0.5]
        assert after["name"] == "arm"
        stale = {"position_x": 9, "expected_revision": before["updated_at"]}
        await site.ask("PATCH", f"twins/{ARM}/state", stale, status=409)
        fresh = {"position_x": 9, "expected_revision": after["updated_at"]}
        assert (await site.ask("PATCH", f"twins/{ARM}/state", fresh))["position_x"] == 9
        other = {"name": "x", "expected_asset_uuid": CAMERA_ASSET}
        await site.ask("PUT", f"twins/{ARM}", other, status=409)


async def test_a_drivers_schema_is_merged_into_its_twin(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        call = f"twins/{ARM}/driver-schema"
        topic = {"direction": "publish", "description": "a"}
        first = {"registry_id": "x/arm", "mqtt": {"twin": {"a": topic}, "commands": ["stop"]}}
        await site.ask("POST", call, {"driver_config": first})
        second = {
            "mqtt": {"joint": {"update": topic}, "commands": ["go"]},
            "zenoh": {"channels": {}},
        }
        twin = await site.ask("POST", call, {"driver_config": second})
        assert twin.keys() >= {*schemas.TWIN, "uuid"}
        metadata: dict = twin["metadata"]  # type: ignore[assignment,type-arg]
        assert metadata["mqtt"]["topics"].keys() == {
            "cyberwave/twin/{twin_uuid}/a",
            "cyberwave/joint/{twin_uuid}/update",
        }
        assert metadata["mqtt"]["commands"]["supported"] == ["go", "stop"]
        assert metadata["edge_configs"] == {"camera_config": {"fps": 10}}
        again = await site.ask("POST", call, {"driver_config": second})
        assert again["updated_at"] == twin["updated_at"]  # a driver says it at each start
        twin = await site.ask("POST", call, {"driver_config": second, "merge": False})
        assert list(twin["metadata"]["mqtt"]["topics"]) == ["cyberwave/joint/{twin_uuid}/update"]  # type: ignore[index]
        stale = {"driver_config": first, "expected_revision": again["updated_at"]}
        await site.ask("POST", call, stale, status=409)
        await site.ask("POST", call, {"driver_config": 1}, status=422)


async def test_an_alert_is_raised_counted_changed_and_over(short_dir: Path) -> None:
    heard = Heard()
    async with rest_site(short_dir, heard) as site, site.serving():
        asked = {"name": "Hot", "description": "J3", "severity": "error", "twin_uuid": ARM}
        one = await site.ask("POST", "alerts", {**asked, "metadata": {"a": 1}})
        two = await site.ask("POST", "alerts", {**asked, "metadata": {"b": 2}})
        assert two["uuid"] == one["uuid"]
        assert (one["status"], one["dedupe_count"], two["dedupe_count"]) == ("active", 0, 1)
        assert two["metadata"] == {"a": 1, "b": 2}
        assert (one["environment_uuid"], one["workspace_uuid"]) == (ENVIRONMENT, WORKSPACE)
        forced = await site.ask("POST", "alerts", {**asked, "force": True})
        assert forced["uuid"] != one["uuid"]
        put = await site.ask("PUT", f"alerts/{one['uuid']}", {"metadata": {"k": 2}})
        assert put["metadata"] == {"k": 2}
        over = await site.ask("POST", f"alerts/{one['uuid']}/resolve")
        assert over["status"] == "resolved"
        assert over["resolved_at"]
        assert await site.ask("POST", f"alerts/{one['uuid']}/silence") == over
        active = await site.list(
            f"alerts?twin_uuid={ARM}&status=active,acknowledged&severity=error"
        )
        assert [each["uuid"] for each in active] == [forced["uuid"]]
        assert await site.list(f"alerts?environment_uuid={FOREIGN}") == []
        assert len(await site.list(f"alerts?twin_uuid={ARM.upper()}")) == 2
        await eventually(lambda: len(heard.said) == 5, "each change was published")
        assert heard.statuses() == ["active", "active", "active", "active", "resolved"]
        assert heard.said[-1][1] == over


async def test_buttons_states_and_ends_of_alerts(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        buttons = {"buttons": [{"label": "Yes"}, {"label": "No"}]}
        alert = await site.ask("POST", "alerts", {"name": "Ask", "metadata": buttons})
        assert alert["twin_uuid"] == ARM  # that of the caller
        call = f"alerts/{alert['uuid']}"
        pressed = await site.ask("POST", f"{call}/buttons/1")
        assert pressed["metadata"]["button_pressed"]["button_index"] == 1  # type: ignore[index]
        for wrong in ("2", "-1", "x"):
            await site.ask("POST", f"{call}/buttons/{wrong}", status=404)
        assert (await site.ask("POST", f"{call}/acknowledge"))["status"] == "acknowledged"
        assert (await site.ask("POST", "alerts", {"name": "Ask"}))["uuid"] != alert["uuid"]
        again = await site.ask("PUT", call, {"status": "resolved", "description": "done"})
        assert again["resolved_at"]
        assert (await site.ask("PUT", call, {"status": "active"}))["resolved_at"] is None
        await site.ask("DELETE", call, status=204)
        await site.ask("GET", call, status=404)
        for wrong in ({}, {"name": "a", "severity": "awful"}, {"name": "a", "metadata": []}):
            await site.ask("POST", "alerts", wrong, status=422)


async def test_a_twin_has_so_many_alerts_and_no_more(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        uuids = [
            (await site.ask("POST", "alerts", {"name": f"alert {n}"}))["uuid"]
            for n in range(MOST_OPEN)
        ]
        await site.ask("POST", "alerts", {"name": "one more"}, status=429)
        await site.ask("POST", "alerts", {"name": "alert 3"})
        for uuid in uuids:
            await site.alerts.resolve(str(uuid))
        for n in range(3):
            await site.ask("POST", "alerts", {"name": f"later {n}"})
        found = await site.list("alerts?status=resolved&limit=500")
        assert len(found) == MOST_OVER - 1
        assert {one["uuid"] for one in found} <= set(uuids[1:])


async def test_a_drivers_token_is_its_own(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        call = f"twins/{ARM}/driver-token"
        told = await site.ask("POST", call, {"child_twin_uuids": [], "edge_fingerprint": DEVICE})
        assert told["token"] == DRIVER
        for name in (told["uuid"], DRIVER):
            assert (await site.ask("POST", f"{call}/{name}/renew"))["token"] == DRIVER
        await site.ask("POST", f"{call}/{WORKER}/renew", status=404)
        await site.ask("POST", call, {"child_twin_uuids": [CAMERA]}, status=404)


async def test_what_cannot_be_read_is_refused(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        headers = {"Authorization": f"Bearer {DRIVER}"}
        for body in (b"{", b"[]", b'{"name": "\xff"}', b'{"a":' * 100 + b"1" + b"}" * 100):
            await site.raw("PUT", f"/api/v1/twins/{ARM}", body, headers, 422)
        await site.raw("PUT", f"/api/v1/twins/{ARM}", b" " * (MAX_BODY + 1), headers, 413)
        found = await site.raw("GET", "/api/v1/nowhere", headers=headers, status=404)
        assert found == b'{"detail":"Not Found"}'
        await site.raw("DELETE", "/api/v1/alerts", headers=headers, status=405)


async def test_a_twin_that_would_be_too_large_stays_as_it_is(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        for name in ("a", "b"):
            status = 413 if name == "b" else 200
            body = {"metadata": {name: "x" * (600 * 1024)}}
            await site.ask("PUT", f"twins/{ARM}", body, status=status)
        assert "b" not in (await site.ask("GET", f"twins/{ARM}"))["metadata"]  # type: ignore[operator]


async def test_a_request_that_does_not_end_holds_nobody(short_dir: Path) -> None:
    """The limits are those of `kit.reception`, which has its own tests; here they are on."""
    async with rest_site(short_dir) as site:
        limits = RestSocket(site.path, rest_app(site.sources()))
        await limits.start()
        try:
            pairs = [
                await asyncio.open_unix_connection(str(site.path))
                for _ in range(LIMITS.connections + 2)
            ]
            assert b"503" in await pairs[-1][0].read()
            for _, writer in pairs:
                writer.close()
        finally:
            await limits.stop()
        assert not site.path.exists()


async def test_twins_of_another_device_are_gone_from_here(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        await site.put(site.twins.entity, ARM, arm(metadata={"edge_fingerprint": "another"}))
        await site.ask("GET", f"twins/{ARM}", status=404)
        assert await site.list("twins") == []
