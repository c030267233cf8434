"""Which drivers are wanted, and when what runs is replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.driver_rig import (
    ARM,
    OTHER,
    TWIN_OF_ARM,
    Rig,
    camera,
    device,
    driver,
    twin,
    with_config,
)

from skerry.node.twin_ports import FORGOTTEN
from skerry.node.workloads.changes import in_force, needs_restart
from skerry.wire.codec import decode, encode
from skerry.wire.workload import Assignment

NAME = f"cyberwave-driver-{ARM[:8]}"


async def test_what_runs_is_replaced_by_what_it_is_made_of_and_by_nothing_else(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path, twin(ARM, "--group-add", "dialout"))
    (held,) = (await rig.look()).values()
    again = Rig(tmp_path, twin(ARM, "--group-add", "dialout"))
    assert (await again.look())[NAME] == held
    renamed = replace(
        twin(ARM, "--group-add", "dialout"), asset={"registry_id": "example/arm", "name": "Arm"}
    )
    changes = [
        Rig(tmp_path, twin(ARM, "--group-add", "video")),
        Rig(tmp_path, twin(ARM, "--group-add", "dialout"), camera()),
        Rig(tmp_path, twin(ARM, "--group-add", "dialout"), on=device(tmp_path, CYBERWAVE_X="1")),
    ]
    for rig_ in changes:
        wish = (await rig_.look())[NAME]
        assert needs_restart(held, wish)
        assert not in_force(held, wish)
    assert in_force(held, (await Rig(tmp_path, renamed).look())[NAME])


async def test_a_driver_that_cannot_be_made_is_its_twins_trouble_alone(tmp_path: Path) -> None:
    rig = Rig(tmp_path, twin(), twin(OTHER))
    rig.unreadable = {ARM}
    assert list(await rig.look()) == [f"cyberwave-driver-{OTHER[:8]}"]
    (told,) = rig.workloads.troubles
    assert (told.twin, told.kind) == (ARM, "driver_start_failure")
    assert rig.workloads.planned == {OTHER}


async def test_a_driver_keeps_its_name_when_another_twin_comes_whose_first_digits_are_equal(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path, twin())
    before = await rig.look()
    rig.served = [twin(), twin(TWIN_OF_ARM)]
    after = await rig.look()
    assert after.items() > before.items()
    again = Rig(tmp_path, twin(), twin(TWIN_OF_ARM))
    again.started = after
    assert await again.look() == after
    again.served = [twin(TWIN_OF_ARM)]
    assert (await again.look()).keys() == after.keys() - before.keys()


async def test_what_the_store_gives_back_is_the_same_to_the_letter(tmp_path: Path) -> None:
    """Marks of drivers go by a digest of it."""
    native = twin(OTHER, drivers={"default": {"command": ["arm"]}})
    rig = Rig(tmp_path, twin(ARM, "--gpus", "1", "-m", "1g"), native, on=device(tmp_path, "arm"))
    for assignment in (await rig.look()).values():
        assert encode(decode(encode(assignment), Assignment, "assignment")) == encode(assignment)


async def test_what_cannot_be_decided_ends_nothing_and_starts_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path, twin(ARM, "--network", "robots"))
    rig.gateways["robots"] = "172.20.0.1"
    before = await rig.look()
    again = Rig(tmp_path, twin(ARM, "--network", "robots"), twin(OTHER, "--network", "robots"))
    again.engine = False
    again.started = before
    assert await again.look() == before
    assert not again.workloads.knows_networks
    assert again.workloads.hosts() == {"172.20.0.1"}
    again.engine, again.gateways = True, {"robots": "172.20.0.1"}
    found = await again.look()
    assert found[NAME] == before[NAME]
    assert len(found) == 2
    assert again.workloads.knows_networks
    again.barred = "no credentials"
    assert await again.look() == before


@pytest.mark.guarantee("G8")
async def test_a_camera_whose_address_cannot_be_read_goes_on_as_it_was_started(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path, twin(), twin(OTHER))
    rig.device = with_config(rig.device, video_devices={ARM: "rtsp://a:b@cam.lan/1"})
    before = await rig.look()
    again = Rig(tmp_path, twin(), twin(OTHER))
    again.device = with_config(again.device, video_devices={ARM: FORGOTTEN})
    assert (await again.look()).keys() == before.keys() - {NAME}
    again.started = before
    assert await again.look() == before
    [trouble] = again.workloads.troubles
    assert (trouble.twin, trouble.kind) == (ARM, "driver_health")
    again.device = rig.device
    assert await again.look() == before
    assert again.workloads.troubles == []


async def test_a_driver_waits_until_the_gate_listens_where_it_is_sent_to(tmp_path: Path) -> None:
    rig = Rig(tmp_path, twin(), twin(OTHER, "--network", "robots"))
    rig.gateways["robots"] = "172.20.0.1"
    rig.unreached["172.20.0.1"] = "somebody else listens there"
    waits = {name: wish.local.waits for name, wish in (await rig.look()).items()}
    assert waits == {NAME: "", f"cyberwave-driver-{OTHER[:8]}": "somebody else listens there"}


async def test_the_gate_listens_at_no_address_that_a_twin_names(tmp_path: Path) -> None:
    params = ("-e", "CYBERWAVE_MQTT_HOST=192.168.1.5")
    rig = Rig(tmp_path, twin(ARM, *params), twin(OTHER, "--network", "robots"))
    rig.gateways["robots"] = "172.20.0.1"
    before = await rig.look()
    again = Rig(tmp_path, twin(ARM, *params), twin(OTHER, "--network", "robots", *params))
    again.engine, again.started = False, before
    await again.look()
    assert not again.workloads.knows_networks
    assert again.reached == [["172.20.0.1"]]


async def test_a_network_that_is_made_anew_has_its_new_address(tmp_path: Path) -> None:
    rig = Rig(tmp_path, twin(ARM, "--network", "robots"))
    rig.gateways["robots"] = "172.20.0.1"
    before = await rig.look()
    rig.engine = False
    assert await rig.look() == before
    rig.engine, rig.gateways = True, {}
    assert await rig.look() == {}
    assert [trouble.text for trouble in rig.workloads.troubles] == ["params: no network robots"]
    rig.gateways["robots"] = "172.21.0.1"
    assert (await rig.launch()).environment["CYBERWAVE_MQTT_HOST"] == "172.21.0.1"
    assert rig.reached[-1] == ["172.21.0.1"]


async def test_a_newer_image_is_looked_for_at_starts_on_purpose_only(tmp_path: Path) -> None:
    rig = Rig(tmp_path, twin())
    before = await rig.look()
    assert await rig.refreshes(NAME) == 1
    again = Rig(tmp_path, twin())
    again.started = before  # it goes on over the agent's start
    assert await again.refreshes(NAME) == 0
    await again.workloads.hold("everything is restarted")
    await again.workloads.hold("")
    assert await again.refreshes(NAME) == 1
    await again.workloads.hold("")
    assert await again.refreshes(NAME) == 1
    other = Rig(tmp_path, twin(drivers={"default": driver("example/arm-driver:2")}))
    other.started = before
    assert await other.refreshes(NAME) == 1


async def test_one_driver_that_a_person_starts_looks_for_a_newer_image(tmp_path: Path) -> None:
    rig = Rig(tmp_path, twin(), twin(OTHER))
    other = f"cyberwave-driver-{OTHER[:8]}"
    await rig.look()
    rig.workloads.refresh(ARM)
    assert (await rig.refreshes(NAME), await rig.refreshes(other)) == (2, 1)
    rig.workloads.refresh("nobody's")
    assert (await rig.refreshes(NAME), await rig.refreshes(other)) == (2, 1)


async def test_a_start_waits_and_what_all_drivers_lack_is_told_of_each(tmp_path: Path) -> None:
    rig = Rig(tmp_path, twin(), twin(OTHER, drivers={}))
    rig.waits, rig.problem = "waits for «cyberwave-zenoh» to run", "there is no router"
    assert (await rig.look())[NAME].local.waits == rig.waits
    told = {(one.twin, one.kind): one.text for one in rig.workloads.troubles}
    assert told[ARM, "driver_health"] == "there is no router"
    assert (OTHER, "driver_health") not in told


async def test_a_driver_that_is_held_is_down_and_its_status_says_why(tmp_path: Path) -> None:
    rig = Rig(tmp_path, twin())
    rig.held[NAME] = "it keeps failing"
    local = (await rig.look())[NAME].local
    assert (local.stopped, local.held) == (True, "it keeps failing")


async def test_a_change_is_told_and_none_is_not(tmp_path: Path) -> None:
    rig = Rig(tmp_path, twin())
    await rig.look()
    await rig.look()
    assert rig.workloads.told.count == 1
    rig.device = with_config(rig.device, variables={"CYBERWAVE_X": "1"})
    await rig.look()
    assert rig.workloads.told.count == 2
