"""What a native workload is started with."""

from pathlib import Path

import msgspec
import pytest
from tests.model_cases import model
from tests.workload_cases import wish

from skerry.kit.errors import Transient
from skerry.node.contracts.native import PATH, RUNNER_MEMORY, NativeContract
from skerry.node.models.layout import view_of
from skerry.node.ports import ContainerLaunch, ProcessLaunch, WasmLaunch
from skerry.node.workloads.runtimes.containers.creation import Findings, creation
from skerry.testing.no_secrets import no_secrets, no_secrets_at
from skerry.wire.codec import decode
from skerry.wire.wasm import WasmOrder
from skerry.wire.workload import (
    Assignment,
    ContainerSpec,
    Generation,
    Logs,
    ProcessSpec,
    Resources,
    WasmSpec,
    WorkerSpec,
    WorkloadSpec,
)


@pytest.fixture
def contract(tmp_path: Path) -> NativeContract:
    return NativeContract(
        tmp_path / "data", tmp_path / "run", "rock", "/venv/bin/python", no_secrets(), no_secrets_at
    )


def test_the_environment_is_exactly_this(
    contract: NativeContract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTS_SECRET", "x")
    monkeypatch.setenv("PYTHONPATH", "/agent")
    launch = contract.launch_for(wish("cam", env={"INTERVAL": "1s"}), "i1")
    assert launch.environment == {
        "HOME": str(contract.data_dir / "workloads/cam"),
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "INTERVAL": "1s",
        "SKERRY_SOCKET": str(contract.run_dir / "w/cam/sock"),
        "SKERRY_WORKLOAD": "cam",
        "SKERRY_NODE": "rock",
        "SKERRY_INSTANCE": "i1",
    }


def test_env_of_the_spec_never_replaces_the_identity(contract: NativeContract) -> None:
    env = {"PATH": "/opt/bin", "SKERRY_SOCKET": "/other.sock", "SKERRY_WORKLOAD": "other"}
    environment = contract.launch_for(wish("cam", env=env), "i1").environment
    assert environment["PATH"] == "/opt/bin"
    assert environment["SKERRY_WORKLOAD"] == "cam"
    assert environment["SKERRY_SOCKET"].endswith("/w/cam/sock")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["python", "-m", "x"], ("/venv/bin/python", "-m", "x")),
        (["sh", "-c", "python"], ("sh", "-c", "python")),
        (["python3"], ("python3",)),
        (["/usr/bin/python"], ("/usr/bin/python",)),
    ],
)
def test_python_as_first_word_is_the_nodes_own(
    contract: NativeContract, words: list[str], expected: tuple[str, ...]
) -> None:
    launch = contract.launch_for(wish("cam", process=ProcessSpec(command=words)), "i1")
    assert launch.command == expected


def test_a_workload_has_its_own_directories(contract: NativeContract) -> None:
    launch = contract.launch_for(wish("cam", logs=Logs(max_size=5000, files=2)), "i1")
    assert launch.directory == contract.data_dir / "workloads/cam"
    assert launch.directory.is_dir()
    assert launch.directory.stat().st_mode & 0o777 == 0o700
    assert launch.log.parent.is_dir()
    assert (launch.log_rules.size, launch.log_rules.files) == (5000, 2)
    other = contract.launch_for(wish("dog"), "i2")
    assert other.log != launch.log


def test_a_named_working_directory_leaves_home_alone(contract: NativeContract) -> None:
    spec = ProcessSpec(command=["x"], directory="/srv")
    launch = contract.launch_for(wish("cam", process=spec), "i1")
    assert launch.directory == Path("/srv")
    assert launch.environment["HOME"].endswith("workloads/cam")


def test_limits_are_set_only_where_the_spec_has_them(contract: NativeContract) -> None:
    assert contract.launch_for(wish("a"), "i").limits == {}
    resources = Resources(memory=64_000_000, open_files=256, cpu=0.5, storage=5_000_000)
    launch = contract.launch_for(wish("a", resources=resources), "i")
    assert isinstance(launch, ProcessLaunch)
    assert launch.limits == {"RLIMIT_NOFILE": 256, "RLIMIT_FSIZE": 5_000_000}
    assert launch.resources == resources


