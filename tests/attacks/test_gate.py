"""Clients of the gate with a token of their own who mean harm: the others are served, and nobody's memory is filled."""

import socket
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from tests.gate_rig import FOREIGN, OWN, PATIENCE, Device, GateRig, Raw

from skerry.gate import packets
from skerry.gate.fields import MOST_PROPERTIES, integer_of, text_of
from skerry.gate.packets import LONGEST_OTHER, PUBLISH, SUBSCRIBE, Subscribe
from skerry.gate.sessions import MOST_FILTERS, MOST_LASTING

pytestmark = [pytest.mark.timeout(120), pytest.mark.guarantee("G9")]
TWIN = f"cyberwave/twin/{OWN}"
POSITION = f"{TWIN}/position"
MALFORMED = 0x81


@pytest.fixture
def rig(short_dir: Path, memory_dir: Path) -> Iterator[GateRig]:
    with GateRig(short_dir, memory_dir) as rig:
        rig.token("a")
        rig.token("b")
        rig.start()
        yield rig


@pytest.fixture
def honest(rig: GateRig) -> Iterator[Device]:
    """Goes on, whatever others do."""
    device = rig.device("cw_b").connect()
    device.subscribe(POSITION)
    yield device
    device.publish(POSITION, "still here")
    assert device.hear() == (POSITION, b"still here")
    assert device.farewells.empty()


def farewell(client: Raw) -> int:
    """The reason with which it is sent away."""
    with client.sock:
        last = client.next()
        while last.kind != packets.DISCONNECT:
            last = client.next()
        assert client.sock.recv(1) == b""
    return last.body[0]


@pytest.mark.parametrize(
    "packet",
    [
        packets.packet(SUBSCRIBE << 4 | 2, bytes(LONGEST_OTHER))[:5],
        packets.packet(
            PUBLISH << 4, text_of(POSITION), integer_of(MOST_PROPERTIES + 1), b"\x26\0\0\0\0" * 20_000
        ),
        packets.packet(PUBLISH << 4, bytes(32 * 1024 * 1024))[:5],
        packets.packet(PUBLISH << 4, text_of(POSITION), b"\3\x23\0\1", b"by an alias"),
        packets.packet(PUBLISH << 4, text_of(""), b"\3\x23\0\1", b"by an alias"),
        b"\x32\xff\xff\xff\xff\x7f",
    ],
    ids=["large subscribe", "many properties", "large message", "alias", "alias alone", "no length"],
)  # fmt: skip
def test_who_breaks_the_bounds_is_sent_away(rig: GateRig, honest: Device, packet: bytes) -> None:
    client = Raw(rig, "cw_a")
    client.sock.sendall(packet)
    assert farewell(client) == MALFORMED
    assert rig.entries() == []


def test_half_a_packet_holds_nobody_up(rig: GateRig, honest: Device) -> None:
    half = [Raw(rig, "cw_a", f"n{number}") for number in range(20)]
    for client in half:
        client.sock.sendall(packets.publish(POSITION, bytes(50_000), 0, 0)[:-1])
    honest.publish(POSITION, "whole")
    assert honest.hear() == (POSITION, b"whole")
    for client in half:
        client.sock.close()
    assert [entry.payload for entry in rig.entries()] == [b"whole"]


def test_filters_without_end_are_too_many(rig: GateRig, honest: Device) -> None:
    client, also = Raw(rig, "cw_a"), Raw(rig, "cw_a", "also")
    for first in range(0, MOST_FILTERS, 500):
        filters = tuple((f"{TWIN}/{number}", 0) for number in range(first, first + 500))
        client.sock.sendall(packets.subscribe(Subscribe(1, b"", filters), 5))
        assert client.next().kind == packets.SUBACK
    also.sock.sendall(packets.subscribe(Subscribe(1, b"", ((POSITION, 0),)), 5))
    assert farewell(also) == packets.QUOTA_EXCEEDED
    gone = packets.packet(0xA2, b"\0\2\0", text_of(f"{TWIN}/0"))
    client.sock.sendall(gone)
    assert client.next().kind == packets.UNSUBACK
    again = Raw(rig, "cw_a", "again")
    with again.sock, client.sock:
        again.sock.sendall(packets.subscribe(Subscribe(1, b"", ((POSITION, 0),)), 5))
        assert again.next().body[-1] == 0


