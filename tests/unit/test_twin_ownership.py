"""What a device may change of its own twins."""

from __future__ import annotations

import pytest

from skerry.core.cyberwave.ownership import Body, twin_fault

DEVICE = "boat-7-0123456789ab"
OTHER = "8b1f0c1e-0000-4000-8000-000000000003"
HELD: Body = {"name": "arm", "metadata": {"edge_fingerprint": DEVICE}}


def test_a_device_changes_its_twins() -> None:
    assert twin_fault(HELD, {**HELD, "name": "leg", "attach_to_link": "wrist"}, DEVICE) == ""


@pytest.mark.parametrize("field", ["asset_uuid", "attach_to_twin_uuid"])
def test_only_people_say_what_a_twin_is_and_what_it_is_attached_to(field: str) -> None:
    assert f"only people change {field} " in twin_fault(HELD, {**HELD, field: OTHER}, DEVICE)


@pytest.mark.parametrize("field", ["drivers", "attach_to_twin_uuid"])
def test_nor_does_it_in_the_metadata(field: str) -> None:
    becomes = {**HELD, "metadata": {"edge_fingerprint": DEVICE, field: OTHER}}
    assert f"only people change metadata.{field} " in twin_fault(HELD, becomes, DEVICE)


def test_where_the_link_is_the_older_map_settings_are_no_devices() -> None:
    held: Body = {"metadata": {"edge_configs": {DEVICE: {"fps": 1}}}}
    configs = {DEVICE: {"fps": 2}, "camera_config": {"fps": 3}, "cameras": []}
    assert twin_fault(held, {"metadata": {"edge_configs": configs}}, DEVICE) == ""
    configs |= {"pier-3-0123456789ab": {}}
    becomes = {"metadata": {"edge_configs": configs}}
    assert "which device serves" in twin_fault(held, becomes, DEVICE)