def test_a_directory_that_cannot_be_made_is_tried_again_later(contract: NativeContract) -> None:
    contract.data_dir.mkdir()
    (contract.data_dir / "workloads").write_text("in the way")
    with pytest.raises(Transient, match=r"cannot make directory .*workloads/cam"):
        contract.launch_for(wish("cam"), "i1")


def test_models_are_named_by_the_files_they_have(contract: NativeContract) -> None:
    named = msgspec.structs.replace(wish("cam"), models=[model()])
    launch = contract.launch_for(named, "i1")
    assert launch.models == view_of(contract.data_dir / "models", [model()])
    assert launch.environment["SKERRY_MODELS"] == str(launch.models)
    spec = WorkloadSpec(name="box", runtime="container", container=ContainerSpec(image="x"))
    boxed = contract.launch_for(Assignment("box", Generation(1, 1), spec, models=[model()]), "i2")
    assert isinstance(boxed, ContainerLaunch)
    assert boxed.environment["SKERRY_MODELS"] == "/run/skerry-models"
    host = creation("owner", boxed, Findings())["HostConfig"]
    assert isinstance(host, dict)
    assert f"{boxed.models}:/run/skerry-models:ro" in host["Binds"]


def test_a_module_gets_a_runner_that_heeds_nothing_of_its_environment(
    contract: NativeContract,
) -> None:
    module = WasmSpec(module="m.wasm", directories=["/srv/data:/data:ro"])
    env = {"PYTHONPATH": "/evil", "HOME": "/x"}
    resources = Resources(memory=16_000_000)
    assignment = wish(
        "cam", process=None, wasm=module, runtime="wasm", env=env, resources=resources
    )
    launch = contract.launch_for(assignment, "i1")
    assert isinstance(launch, WasmLaunch)
    assert launch.command[:4] == ("/venv/bin/python", "-I", "-m", "skerry.runners.wasm")
    own = contract.data_dir / "workloads/cam"
    order = decode(launch.command[4].encode(), WasmOrder, "order")
    assert order == WasmOrder(module, str(own / "m.wasm"), str(launch.given[0]), 16_000_000)
    assert "PYTHONPATH" not in launch.environment
    assert launch.environment["HOME"] == str(own)
    assert launch.environment["SKERRY_ENV_PYTHONPATH"] == "/evil"
    assert (launch.module, launch.directories) == (own / "m.wasm", (Path("/srv/data"),))
    assert launch.given[0].stat().st_mode & 0o777 == 0o700
    assert launch.resources.memory == 16_000_000 + RUNNER_MEMORY
    assert launch.allow.read == ["/srv/data"]


def test_scripts_without_a_program_get_the_nodes_own(contract: NativeContract) -> None:
    group = wish("cam", process=None, worker=WorkerSpec("/srv/w", pattern="w*.py"))
    launch = contract.launch_for(group, "i1")
    runner = ("/venv/bin/python", "-P", "-m", "skerry.runners.worker")
    assert launch.command == (*runner, "/srv/w", "w*.py")
    assert launch.environment["SKERRY_SCRIPTS"] == "/srv/w"
    assert launch.shown == (Path("/srv/w"),)


def test_scripts_are_given_to_a_program_and_mounted_read_only_in_a_container(
    contract: NativeContract,
) -> None:
    worker = WorkerSpec("/srv/w")
    own = contract.launch_for(wish("cam", worker=worker, command="prog"), "i1")
    assert (own.command, own.environment["SKERRY_SCRIPTS"]) == (("prog",), "/srv/w")
    inside = ContainerSpec(image="x", volumes=["/data:/data"])
    box = contract.launch_for(
        wish("cam", process=None, container=inside, runtime="container", worker=worker), "i1"
    )
    assert isinstance(box, ContainerLaunch)
    assert box.spec.volumes == ["/data:/data", "/srv/w:/app/workers:ro"]
    assert box.environment["SKERRY_SCRIPTS"] == "/app/workers"