def test_sessions_without_end_are_too_many(rig: GateRig, honest: Device) -> None:
    """Each of them holds what was published while its client is away."""

    def lasting(name: str, token: str = "cw_a") -> int:  # noqa: S107
        client = rig.device(token, name, version=mqtt.MQTTv311, clean=False)
        client.begin()
        code = client.greetings.get(timeout=PATIENCE)
        client.close()
        return code

    codes = [lasting(f"n{number}") for number in range(MOST_LASTING + 1)]
    assert codes == [0] * MOST_LASTING + [packets.UNAVAILABLE]
    assert lasting("n0") == 0
    assert lasting("n0", "cw_b") == 0
    rig.device("cw_a", "passing").connect()


def test_nobody_takes_up_the_session_of_another_token(rig: GateRig, honest: Device) -> None:
    mine = rig.device("cw_b", "same", version=mqtt.MQTTv311, clean=False).connect()
    assert mine.subscribe(POSITION, qos=1) == [1]
    mine.close()
    thief = rig.device("cw_a", "same", version=mqtt.MQTTv311, clean=False).connect()
    honest.publish(POSITION, "for the absent", 1)
    assert honest.hear() == (POSITION, b"for the absent")
    assert thief.subscribe(f"{TWIN}/gps") == [0]
    again = rig.device("cw_b", "same", version=mqtt.MQTTv311, clean=False).connect()
    assert again.hear() == (POSITION, b"for the absent")
    assert thief.heard.empty()


@pytest.mark.parametrize(
    ("properties", "will"),
    [(b"\x21\0\0", ""), (b"\x27\0\0\0\0", ""), (b"", f"{TWIN}/{'deep/' * 300}")],
    ids=["receive maximum 0", "maximum packet size 0", "a will too deep"],
)
def test_what_the_broker_hangs_up_on_is_refused_and_not_tried_for_ever(
    rig: GateRig, honest: Device, properties: bytes, will: str
) -> None:
    left = b"\0" + text_of(will) + b"\0\1x" if will else b""
    body = b"\0\4MQTT\5" + bytes((0xC6 if will else 0xC2,)) + b"\0\0" + bytes((len(properties),))
    body += properties + text_of("raw") + left + text_of("mqttcyb") + text_of("cw_a")
    with socket.create_connection(("127.0.0.1", rig.mqtt_port), PATIENCE) as sock:
        sock.sendall(packets.packet(0x10, body))
        assert sock.recv(100)[3:4] == bytes((packets.UNAVAILABLE,))
        assert sock.recv(1) == b""
    assert rig.entries() == []


def test_who_does_not_read_fills_the_brokers_memory_for_nobody_else(
    short_dir: Path, memory_dir: Path
) -> None:
    with GateRig(short_dir, memory_dir) as rig:
        rig.broker_memory = 48 * 1024 * 1024
        hostile, modest = rig.token("hostile"), rig.token("modest", twins=[FOREIGN])
        rig.start()
        assert rig.broker
        topic = f"cyberwave/twin/{FOREIGN}/position"
        honest = rig.device(modest).connect()
        honest.subscribe(topic)
        deaf, loud = Raw(rig, hostile, "deaf"), Raw(rig, hostile, "loud")
        deaf.sock.sendall(packets.subscribe(Subscribe(1, b"", ((POSITION, 0),)), 5))
        assert deaf.next().kind == packets.SUBACK
        for number in range(60):
            try:
                loud.sock.sendall(packets.publish(POSITION, bytes(1_000_000), 0, 0))
            except OSError:  # the broker has hung up on it: there is no memory for what it says
                loud.sock.close()
                loud = Raw(rig, hostile, f"loud-{number}")
            honest.publish(topic, str(number))
            assert honest.hear() == (topic, str(number).encode())
        status = Path(f"/proc/{rig.broker.pid}/status").read_text()
        held = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        assert int(held) < 48 * 1024
        assert honest.farewells.empty()
        deaf.sock.close()
        loud.sock.close()
