"""Rows of twins with what nobody should have written into them, and edits that the hub would not take."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.twin_bodies import ARM, ARM_ASSET, DEVICE, arm
from tests.twin_site import Device, twin_site

from skerry.core.merging.bodies import Body
from skerry.kit.errors import Refused
from skerry.node.twins.rows import ASSETS
from skerry.testing.waiting import eventually


async def test_what_is_wrong_about_rows_is_told_and_the_others_are_served(tmp_path: Path) -> None:
    """Whoever edits rows may write anything; drivers read the twin all the same."""
    loud = ARM.upper()
    async with twin_site(tmp_path) as (site, device):
        await site.put(loud, arm())
        await site.put(ARM_ASSET, {"name": "Arm", "metadata": "none"}, ASSETS)
        await site.put(ARM, arm(name=7, position_x="1"))
        await site.shows(device, "name", 7)
        assert (device.file()["name"], device.file()["position_x"]) == ("", 0.0)
        told = "\n".join(device.twins.faults)
        assert f"twin «{loud}» is not served" in told
        assert f"twin {ARM}: its fields name, position_x are of a wrong type" in told
        assert f"asset {ARM_ASSET}: its fields metadata are of a wrong type" in told
        await site.put(ARM, arm())
        await site.put(ARM_ASSET, {"name": "Arm"}, ASSETS)
        await site.delete(loud)
        await site.shows(device, "name", "arm")
        await eventually(lambda: _without_faults(device), "nothing is wrong any more")


async def _without_faults(device: Device) -> bool:
    await device.twins.read()
    return not device.twins.faults


async def test_what_the_hub_would_not_take_is_refused_here_and_settings_of_an_older_map_are_taken(
    tmp_path: Path,
) -> None:
    """Else the whole edit would be lost at the hub after its program was told that it is taken."""
    async with twin_site(tmp_path) as (site, device):
        older = {"edge_configs": {DEVICE: {"fps": 1}}}
        await site.put(ARM, arm(name="older", metadata=older))
        await site.shows(device, "name", "older")

        def another(body: Body, _revision: int) -> Body:
            return body | {"metadata": {"edge_configs": {DEVICE: {"fps": 1}, "pier-3": {}}}}

        with pytest.raises(Refused, match="only people say which device serves a twin"):
            await device.twins.revise(ARM, another)
        with pytest.raises(Refused, match=ARM):
            await device.twins.edit(ARM, {"metadata": {"edge_configs": {"pier-3": {}}}})
        device.drive(name="newer", metadata={"edge_configs": {"camera_config": {"fps": 3}}})
        await device.look()
        await site.synced()
        found = await site.at_hub()
        assert found["name"] == "newer"
        assert found["metadata"]["edge_configs"] == {  # type: ignore[index]
            DEVICE: {"fps": 1},
            "camera_config": {"fps": 3},
        }
