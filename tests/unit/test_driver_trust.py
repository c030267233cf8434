"""What only drivers have that the device trusts, and by which name it trusts them."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.driver_rig import ARM, HERE, IMAGE, OTHER, device, driver, only, trouble, twin

from skerry.core.cyberwave.run_options import parsed
from skerry.node.drivers.device import Served
from skerry.node.drivers.limits import DriverLimits


def of_asset(entry: dict[str, object]) -> Served:
    """A twin whose asset has the driver."""
    metadata = {"drivers": {"default": entry}}
    return replace(twin(x=1), asset={"registry_id": "example/arm", "metadata": metadata})


def test_what_leads_out_of_the_container_is_for_drivers_that_are_trusted(tmp_path: Path) -> None:
    (tmp_path / "env").touch()
    params = ["--privileged", "-v", "/srv/nowhere/store:/data/x", "--env-file", f"{tmp_path}/env"]
    told = trouble(twin(ARM, *params))
    assert told.startswith(f"driver_start_failure: {IMAGE} asks for --privileged, --mount /srv/")
    assert f"--env-file {tmp_path}/env" in told
    assert "«cyberwave.privileged»" in told
    for name in (IMAGE, IMAGE.partition(":")[0]):
        assert only(twin(ARM, *params), on=device(HERE, name)).twin == ARM
    assert "asks for" in trouble(twin(ARM, *params), on=device(HERE, "example"))


def test_what_a_model_is_called_says_nothing_of_the_drivers_that_its_twins_name() -> None:
    on = device(HERE, "example/arm")
    entry = driver(IMAGE, "--privileged")
    assert only(of_asset(entry), on=on).options.privileged
    assert "asks for --privileged" in trouble(twin(ARM, "--privileged"), on=on)
    native: dict[str, object] = {"command": ["/usr/bin/arm"]}
    assert only(of_asset(native), on=on).driver.command
    assert "asks for command" in trouble(twin(drivers={"default": native}), on=on)


def test_an_image_is_trusted_for_the_program_that_it_starts_by_itself() -> None:
    entry = driver(IMAGE, "--privileged", "--entrypoint", "/bin/sh")
    on = device(HERE, IMAGE)
    assert "--entrypoint: with that another program" in trouble(
        twin(drivers={"default": entry}), on=on
    )
    assert "add «example/arm»" in trouble(of_asset(entry), on=on)
    assert only(of_asset(entry), on=device(HERE, "example/arm")).options.privileged
    assert only(twin(ARM, "--entrypoint", "/bin/sh")).twin == ARM


OTHERS = [
    ("--workdir", "/data"),
    ("-v", "tools:/usr/local/bin"),
    ("-v", "tools:/data/../app:ro"),
    ("--mount", "src=tools,dst=/app"),
    *(("-e", f"{name}=x") for name in ("LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONINSPECT", "NODE_OPTIONS", "BASH_ENV", "HOME", "PATH")),
    *(("-e", f"{name}=x") for name in ("JAVA_TOOL_OPTIONS", "PERL5OPT", "GST_PLUGIN_PATH", "AMENT_PREFIX_PATH", "DOTNET_STARTUP_HOOKS", "CUDA_INJECTION64_PATH",
                                       "ALSA_CONFIG_PATH", "VK_ADD_LAYER_PATH", "XDG_CONFIG_HOME", "PIP_INDEX_URL", "ANY_OTHER",
                                       "ZENOH_CONFIG", "CYBERWAVE_WORKERS_DIR")),
    *(("-v", f"tools:{place}") for place in ("/opt/arm", "/srv/app", "/var/lib/arm", "/run/arm", "/tmp/arm", "/database", "/dev/shm", "/etc/localtime")),  # noqa: S108 - in the container
    ("--tmpfs", "/app/plugins"),
    ("--mount", "type=tmpfs,dst=/etc"),
    ("--device", "/dev/video0:/app/settings"),
]  # fmt: skip


@pytest.mark.parametrize("other", OTHERS)
def test_a_trusted_image_is_given_nothing_by_which_another_program_may_run_in_it(
    other: tuple[str, str], tmp_path: Path
) -> None:
    on = device(HERE, IMAGE)
    assert "another program" in trouble(twin(ARM, "--privileged", *other), on=on)
    asset = of_asset(driver(IMAGE, "--privileged", *other))
    assert only(asset, on=device(HERE, "example/arm")).options.privileged
    assert only(twin(ARM, *other), on=on).twin == ARM
    if other[0] == "-e":
        file = tmp_path / "config" / "env"
        file.parent.mkdir()
        file.write_text(other[1])
        words = trouble(
            twin(ARM, "--privileged", "--env-file", str(file)), on=device(tmp_path, IMAGE)
        )
        assert "it might run something else" in words


def test_a_trusted_image_has_its_data_and_its_usual_variables() -> None:
    params = ["--privileged", "-v", "maps:/data", "-v", "/dev:/dev", "-v", "/var/lib/arm", "-e", "PYTHONUNBUFFERED=1", "-e", "CYBERWAVE_PORT=/dev/x", "-e", "ROS_DOMAIN_ID=3",
              "-e", "LC_ALL=C", "-v", "/etc/localtime:/etc/localtime:ro", "--tmpfs", "/tmp", "--device", "/dev/video0:/dev/video9"]  # fmt: skip  # noqa: S108 - in the container
    assert only(twin(ARM, *params), on=device(HERE, IMAGE)).options.privileged


@pytest.mark.parametrize(
    "params",
    [
        ["--privileged=false"],
        ["--device", "/dev/ttyUSB0:/dev/arm:rw"],
        ["--group-add", "dialout", "-v", "/etc/localtime:/etc/localtime:ro"],
        ["--device-cgroup-rule", "c 81:* rmw", "--cap-add", "IPC_LOCK"],
        ["-v", "data:/data", "-p", "8080:80", "--ipc", "private"],
    ],
)
def test_its_own_hardware_any_driver_has(params: list[str]) -> None:
    assert only(twin(ARM, *params)).twin == ARM


def test_a_driver_has_volumes_of_its_twins_own_unless_it_is_trusted() -> None:
    params = ["-v", "portainer_data:/data:ro", "-v", "/scratch", "-v", "/etc/localtime:/etc/localtime:ro",
              "--mount", "src=maps,dst=/maps", "--mount", "type=tmpfs,dst=/x"]  # fmt: skip
    host = only(twin(ARM, *params)).options.host
    assert host["Binds"] == [f"cyberwave-{ARM}-portainer_data:/data:ro", *params[3:6:2]]
    assert [one["Source"] for one in host["Mounts"]] == [f"cyberwave-{ARM}-maps", ""]
    other = only(twin(OTHER, *params)).options.host
    assert other["Binds"][0].startswith(f"cyberwave-{OTHER}-")
    shared = only(twin(ARM, "-v", "maps:/data"), on=device(HERE, IMAGE)).options.host
    assert shared["Binds"] == ["maps:/data"]
    asset = of_asset(driver(IMAGE, *params))
    assert only(asset, on=device(HERE, "example/arm")).options == parsed(params)


def test_volumes_of_others_are_for_a_trusted_image_as_it_starts_by_itself(tmp_path: Path) -> None:
    on = device(tmp_path, IMAGE)
    on.directory.mkdir()
    (on.directory / "env").write_text("LD_PRELOAD=/data/x")
    params = ["-v", "maps:/data", "--env-file", f"{on.directory}/env"]
    assert "is given no LD_PRELOAD" in trouble(twin(ARM, *params), on=on)
    host = only(twin(ARM, *params, "-w", "/x"), on=on).options.host
    assert host["Binds"] == [f"cyberwave-{ARM}-maps:/data"]


@pytest.mark.parametrize("memory", ["0", "900g"])
def test_the_devices_limit_of_memory_is_one(memory: str) -> None:
    limited = {"limits": DriverLimits(memory=1 << 30)}
    told = trouble(twin(ARM, "--memory", memory), on=replace(device(HERE), **limited))
    assert "asks for --memory" in told
    assert only(twin(ARM, "--memory", memory), on=replace(device(HERE, IMAGE), **limited))
    assert only(twin(ARM, "--memory", "1g"), on=replace(device(HERE), **limited))


def test_a_native_driver_is_run_only_if_it_is_trusted_and_takes_only_variables() -> None:
    native = {"default": {"command": ["/usr/bin/arm", "-v"], "params": ["-e", "TZ=UTC"]}}
    assert "asks for command" in trouble(twin(drivers=native))
    for other in ("/usr/bin/arm", "/usr/bin/arm -v -v", "-v"):
        assert "add «/usr/bin/arm -v»" in trouble(twin(drivers=native), on=device(HERE, other))
    plan = only(twin(drivers=native), on=device(HERE, "/usr/bin/arm -v"))
    assert (plan.driver.command, plan.variables) == (("/usr/bin/arm", "-v"), {"TZ": "UTC"})
    wrong = {"default": {"command": ["/usr/bin/arm"], "params": ["--network", "two"]}}
    assert "takes only -e" in trouble(twin(drivers=wrong), on=device(HERE, "/usr/bin/arm"))


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD",
        "PYTHONPATH",
        "BASH_ENV",
        "ENV",
        "PATH",
        "IFS",
        "XDG_CONFIG_HOME",
        "CYBERWAVE_WORKERS_DIR",
        "MALLOC_TRACE",
        "NEXT_FRAMEWORKS_PLUGINS",
    ],
)
def test_a_trusted_command_is_given_nothing_that_makes_another_of_it(name: str) -> None:
    native = {"default": {"command": ["arm"], "params": ["-e", f"{name}=x"]}}
    assert f"is given no {name}" in trouble(twin(drivers=native), on=device(HERE, "arm"))


def test_which_other_variables_do_no_harm_the_device_says() -> None:
    params = ["-e", "ARM_SERIAL=7", "-e", "CYBERWAVE_ARM=x", "-e", "SPEED=2"]
    native = twin(drivers={"default": {"command": ["arm"], "params": params}})
    on = device(HERE, "arm", IMAGE)
    assert "is given no ARM_SERIAL, SPEED: " in trouble(native, on=on)
    assert "is given no SPEED: " in trouble(native, on=replace(on, variables=["ARM_*"]))
    allowed = replace(on, variables=["ARM_*", "SPEED"])
    assert only(native, on=allowed).variables["SPEED"] == "2"
    image = twin(ARM, "--privileged", *params)
    assert "«cyberwave.driver_variables»" in trouble(image, on=on)
    assert only(image, on=allowed).options.privileged
    assert "SPEEDY" in trouble(twin(ARM, "--privileged", "-e", "SPEEDY=1"), on=allowed)
