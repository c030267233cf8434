"""One client of the gate that takes all it can get: the others have what is theirs."""

import contextlib
import hashlib
import itertools
from pathlib import Path

import pytest
from tests.gate_rig import OWN, PATIENCE, Agent, GateRig, Raw, until

from skerry.gate import packets
from skerry.gate.journal import GAP, HELD, KEPT

pytestmark = pytest.mark.timeout(120)
QUOTA, NOBODY_HEARD = packets.QUOTA_EXCEEDED, 0x10
POSITION, EVENT = f"cyberwave/twin/{OWN}/position", f"cyberwave/twin/{OWN}/event"


@pytest.mark.guarantee("G4")
@pytest.mark.parametrize(
    ("qos", "size", "limit"),
    [(0, 40, 2_000_000), (0, 100_000, 2_000_000), (1, 100_000, 2_000_000), (1, 40, 200_000)],
)
def test_who_floods_takes_no_room_from_others(
    short_dir: Path, memory_dir: Path, qos: int, size: int, limit: int
) -> None:
    with GateRig(short_dir, memory_dir, limit) as rig:
        flooding, quiet = rig.token("a", workload="a"), rig.token("b", workload="b")
        rig.start()
        flood = Raw(rig, flooding)
        sent = limit * 3 // 2 // size
        for number in range(sent):
            flood.publish(POSITION, b"x" * size, qos, number + 1)
        answers = pinged(flood)
        calm = rig.device(quiet).connect()
        for number in range(15):  # paho has 20 on their way at most
            calm.publish(POSITION, b"%d" % number)
            calm.publish(EVENT, b"%d" % number, 1)
        for _ in range(3):
            calm.publish(POSITION, b"y" * size)
        until(lambda: sum(e.token == 2 for e in rig.entries()) == 33, "all of it is written down")
        taken = [e for e in rig.entries() if e.token == 1]
        missed = sent - len(taken)
        assert missed > 0
        refused = [packet for packet in answers if packet.body.endswith(bytes((QUOTA,)))]
        assert len(refused) == (missed if qos else 0)
        with Agent(rig.run) as agent:
            hello = agent.hello()
            agent.tell("stored", ("session", hello.text("session")), ("n", hello.text("last")))
            told = {calm.acks.get(timeout=PATIENCE)[1] for _ in range(33)}
            assert told == {0, NOBODY_HEARD}
            gaps = [(e.token, e.payload) for e in rig.entries() if e.flags & GAP]
            assert gaps == ([] if qos else [(1, b"%d" % missed)])
        flood.sock.close()


@pytest.mark.guarantee("G4")
def test_who_begins_many_large_packets_keeps_none_of_another_waiting(
    short_dir: Path, memory_dir: Path
) -> None:
    with GateRig(short_dir, memory_dir, 64_000_000) as rig:
        slow, quick = rig.token("a", workload="a"), rig.token("b", workload="b")
        rig.start()
        with contextlib.ExitStack() as held:
            for number in range(5):
                one = Raw(rig, slow, f"n{number}")
                held.callback(one.sock.close)
                whole = packets.publish(POSITION, b"x" * 30_000_000, 0, 0)
                one.sock.sendall(whole[:100_000])  # and no more
            calm = rig.device(quick).connect()
            calm.publish(POSITION, b"y" * 1_000_000)
            until(lambda: any(e.token == 2 for e in rig.entries()), "it is written down")
            assert all(e.token == 2 for e in rig.entries())


def pinged(client: Raw) -> list[packets.Packet]:
    """What came until its ping was answered."""
    client.sock.sendall(packets.packet(packets.PINGREQ << 4, b""))
    answers = [client.next()]
    while answers[-1].kind != packets.PINGRESP:
        answers.append(client.next())
    return answers


@pytest.mark.guarantee("G4")
def test_who_is_held_is_heard_and_what_it_cannot_be_refused_is_counted(
    short_dir: Path, memory_dir: Path
) -> None:
    with GateRig(short_dir, memory_dir) as rig:
        held, other = (Raw(rig, token) for token in started(rig, "a", "b"))
        with held.sock, other.sock, Agent(rig.run) as agent:
            session = agent.hello().text("session")
            agent.ask("hold", ("workload", "a"))
            for topic in (EVENT, EVENT, POSITION):
                held.publish(topic, b"x", 0, 0)
            other.publish(EVENT, b"y", 0, 0)
            assert [len(pinged(each)) for each in (held, other)] == [1, 1]
            agent.tell("stored", ("session", session), ("n", 2))
            held.publish(EVENT, b"x", 1, 7)
            assert held.next().body.endswith(bytes((QUOTA,)))
            seen = [(e.token, e.flags, e.topic) for e in rig.entries()]
            assert sorted(seen) == [(1, 0, POSITION), (2, KEPT, EVENT)]
            agent.ask("hold")
            told = [(e.token, e.flags, e.topic, e.payload) for e in rig.entries()[2:]]
            assert told == [(1, GAP | HELD, EVENT, b"2")]
            held.publish(EVENT, b"z", 0, 0)
            pinged(held)
            assert rig.entries()[-1][3:] == (KEPT, 1, EVENT, b"z")


def test_what_waits_for_room_is_counted_when_its_client_is_gone(
    short_dir: Path, memory_dir: Path
) -> None:
    with GateRig(short_dir, memory_dir, limit=500_000) as rig:
        token, log = rig.token("a", workload="a"), short_dir / "said"
        rig.start_broker()
        rig.start_gate(log=log)
        client = Raw(rig, token)
        with client.sock, Agent(rig.run) as agent:
            session = agent.hello().text("session")
            for _ in range(5):
                client.publish(EVENT, b"x" * 100_000, 0, 0)
            until(lambda: b"is full" in log.read_bytes(), "no more has room")
            assert len(rig.entries()) == 3
            digest = hashlib.sha256(token.encode()).hexdigest()
            assert agent.ask("kick", ("token", digest)).number("count") == 1
            agent.tell("stored", ("session", session), ("n", 3))
            until(lambda: [e for e in rig.entries() if e.flags & GAP], "it is told of")
            assert rig.entries()[-1][3:] == (GAP, 1, EVENT, b"1")


def started(rig: GateRig, *names: str) -> list[str]:
    """Their tokens, in a gate that knows them."""
    tokens = [rig.token(name, workload=name) for name in names]
    rig.start()
    return tokens


@pytest.mark.guarantee("G4")
def test_two_tokens_take_no_connections_of_a_third(short_dir: Path, memory_dir: Path) -> None:
    with GateRig(short_dir, memory_dir) as rig, contextlib.ExitStack() as stack:
        greedy = [rig.token(name, workload=name) for name in ("a", "b")]
        modest = rig.token("c", workload="c")
        rig.start()

        def taken(token: str) -> int:
            for number in itertools.count():
                one = Raw(rig, token, f"n{number}")
                stack.callback(one.sock.close)
                if one.refusal:
                    return number
            raise AssertionError

        assert [taken(token) for token in greedy] == [300, 100]
        assert rig.device(modest).connect()
