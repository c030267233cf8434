"""The gate where the system is short of something: whoever comes is refused, whoever is there goes on."""

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gate_rig import OWN, PATIENCE, Agent, GateRig, Raw, until

from skerry.gate import packets

pytestmark = pytest.mark.timeout(120)
POSITION = f"cyberwave/twin/{OWN}/position"
WATCHABLE = 15
"""The gate itself has 0 to 9, so this leaves five: for one client and its connection to the broker, the journal, and two."""


@pytest.fixture
def rig(short_dir: Path, memory_dir: Path) -> Iterator[GateRig]:
    with GateRig(short_dir, memory_dir) as rig:
        yield rig


def silent(rig: GateRig) -> socket.socket:
    """Connects, and says nothing until it is looked after; the gate is known to have accepted it then."""
    sock = socket.create_connection(("127.0.0.1", rig.mqtt_port), PATIENCE)
    until(lambda: sock.getsockname()[1] in ports_of(rig), "it is accepted")
    return sock


def ports_of(rig: GateRig) -> set[int]:
    """Of the peers of sockets that the gate holds."""
    assert rig.gate
    held = set()
    for fd in Path(f"/proc/{rig.gate.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            held.add(str(fd.readlink()))
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if f"socket:[{fields[9]}]" in held:
            found.add(int(fields[2].partition(":")[2], 16))
    return found


def is_refused(rig: GateRig, port: int) -> bool:
    """Whether who connects is hung up on without a word."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        return sock.recv(1) == b""


@pytest.mark.guarantee("G9")
def test_where_nothing_more_can_be_watched_who_comes_is_refused_and_the_others_go_on(
    rig: GateRig,
) -> None:
    token = rig.token()
    rig.start_broker()
    rig.start_gate(watches_below=WATCHABLE)
    client = rig.device(token).connect()
    client.subscribe(POSITION)
    client.publish(POSITION, "x")
    assert client.hear() == (POSITION, b"x")
    with silent(rig):
        assert rig.device(token).refusal() == packets.UNAVAILABLE
        with silent(rig):
            assert is_refused(rig, rig.mqtt_port)
            assert is_refused(rig, rig.rest_port)
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as agent:
                agent.connect(str(rig.run / "control"))
                assert agent.recv(1) == b""
            for _ in range(100):  # both directions stop and go on, again and again
                client.publish(POSITION, bytes(200_000))
            assert [len(client.hear()[1]) for _ in range(100)] == [200_000] * 100
    rig.device(token).connect().close()
    assert client.farewells.empty()
    with Agent(rig.run) as agent:
        agent.hello()
        said = (("topic", POSITION), ("payload", "of the node"), ("qos", 1))
        with silent(rig):
            assert agent.ask("publish", *said).get("error") == "broker"
            assert agent.ask("addresses", ("host", "127.0.0.2")).all("failed")
        until(lambda: not agent.ask("publish", *said).get("error"), "it is said")
        assert client.hear() == (POSITION, b"of the node")


@pytest.mark.guarantee("G9")
def test_who_sends_more_than_there_is_memory_for_ends_nobody_else(rig: GateRig) -> None:
    token = rig.token()
    rig.start()
    client = rig.device(token).connect()
    client.subscribe(POSITION)
    greedy = Raw(rig, token)
    assert rig.gate
    pages = int(Path(f"/proc/{rig.gate.pid}/statm").read_text().split()[0])
    now = pages * resource.getpagesize()
    limits = resource.prlimit(rig.gate.pid, resource.RLIMIT_AS)
    resource.prlimit(rig.gate.pid, resource.RLIMIT_AS, (now + 6_000_000, limits[1]))
    large = packets.publish(POSITION, bytes(20_000_000), 0, 0)
    with greedy.sock, pytest.raises(OSError, match="."):
        greedy.sock.sendall(large * 2)
    client.publish(POSITION, "x")
    assert client.hear() == (POSITION, b"x")
    resource.prlimit(rig.gate.pid, resource.RLIMIT_AS, limits)
    client.publish(POSITION, bytes(20_000_000))
    assert len(client.hear()[1]) == 20_000_000
    assert [(entry.n, len(entry.payload)) for entry in rig.entries()] == [(1, 1), (2, 20_000_000)]
