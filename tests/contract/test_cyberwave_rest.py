"""What drivers, workers and their SDK ask a node by REST."""

from pathlib import Path

import pytest
from tests.rest_rig import DRIVER, WORKER, Heard, rest_site
from tests.twin_bodies import ARM, CAMERA, ENVIRONMENT, FOREIGN

from skerry.core.cyberwave import schemas
from skerry.testing.waiting import eventually


async def test_a_twin_has_all_that_the_sdk_requires(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        twin = await site.ask("GET", f"twins/{ARM}?workspace_uuid=whatever")
        assert twin.keys() >= {*schemas.TWIN, "uuid"}
        assert (twin["uuid"], twin["name"], twin["position_x"]) == (ARM, "arm", 1.0)
        assert [each["uuid"] for each in await site.list("twins")] == [ARM]
        both = await site.list(f"environments/{ENVIRONMENT}/twins", WORKER)
        assert [each["uuid"] for each in both] == [ARM, CAMERA]


@pytest.mark.guarantee("G9")
async def test_a_token_is_the_whole_of_a_callers_rights(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        for token in ("", "cw_unknown"):
            answer = await site.ask("GET", f"twins/{ARM}", token=token, status=401)
            assert list(answer) == ["detail"]
        for twin in (CAMERA, FOREIGN, "nonsense"):
            await site.ask("GET", f"twins/{twin}", status=404)
            await site.ask("PUT", f"twins/{twin}", {"name": "mine"}, status=404)
            await site.ask("POST", "alerts", {"name": "a", "twin_uuid": twin}, status=404)
            await site.ask("POST", f"twins/{twin}/driver-schema", {"driver_config": {}}, status=404)
        await site.ask("GET", f"twins/{CAMERA}", token=WORKER)
        await site.ask("GET", f"twins/{FOREIGN}", token=WORKER, status=404)
        del site.tokens[DRIVER]
        await site.ask("GET", f"twins/{ARM}", status=401)


async def test_a_drivers_schema_is_merged_into_its_twin(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        first = {"registry_id": "x/arm", "mqtt": {"topics": {"a": {"n": 1}}}}
        await site.ask("POST", f"twins/{ARM}/driver-schema", {"driver_config": first})
        second = {"mqtt": {"topics": {"b": {}}}, "zenoh": {"channels": {}}}
        twin = await site.ask("POST", f"twins/{ARM}/driver-schema", {"driver_config": second})
        assert twin.keys() >= {*schemas.TWIN, "uuid"}
        metadata = twin["metadata"]
        assert metadata["mqtt"] == {"topics": {"a": {"n": 1}, "b": {}}}
        assert metadata["edge_configs"] == {"camera_config": {"fps": 10}}
        again = await site.ask("POST", f"twins/{ARM}/driver-schema", {"driver_config": second})
        assert again["updated_at"] == twin["updated_at"]
        other = {"driver_config": {"mqtt": {"topics": {"c": {}}}}, "merge": False}
        twin = await site.ask("POST", f"twins/{ARM}/driver-schema", other)
        assert twin["metadata"]["mqtt"] == {"topics": {"c": {}}}
        stale = {**other, "expected_revision": again["updated_at"]}
        await site.ask("POST", f"twins/{ARM}/driver-schema", stale, status=409)


async def test_an_alert_is_raised_counted_changed_and_over(short_dir: Path) -> None:
    heard = Heard()
    async with rest_site(short_dir, heard) as site, site.serving():
        asked = {"name": "Hot", "description": "J3", "severity": "error", "twin_uuid": ARM}
        one = await site.ask("POST", "alerts", {**asked, "metadata": {"a": 1}})
        two = await site.ask("POST", "alerts", {**asked, "metadata": {"b": 2}})
        assert two["uuid"] == one["uuid"]
        assert (one["status"], one["dedupe_count"], two["dedupe_count"]) == ("active", 0, 1)
        assert two["metadata"] == {"a": 1, "b": 2}
        forced = await site.ask("POST", "alerts", {**asked, "force": True})
        assert forced["uuid"] != one["uuid"]
        put = await site.ask("PUT", f"alerts/{one['uuid']}", {"metadata": {"k": 2}})
        assert put["metadata"] == {"k": 2}
        over = await site.ask("POST", f"alerts/{one['uuid']}/resolve")
        assert over["status"] == "resolved"
        assert over["resolved_at"]
        active = await site.list(
            f"alerts?twin_uuid={ARM}&status=active,acknowledged&severity=error"
        )
        assert [each["uuid"] for each in active] == [forced["uuid"]]
        await eventually(lambda: len(heard.said) == 5, "each change was published")
        assert heard.statuses() == ["active", "active", "active", "active", "resolved"]
