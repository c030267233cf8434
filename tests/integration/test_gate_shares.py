"""One client of the gate that takes all it can get: the others have what is theirs."""

import contextlib
import itertools
from pathlib import Path

import pytest
from tests.gate_rig import OWN, PATIENCE, Agent, GateRig, Raw, until

from skerry.gate import packets
from skerry.gate.journal import GAP

pytestmark = pytest.mark.timeout(120)
QUOTA, NOBODY_HEARD = packets.QUOTA_EXCEEDED, 0x10
POSITION, EVENT = f"cyberwave/twin/{OWN}/position", f"cyberwave/twin/{OWN}/event"


@pytest.mark.guarantee("G4")
@pytest.mark.parametrize(("qos", "size"), [(0, 40), (0, 100_000), (1, 100_000)])
def test_who_floods_takes_no_room_from_others(
    short_dir: Path, memory_dir: Path, qos: int, size: int
) -> None:
    with GateRig(short_dir, memory_dir, limit=2_000_000) as rig:
        flooding, quiet = rig.token("a", workload="a"), rig.token("b", workload="b")
        rig.start()
        flood = Raw(rig, flooding)
        sent = 3_000_000 // size
        for number in range(sent):
            flood.publish(POSITION, b"x" * size, qos, number + 1)
        flood.sock.sendall(packets.packet(packets.PINGREQ << 4, b""))
        answers = [flood.next()]
        while answers[-1].kind != packets.PINGRESP:
            answers.append(flood.next())
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
