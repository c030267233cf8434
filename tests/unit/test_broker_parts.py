"""Tokens of instances and the broker's configuration."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.gate.tokens import Tokens
from skerry.kit.disk import RealDisk
from skerry.node.broker.children import BrokerWorkloads
from skerry.node.broker.commands import GatePlan
from skerry.node.broker.config import mosquitto_conf
from skerry.node.broker.tokens import TokensFile, digest_of, token_of
from skerry.node.twin_ports import Grant

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
    lines = mosquitto_conf(Path("/run/x/broker"), "root", 1000).splitlines()
    assert [line for line in lines if line.startswith("listener")] == ["listener 0 /run/x/broker"]
    assert "user root" in lines
    assert "persistence false" in lines
    assert "retain_available false" in lines
    assert "max_packet_size 1000" in lines


@pytest.mark.guarantee("G8")
def test_a_broker_that_runs_goes_on_while_its_program_is_away(tmp_path: Path) -> None:
    program = tmp_path / "mosquitto"
    program.touch(0o755)
    plan = GatePlan(tmp_path / "run", tmp_path / "journal", 1, 2)
    running, gate = BrokerWorkloads(plan, program).wanted()
    again = BrokerWorkloads(plan, tmp_path / "gone")
    again.take_up(running)
    assert again.problem
    assert again.wanted() == [running, gate]
    found = tmp_path / "elsewhere"
    found.touch(0o755)
    other = BrokerWorkloads(plan, found)
    other.take_up(running)
    assert other.wanted() != [running, gate]
