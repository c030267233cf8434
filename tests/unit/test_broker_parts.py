"""Tokens of instances and the broker's configuration."""

import stat
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.workload_rig import process_launch

from skerry.gate.tokens import Tokens
from skerry.kit.disk import RealDisk
from skerry.node.broker import children
from skerry.node.broker.children import BROKER, GATE, BrokerWorkloads
from skerry.node.broker.commands import GatePlan
from skerry.node.broker.config import mosquitto_conf
from skerry.node.broker.tokens import TokensFile, digest_of, token_of
from skerry.node.ports import ProcessLaunch
from skerry.node.twin_ports import Grant
from skerry.wire.workload import Assignment

DRIVER = Grant("driver", "cyberwave-driver-1", ("t1", "t2"), "e1", ("w1",), "dev")


@given(st.binary(min_size=1, max_size=64), st.text(max_size=20), st.text(max_size=20))
def test_a_token_is_the_instances_own_and_always_the_same(
    secret: bytes, one: str, other: str
) -> None:
    assert token_of(secret, one) == token_of(secret, one)
    assert (token_of(secret, one) == token_of(secret, other)) == (one == other)
    assert token_of(secret, one) != token_of(secret + b"x", one)
    assert token_of(secret, one).startswith("cw_")
    assert len(token_of(secret, one)) == 46


def test_the_gate_reads_what_the_node_writes(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    file = TokensFile(path, RealDisk())
    token = token_of(b"secret", "instance")
    assert file.write({token: DRIVER})
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    tokens = Tokens()
    assert tokens.load(str(path)) == 1
    holder = tokens.holder("mqttcyb", token.encode())
    assert holder
    assert holder.digest == digest_of(token)
    scope = holder.scope
    assert (scope.role, scope.prefix) == ("driver", "dev")
    assert file.workload_of(scope.number) == "cyberwave-driver-1"
    assert (scope.twins, scope.environments, scope.workflows) == ({"t1", "t2"}, {"e1"}, {"w1"})
    assert scope.workload == "cyberwave-driver-1"
    assert tokens.holder(f"cwh_{digest_of(token)}", token.encode()) == holder
    assert tokens.holder("somebody", token.encode()) is None
    assert tokens.holder(None, token.encode()) is None


def numbers_in(path: Path, *tokens: str) -> list[int]:
    """As the gate reads them."""
    known = Tokens()
    known.load(str(path))
    found = [known.scope_of(digest_of(token)) for token in tokens]
    return [scope.number for scope in found if scope]


def test_a_token_keeps_its_number_over_a_restart_and_its_workload_over_its_end(
    tmp_path: Path,
) -> None:
    path = tmp_path / "tokens"
    file = TokensFile(path, RealDisk())
    assert file.write({"a": DRIVER, "b": DRIVER})
    assert not file.write({"a": DRIVER, "b": DRIVER})
    first, second = numbers_in(path, "a", "b")
    again = TokensFile(path, RealDisk())
    assert not again.write({"a": DRIVER, "b": DRIVER})
    worker = Grant("worker", "cyberwave-worker-1")
    assert again.write({"b": DRIVER, "c": worker})
    assert numbers_in(path, "a") == []
    [same, third] = numbers_in(path, "b", "c")
    assert same == second
    assert again.workload_of(third) == "cyberwave-worker-1"
    assert again.workload_of(first) == again.workload_of(second) == "cyberwave-driver-1"
    assert TokensFile(path, RealDisk()).workload_of(first) is None


def test_each_has_a_number_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    names = [f"token {n}" for n in range(800)]
    TokensFile(path, RealDisk()).write(dict.fromkeys(names, DRIVER))
    numbers = numbers_in(path, *names)
    assert len(set(numbers)) == 800
    assert all(1 <= number <= 65535 for number in numbers)


@pytest.mark.parametrize("text", ['{"x": {"n": 1}}', "digest=x\0number=1", "digest=x\0\0"])
def test_a_file_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(ValueError, match="."):
        numbers_in(path)
    file = TokensFile(path, RealDisk())
    assert file.write({"a": DRIVER})
    assert len(numbers_in(path, "a")) == 1


def test_the_broker_listens_at_one_socket_and_keeps_nothing() -> None:
    lines = mosquitto_conf(Path("/run/x/broker"), "root", 1000, 4000).splitlines()
    assert [line for line in lines if line.startswith("listener")] == ["listener 0 /run/x/broker"]
    assert "user root" in lines
    assert "persistence false" in lines
    assert "retain_available false" in lines
    assert "max_packet_size 1000" in lines
    assert "memory_limit 3000" in lines


@pytest.mark.guarantee("G8")
def test_a_broker_that_runs_goes_on_while_its_program_is_away(tmp_path: Path) -> None:
    program = tmp_path / "mosquitto"
    program.touch(0o755)
    plan = GatePlan(tmp_path / "run", tmp_path / "journal", 1, 2)
    running, gate = BrokerWorkloads(plan, process_launch, program).wanted()
    again = BrokerWorkloads(plan, process_launch, tmp_path / "gone")
    again.take_up(running)
    assert again.problem
    assert again.wanted() == [running, gate]
    found = tmp_path / "elsewhere"
    found.touch(0o755)
    other = BrokerWorkloads(plan, process_launch, found)
    other.take_up(running)
    assert other.wanted() != [running, gate]


def launched(broker: BrokerWorkloads, assignment: Assignment) -> tuple[str, ...]:
    launch = broker.launch_for(assignment, "i")
    assert isinstance(launch, ProcessLaunch)
    return launch.command


@pytest.mark.guarantee("G8")
def test_what_runs_goes_on_over_an_upgrade(tmp_path: Path) -> None:
    plan = GatePlan(tmp_path / "run", tmp_path / "journal", 1, 2)
    workloads = BrokerWorkloads(plan, process_launch, Path("/usr/sbin/mosquitto"))
    release = (str(Path(sys.prefix)), str(Path(children.__file__).parents[3]))
    for assignment in workloads.wanted():
        assert assignment.spec.process
        for word in assignment.spec.process.command:
            assert not word.startswith(release)
    broker, gate = workloads.wanted()
    assert workloads.launch_for(broker, "i") is None
    python, isolated, bare, file, *rest = launched(workloads, gate)
    assert (python, isolated, bare) == ("python", "-I", "-S")
    assert Path(file).is_file()
    assert gate.spec.process
    assert rest == gate.spec.process.command[4:]
    process = gate.spec.process
    words = ["/opt/1.0/bin/python", "-I", "-S", "/opt/1.0/skerry/gate/__main__.py", *rest]
    of_before = msgspec.structs.replace(
        gate,
        spec=msgspec.structs.replace(
            gate.spec, process=msgspec.structs.replace(process, command=words)
        ),
    )
    assert launched(workloads, of_before)[1:] == (isolated, bare, file, *rest)


def test_what_cannot_understand_each_other_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = GatePlan(tmp_path / "run", tmp_path / "journal", 1, 2)
    workloads = BrokerWorkloads(plan, process_launch, Path("/usr/sbin/mosquitto"))

    def anew(before: dict[str, Assignment]) -> list[str]:
        return [name for name, one in by_name().items() if one != before[name]]

    def by_name() -> dict[str, Assignment]:
        return {one.workload: one for one in workloads.wanted()}

    before = by_name()
    assert anew(before) == []
    monkeypatch.setattr(children, "VERSION", children.VERSION + 1)
    assert anew(before) == [GATE]
    before = by_name()
    monkeypatch.setattr(children, "mosquitto_conf", lambda *_: "another")
    assert anew(before) == [BROKER]
