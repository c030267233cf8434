"""What drivers are held to where their params say nothing, and whose word counts where they do."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.driver_rig import ARM, Rig, device, twin

from skerry.node.contracts.cyberwave import SharedMemory
from skerry.node.drivers.limits import DriverLimits, controllers, limits_here
from skerry.node.ports import ContainerLaunch, ProcessLaunch


@pytest.mark.parametrize(
    "own",
    ["--shm-size 1g", "--ipc private", "--ipc host", "-v own:/dev/shm", "-v /dev/shm", "--tmpfs /dev/shm:size=1g", "--mount type=tmpfs,target=/dev/shm/"],
)  # fmt: skip
async def test_a_driver_that_says_what_its_memory_is_has_that_and_no_second_one(
    tmp_path: Path, own: str
) -> None:
    on = replace(device(tmp_path, "example/arm-driver"), shared=SharedMemory(tmp_path / "shared"))
    params = ["-e", "ZENOH_SHARED_MEMORY=true", *own.split()]
    launch = await Rig(tmp_path, twin(ARM, *params), on=on).launch()
    assert isinstance(launch, ContainerLaunch)
    assert str(tmp_path / "shared") not in str(launch.extras.host)


async def test_what_params_do_not_limit_the_device_does(tmp_path: Path) -> None:
    on = replace(device(tmp_path, "driver"), limits=DriverLimits(2 << 30, 100))
    for params, memory, pids in (
        ((), 2 << 30, 100),
        (("-m", "64m"), 64 << 20, 100),
        (("--pids-limit", "7"), 2 << 30, 7),
        (("-m", "64m", "--memory-swap", "64m"), 64 << 20, 100),
    ):
        launch = await Rig(tmp_path, twin(ARM, *params), on=on).launch()
        assert isinstance(launch, ContainerLaunch)
        host = launch.extras.host
        assert (host["Memory"], host["PidsLimit"]) == (memory, pids)
    native = twin(ARM, drivers={"default": {"command": ["driver"]}})
    launch = await Rig(tmp_path, native, on=on).launch()
    assert isinstance(launch, ProcessLaunch)
    assert (launch.resources.memory, launch.resources.pids) == (2 << 30, 100)


def test_limits_are_the_settings_or_a_part_of_the_device_where_the_kernel_can(
    tmp_path: Path,
) -> None:
    (v1 := tmp_path / "v1").write_text(
        "#subsys_name\thierarchy\tnum\tenabled\ncpu\t1\t9\t1\nmemory\t0\t9\t0\n"
    )
    (v2 := tmp_path / "v2").write_text("cpu pids\n")
    here = controllers(v2, v1)
    assert here == {"cpu", "pids"}
    assert limits_here(None, 4096, 8 << 30, here) == DriverLimits(0, 4096)
    both = here | {"memory"}
    assert limits_here(None, 4096, 8 << 30, both) == DriverLimits(4 << 30, 4096)
    assert limits_here(1 << 20, 0, 8 << 30, both) == DriverLimits(1 << 20, 0)
    assert limits_here(0, 9, 8 << 30, both) == DriverLimits(0, 9)
    assert controllers(tmp_path / "no", tmp_path / "no") == frozenset()
