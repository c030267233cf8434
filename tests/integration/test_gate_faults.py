"""The gate when things end around it, or in it: what it has read is kept, and once; nobody waits for a slow one."""

import json
import os
import random
import resource
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from tests.gate_rig import OWN, PATIENCE, Agent, Device, GateRig, Raw, until

from skerry.gate import packets
from skerry.gate.journal import GAP, KEPT, QOS

pytestmark = pytest.mark.timeout(180)
POSITION, EVENT = f"cyberwave/twin/{OWN}/position", f"cyberwave/twin/{OWN}/event"


@pytest.fixture
def rig(short_dir: Path, memory_dir: Path) -> Iterator[GateRig]:
    with GateRig(short_dir, memory_dir) as rig:
        yield rig


def memory_of(pid: int) -> int:
    """PSS in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def test_an_answer_comes_when_the_agent_has_stored(rig: GateRig) -> None:
    token = rig.token()
    rig.start()
    client = rig.device(token).connect()
    client.subscribe(EVENT)
    with Agent(rig.run) as agent:
        session = agent.hello().text("session")
        first, second = (client.publish(EVENT, "x", qos) for qos in (1, 2))
        until(lambda: len(rig.entries()) == 2, "both are written")
        client.subscribe(EVENT, qos=1)  # answered after them, had they been answered
        assert client.acks.empty()
        agent.tell("stored", ("session", "0" * 32), ("n", 2))
        agent.tell("stored", ("session", session), ("n", 1))
        assert client.acks.get(timeout=PATIENCE) == (first, 0)
        client.subscribe(POSITION)
        assert client.acks.empty()
        agent.tell("stored", ("session", session), ("n", 2))
        assert client.acks.get(timeout=PATIENCE) == (second, 0)


def test_what_is_sent_again_is_written_once(rig: GateRig) -> None:
    token = rig.token()
    rig.start()
    with Raw(rig, token).sock as sock:
        first = packets.publish(EVENT, b"once", 1, 7)
        sock.sendall(first)
        until(rig.entries, "it is written")
    again = Raw(rig, token)
    with again.sock, Agent(rig.run) as agent:
        session = agent.hello().text("session")
        again.publish(EVENT, b"once", 1, 7, dup=True)
        again.publish(EVENT, b"other", 1, 7)
        until(lambda: len(rig.entries()) == 2, "the other is written")
        assert [entry.payload for entry in rig.entries()] == [b"once", b"other"]
        agent.tell("stored", ("session", session), ("n", 2))
        assert [again.next().raw[:4] for _ in range(2)] == [b"\x40\3\0\7"] * 2


def test_without_room_events_wait_and_samples_are_counted(
    short_dir: Path, memory_dir: Path
) -> None:
    with GateRig(short_dir, memory_dir, limit=500_000) as rig:
        token = rig.token()
        rig.start()
        hearing = rig.device(token).connect()
        hearing.subscribe(f"cyberwave/twin/{OWN}/#")
        sampling, telling = rig.device(token).connect(), rig.device(token).connect()
        for _ in range(5):
            sampling.publish(POSITION, "x" * 100_000)
        assert [len(hearing.hear()[1]) for _ in range(5)] == [100_000] * 5
        assert telling.acks.empty()
        assert len(rig.entries()) == 3
        mid = telling.publish(EVENT, "y" * 100_000, 1)
        assert telling.acks.get(timeout=PATIENCE) == (mid, packets.QUOTA_EXCEEDED)
        telling.publish(EVENT, "z" * 100_000)
        sampling.publish(POSITION, "x" * 100_000)
        assert hearing.hear()[0] == POSITION
        assert telling.farewells.empty()
        with Agent(rig.run) as agent:
            session = agent.hello().text("session")
            agent.tell("stored", ("session", session), ("n", 3))
            assert hearing.hear() == (EVENT, b"z" * 100_000)
            found = [(e.n, e.flags, e.topic, e.payload[:3]) for e in rig.entries() if e.n > 3]
        assert found == [(4, GAP, POSITION, b"3"), (5, KEPT, EVENT, b"zzz")]


def test_three_hundred_come_at_once(rig: GateRig) -> None:
    token = rig.token()
    rig.start()
    socks = [socket.create_connection(("127.0.0.1", rig.mqtt_port), PATIENCE) for _ in range(300)]
    try:
        for number, sock in enumerate(socks):
            body = b"\0\4MQTT\4\xc2\0\0" + b"".join(
                len(part).to_bytes(2, "big") + part
                for part in (b"n%d" % number, b"mqttcyb", token.encode())
            )
            sock.sendall(packets.packet(0x10, body))
        assert [sock.recv(4) for sock in socks] == [b"\x20\2\0\0"] * 300
        assert rig.device(token).refusal() == packets.QUOTA_EXCEEDED
        assert rig.device(rig.token("other")).refusal() == packets.NOT_AUTHORIZED
    finally:
        for sock in socks:
            sock.close()
    rig.device(token).connect()


def test_who_only_connects_makes_room_for_others(rig: GateRig) -> None:
    token = rig.token()
    rig.start()
    silent = [socket.create_connection(("127.0.0.1", rig.mqtt_port), PATIENCE) for _ in range(300)]
    rig.device(token).connect()
    for sock in silent:
        sock.close()


def test_without_descriptors_it_waits_for_some(rig: GateRig) -> None:
    token = rig.token()
    rig.start()
    assert rig.gate
    pid = rig.gate.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, limits[1]))
    client = rig.device(token)
    client.begin()
    with Agent(rig.run) as refused:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        refused.hello()
    assert client.greetings.get(timeout=PATIENCE) == 0


def test_nobody_waits_for_a_slow_reader(rig: GateRig) -> None:
    token = rig.token()
    rig.start()
    assert rig.gate
    slow = Raw(rig, token, "slow")
    topic_filter = f"cyberwave/twin/{OWN}/#"
    with slow.sock:
        asked = packets.Subscribe(1, b"", ((topic_filter, 0),))
        slow.sock.sendall(packets.subscribe(asked, 5))
        quick, saying = rig.device(token).connect(), rig.device(token).connect()
        quick.subscribe(topic_filter)
        with Agent(rig.run) as agent:
            session = agent.hello().text("session")
            for n in range(400):
                saying.publish(POSITION, bytes(100_000))
                assert len(quick.hear()[1]) == 100_000
                agent.tell("stored", ("session", session), ("n", n + 1))
        assert memory_of(rig.gate.pid) < 24 * 1024


def test_the_broker_restarts_under_traffic(rig: GateRig) -> None:
    """What a client has written to its connection is taken, also what it writes before it notices that it has none."""
    token = rig.token()
    rig.start()
    stop = threading.Event()
    given: list[mqtt.MQTTMessageInfo] = []
    talker = rig.device(token)
    talker.client.reconnect_delay_set(1, 1)
    talker.connect()

    def talk() -> None:
        while not stop.is_set():
            given.append(talker.client.publish(POSITION, str(len(given))))
            time.sleep(0.0005)

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        until(lambda: len(given) > 200, "it talks")
        rig.kill_broker()
        assert talker.farewells.get(timeout=PATIENCE) != 0
        newcomer = rig.device(token)
        newcomer.begin()
        rig.start_broker()
        assert newcomer.greetings.get(timeout=PATIENCE) == 0
        assert talker.greetings.get(timeout=PATIENCE) == 0
        newcomer.subscribe(POSITION)
        assert int(newcomer.hear()[1]) > 200
    finally:
        stop.set()
        thread.join()
    given[-1].wait_for_publish(PATIENCE)
    talker.close()
    until(lambda: rig.entries()[-1].payload == b"%d" % (len(given) - 1), "all of it is written")
    got = [int(entry.payload) for entry in rig.entries()]
    assert got == sorted(set(got))
    assert [entry.n for entry in rig.entries()] == list(range(1, len(got) + 1))
    assert got == [n for n, info in enumerate(given) if info.rc == 0 and info.is_published()]


def test_what_is_written_to_a_connection_that_the_broker_has_ended_is_taken(rig: GateRig) -> None:
    token = rig.token()
    rig.start()
    silent = Raw(rig, token, "silent")
    with silent.sock, Raw(rig, token).sock as sock, Agent(rig.run) as agent:
        sock.sendall(packets.publish(EVENT, b"before", 0, 0))
        until(rig.entries, "it is written")
        rig.kill_broker()
        assert sock.recv(1) == b""
        for payload in (b"after", b"at the end"):
            sock.sendall(packets.publish(EVENT, payload, 0, 0))
        sock.close()
        until(lambda: len(rig.entries()) == 3, "all of it is written")
        assert [entry.payload for entry in rig.entries()] == [b"before", b"after", b"at the end"]
        until(lambda: agent.hello().number("clients") == 0, "nobody is waited for without end")


def test_a_broker_that_ends_before_it_greets_is_waited_for(rig: GateRig) -> None:
    token = rig.token()
    rig.start_gate()
    client = rig.device(token)
    with socket.socket(socket.AF_UNIX) as dying:
        dying.bind(str(rig.run / "broker"))
        dying.listen()
        client.begin()
        dying.settimeout(PATIENCE)
        dying.accept()[0].close()
    (rig.run / "broker").unlink()
    rig.start_broker()
    assert client.greetings.get(timeout=PATIENCE) == 0
    assert client.farewells.empty()


@pytest.mark.guarantee("G1")
def test_kill_9_of_the_gate_loses_nothing_that_anybody_has_heard(rig: GateRig) -> None:
    token = rig.token()
    rig.start()
    hearing = Device(rig.mqtt_port, token)
    hearing.connect()
    hearing.subscribe(f"cyberwave/twin/{OWN}/#")
    heard: list[bytes] = []
    for life in range(3):
        talker = Raw(rig, token, f"talker-{life}")

        def talk(talker: Raw = talker, life: int = life) -> None:
            try:
                for number in range(1_000_000):
                    qos = int(number % 100 == 0)
                    if number % 20 == 0:
                        time.sleep(0.002)  # else most of the time goes by in reading a long journal
                    talker.publish(EVENT, f"{life}/{number}".encode(), qos, number % 60_000 + 1)
            except OSError:
                return

        thread = threading.Thread(target=talk)
        thread.start()
        until(lambda: hearing.heard.qsize() > 2000, "it is heard")
        rig.kill_gate()
        thread.join()
        talker.sock.close()
        assert hearing.farewells.get(timeout=PATIENCE) != 0
        while not hearing.heard.empty():
            heard.append(hearing.heard.get().payload)
        rig.start_gate()
        assert hearing.greetings.get(timeout=PATIENCE) == 0
        hearing.subscribe(f"cyberwave/twin/{OWN}/#")
    hearing.close()
    entries = rig.entries()
    times = Counter(entry.payload for entry in entries)
    assert set(times.values()) == {1}
    assert set(heard) <= times.keys()
    assert len(heard) > 6000
    for life in range(3):
        numbers = [int(e.payload.split(b"/")[1]) for e in entries if e.payload[:1] == b"%d" % life]
        assert numbers == list(range(len(numbers)))
        assert {e.flags & QOS for e in entries} == {0, 1}


def test_it_ends_when_told_and_leaves_the_journal(rig: GateRig) -> None:
    token = rig.token()
    rig.start()
    rig.device(token).connect().publish(POSITION, "x")
    until(rig.entries, "it is written")
    assert rig.gate
    rig.gate.send_signal(signal.SIGTERM)
    assert rig.gate.wait(PATIENCE) == 0
    assert [entry.payload for entry in rig.entries()] == [b"x"]


def test_a_directory_of_somebody_else_is_not_used(rig: GateRig) -> None:
    rig.journal.mkdir(mode=0o777)
    rig.journal.chmod(0o777)
    rig.start_gate()
    assert rig.gate
    assert rig.gate.wait(PATIENCE) == 1


def test_gate_and_broker_are_small(rig: GateRig) -> None:
    token = rig.token()
    rig.start()
    for _ in range(4):
        rig.device(token).connect().publish(POSITION, json.dumps({"x": 1}))
    until(lambda: len(rig.entries()) == 4, "all have spoken")
    assert rig.gate
    assert rig.broker
    figures = [memory_of(process.pid) for process in (rig.gate, rig.broker)]
    print("PSS in KiB of gate and broker:", figures, "of", os.getpid())  # noqa: T201 - for -s
    assert sum(figures) < 12 * 1024


@pytest.mark.guarantee("G9")
def test_large_packets_of_many_do_not_fill_the_memory(short_dir: Path, memory_dir: Path) -> None:
    with GateRig(short_dir, memory_dir) as rig:
        rig.largest = 8 * 1024 * 1024
        token = rig.token()
        rig.start()
        assert rig.gate
        begun = packets.publish(POSITION, bytes(7 * 1024 * 1024), 0, 0)[:-1]
        hostile = [Raw(rig, token, f"n{number}") for number in range(20)]
        for client in hostile:
            client.sock.settimeout(0.2)
            try:
                client.sock.sendall(begun)
            except TimeoutError:
                continue
        assert memory_of(rig.gate.pid) < 60 * 1024
        small = rig.device(token).connect()
        small.publish(EVENT, "small")
        until(lambda: [entry.payload for entry in rig.entries()] == [b"small"], "it is taken")
        for client in hostile:
            client.sock.close()
        small.publish(POSITION, bytes(7 * 1024 * 1024))
        until(lambda: len(rig.entries()) == 2, "there is room again")


@pytest.mark.guarantee("G9")
def test_no_bytes_end_the_gate(rig: GateRig) -> None:
    token = rig.token()
    rig.start()
    assert rig.gate
    chance = random.Random(7)
    good = [
        packets.publish(POSITION, b"{}", 1, 1),
        packets.subscribe(packets.Subscribe(1, b"", ((POSITION, 0),)), 5),
        packets.packet(0x62, b"\0\1"),
        packets.packet(0xA2, b"\0\1\0\0\1a"),
        packets.packet(0xC0),
    ]
    for _ in range(150):
        wrong = bytearray(b"".join(chance.choices(good, k=6)))
        for _ in range(chance.randrange(4)):
            wrong[chance.randrange(len(wrong))] = chance.randrange(256)
        if chance.random() < 0.3:
            with socket.create_connection(("127.0.0.1", rig.mqtt_port), PATIENCE) as sock:
                sock.sendall(b"\x10" + bytes(wrong))
        else:
            client = Raw(rig, token)
            with client.sock:
                client.sock.sendall(wrong)
                client.sock.shutdown(socket.SHUT_WR)
                drain(client.sock)
    assert rig.gate.poll() is None
    rig.device(token).connect()


def drain(sock: socket.socket) -> None:
    try:
        while sock.recv(65536):
            continue
    except OSError:
        return
