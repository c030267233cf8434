"""The gate before a real broker: who comes in, and who may say and hear what."""

import socket
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from tests.gate_rig import FOREIGN, OWN, PATIENCE, Agent, GateRig, properties, until
from tests.namespace import Namespace, namespace

from skerry.gate import VERSION

pytestmark = pytest.mark.timeout(120)
POSITION = f"cyberwave/twin/{OWN}/position"
SYSTEM_TOPIC = "$SYS/broker/uptime"


@pytest.fixture
def rig(short_dir: Path, memory_dir: Path) -> Iterator[GateRig]:
    with GateRig(short_dir, memory_dir) as rig:
        rig.start()
        yield rig


@pytest.fixture
def agent(rig: GateRig) -> Iterator[Agent]:
    with Agent(rig.run) as agent:
        agent.hello()
        yield agent


def told(agent: Agent, rig: GateRig) -> None:
    """The gate has read the tokens anew."""
    assert agent.ask("tokens", ("path", rig.run / "tokens")).get("error") is None


@pytest.mark.parametrize("version", [mqtt.MQTTv5, mqtt.MQTTv311])
def test_what_one_says_the_other_hears_and_the_journal_has(
    rig: GateRig, agent: Agent, version: int
) -> None:
    driver, worker = rig.token("driver"), rig.token("worker", role="worker", twins=[OWN, FOREIGN])
    told(agent, rig)
    hearing = rig.device(worker, version=version).connect()
    assert hearing.subscribe(f"cyberwave/twin/{OWN}/#", qos=1) == [1]
    saying = rig.device(driver, version=version).connect()
    saying.publish(POSITION, "{}")
    assert hearing.hear() == (POSITION, b"{}")
    (entry,) = rig.entries()
    assert (entry.n, entry.token, entry.topic, entry.payload) == (1, 1, POSITION, b"{}")
    event = agent.events.get(timeout=PATIENCE)
    while event.text("event") != "captured":
        event = agent.events.get(timeout=PATIENCE)
    assert event.number("n") == 1


@pytest.mark.parametrize(("version", "code"), [(mqtt.MQTTv5, 0x87), (mqtt.MQTTv311, 0x87)])
def test_a_wrong_token_or_name_is_refused(
    rig: GateRig, agent: Agent, version: int, code: int
) -> None:
    token = rig.token()
    told(agent, rig)
    assert rig.device("cw_other", version=version).refusal() == code
    assert rig.device(token, user="cwh_" + "0" * 64, version=version).refusal() == code
    assert rig.device("cw_other", user="mqttcyb", version=version).refusal() == code
    rig.device(token, user="mqttcyb", version=version).connect()


@pytest.mark.guarantee("G9")
def test_an_ended_token_ends_its_connections(rig: GateRig, agent: Agent) -> None:
    ending, staying = rig.token("a"), rig.token("b")
    told(agent, rig)
    gone, stays = rig.device(ending).connect(), rig.device(staying).connect()
    rig.end(ending)
    told(agent, rig)
    assert gone.farewells.get(timeout=PATIENCE) == 0x87
    assert gone.greetings.get(timeout=PATIENCE) == 0x87
    assert stays.subscribe(POSITION) == [0]
    assert stays.farewells.empty()


def test_a_token_for_less_has_to_come_again(rig: GateRig, agent: Agent) -> None:
    token = rig.token("a", twins=[OWN])
    told(agent, rig)
    client = rig.device(token).connect()
    rig.token("a", n=1, twins=[OWN, FOREIGN])
    told(agent, rig)
    assert client.subscribe(f"cyberwave/twin/{FOREIGN}/position") == [0]
    rig.token("a", n=1, twins=[OWN])
    told(agent, rig)
    assert client.farewells.get(timeout=PATIENCE) == 0x87
    assert client.greetings.get(timeout=PATIENCE) == 0
    assert client.subscribe(f"cyberwave/twin/{FOREIGN}/position") == [0x87]


@pytest.mark.guarantee("G9")
def test_a_foreign_twin_is_neither_spoken_for_nor_heard(rig: GateRig, agent: Agent) -> None:
    own, foreign = rig.token("own"), rig.token("foreign", twins=[FOREIGN])
    told(agent, rig)
    victim = rig.device(foreign).connect()
    assert victim.subscribe(f"cyberwave/twin/{FOREIGN}/#") == [0]
    attacker = rig.device(own, "me").connect()
    for qos, code in ((1, 0x87), (2, 0x92)):
        mid = attacker.publish(f"cyberwave/twin/{FOREIGN}/position", "x", qos)
        assert attacker.acks.get(timeout=PATIENCE) == (mid, code)
    attacker.publish(f"cyberwave/twin/{FOREIGN}/position", "x")
    attacker.publish(f"cyberwave/twin/{OWN}/alert", "x")
    attacker.publish(
        f"cyberwave/twin/{OWN}/command",
        "x",
        properties=properties(ResponseTopic=f"cyberwave/twin/{FOREIGN}/command"),
    )
    filters = [
        f"cyberwave/twin/{FOREIGN}/#",
        "cyberwave/twin/+/position",
        "#",
        SYSTEM_TOPIC,
        f"$share/x/cyberwave/twin/{OWN}/position",
        f"cyberwave/twin/{OWN}/command/you/response",
    ]
    for topic in filters:
        assert attacker.subscribe(topic) == [0x87]
    mine = f"cyberwave/twin/{OWN}/command/me/response"
    assert attacker.subscribe(filters[0], mine, filters[1], POSITION, qos=1) == [0x87, 1, 0x87, 1]
    attacker.publish(mine, "own")
    assert attacker.hear() == (mine, b"own")
    victim.publish(f"cyberwave/twin/{FOREIGN}/gps", "own")
    assert victim.hear() == (f"cyberwave/twin/{FOREIGN}/gps", b"own")
    assert {entry.payload for entry in rig.entries()} == {b"own"}
    assert attacker.heard.empty()


def test_311_is_refused_in_its_own_words(rig: GateRig, agent: Agent) -> None:
    token = rig.token()
    told(agent, rig)
    client = rig.device(token, version=mqtt.MQTTv311).connect()
    assert client.subscribe("#", POSITION) == [0x80, 0]
    client.publish(f"cyberwave/twin/{FOREIGN}/position", "x", 1)
    assert client.farewells.get(timeout=PATIENCE) != 0


def test_who_goes_on_being_refused_is_sent_away(rig: GateRig, agent: Agent) -> None:
    token = rig.token()
    told(agent, rig)
    client = rig.device(token).connect()
    for _ in range(100):
        client.publish(f"cyberwave/twin/{FOREIGN}/position", "x")
    assert client.farewells.get(timeout=PATIENCE) == 0x87


@pytest.mark.guarantee("G9")
def test_an_alias_is_no_way_around(rig: GateRig, agent: Agent) -> None:
    token = rig.token()
    told(agent, rig)
    client = rig.device(token).connect()
    assert not hasattr(client.connack, "TopicAliasMaximum")
    client.publish(POSITION, "x", properties=properties(TopicAlias=1))
    assert client.farewells.get(timeout=PATIENCE) == 0x81


@pytest.mark.guarantee("G9")
def test_a_will_is_checked_written_down_and_not_retained(rig: GateRig, agent: Agent) -> None:
    token = rig.token()
    told(agent, rig)
    assert rig.device(token, will=f"cyberwave/twin/{FOREIGN}/event").refusal() == 0x87
    event = f"cyberwave/twin/{OWN}/event"
    hearing = rig.device(token).connect()
    hearing.subscribe(event)
    dying = rig.device(token, will=event).connect()
    sock = dying.client.socket()
    assert sock
    sock.shutdown(socket.SHUT_RDWR)
    assert hearing.hear() == (event, b"gone")
    until(lambda: [entry.payload for entry in rig.entries()] == [b"gone"], "the will is written")
    late = rig.device(token).connect()
    late.subscribe(event)
    late.publish(POSITION, "")
    until(lambda: len(rig.entries()) == 2, "the late one has spoken")
    assert late.heard.empty()


def test_nothing_is_retained(rig: GateRig, agent: Agent) -> None:
    token = rig.token()
    told(agent, rig)
    hearing, saying = rig.device(token).connect(), rig.device(token).connect()
    hearing.subscribe(POSITION)
    saying.publish(POSITION, "kept?", 1, retain=True)
    assert hearing.hear() == (POSITION, b"kept?")
    late = rig.device(token).connect()
    assert late.subscribe(f"cyberwave/twin/{OWN}/#") == [0]
    late.publish(f"cyberwave/twin/{OWN}/gps", "after")
    assert late.hear() == (f"cyberwave/twin/{OWN}/gps", b"after")


@pytest.mark.guarantee("G9")
def test_nobody_is_thrown_out_by_its_name(rig: GateRig, agent: Agent) -> None:
    one, other = rig.token("one"), rig.token("other")
    told(agent, rig)
    victim = rig.device(one, "same-name").connect()
    thief = rig.device(other, "same-name").connect()
    assert thief.subscribe(POSITION) == [0]
    assert victim.subscribe(POSITION) == [0]
    assert victim.farewells.empty()
    assert rig.device(one, "a+b").refusal() == 0x85
    again = rig.device(one, "same-name").connect()
    assert victim.farewells.get(timeout=PATIENCE) != 0
    victim.close()
    assert again.subscribe(POSITION) == [0]


def test_a_client_without_a_name_is_told_its_name(rig: GateRig, agent: Agent) -> None:
    token = rig.token()
    told(agent, rig)
    client = rig.device(token).connect()
    name = client.connack.AssignedClientIdentifier  # type: ignore[union-attr]
    assert client.subscribe(f"cyberwave/twin/{OWN}/command/{name}/response") == [0]


def test_the_agent_is_one_and_publishes(rig: GateRig, agent: Agent) -> None:
    token = rig.token()
    told(agent, rig)
    client = rig.device(token).connect()
    client.subscribe(f"cyberwave/twin/{OWN}/+")
    alert = f"cyberwave/twin/{OWN}/alert"
    for qos in (0, 1):
        said = [("topic", alert), ("payload", '{"é": 1}'), ("qos", qos)]
        assert agent.ask("publish", *said).get("error") is None
        assert client.hear() == (alert, '{"é": 1}'.encode())
    assert agent.ask("publish", ("topic", "a/#"), ("payload", ""), ("qos", 0)).get("error")
    with Agent(rig.run) as second:
        assert second.ask("kick", ("token", "x")).get("error") == "stranger"
        assert second.ask("hello", ("version", VERSION + 1)).get("error") == "version"
        assert second.ask("hello", ("version", VERSION)).get("error") == "busy"
    agent.close()
    with Agent(rig.run) as next_one:
        assert next_one.hello().number("clients") == 1
        digest = client.client.username.removeprefix("cwh_")
        assert next_one.ask("kick", ("token", digest)).number("count") == 1
    assert client.farewells.get(timeout=PATIENCE) == 0x87


def test_it_listens_where_it_is_told_and_never_everywhere(rig: GateRig, agent: Agent) -> None:
    everywhere = "0.0.0.0"  # noqa: S104 - what is refused
    reply = agent.ask("addresses", ("host", "127.0.0.2"), ("host", everywhere), ("host", "nowhere"))
    assert [failed.split(":")[0] for failed in reply.all("failed")] == [everywhere, "nowhere"]
    for port in (rig.mqtt_port, rig.rest_port):
        socket.create_connection(("127.0.0.2", port)).close()
    agent.ask("addresses")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", rig.mqtt_port))
    socket.create_connection(("127.0.0.1", rig.mqtt_port)).close()


async def test_it_listens_at_an_address_that_comes_later(rig: GateRig, agent: Agent) -> None:
    """As that of an engine's network does, with its first container."""
    here = Namespace().here
    hosts = [here, *(["fd00:5ca1:ab1e::1"] if Path("/proc/net/if_inet6").exists() else [])]
    assert agent.ask("addresses", *(("host", host) for host in hosts)).all("failed") == []
    async with namespace() as made:
        assert made.here == here
        for port in (rig.mqtt_port, rig.rest_port):
            socket.create_connection((here, port), PATIENCE).close()


@pytest.mark.parametrize(
    "first",
    [
        b"\xc0\0",
        b"\x30\3\0\1a",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x10\xff\xff\xff\xff",
        b"\x10\x80\x80\x08",
    ],
)
def test_who_does_not_begin_with_connect_is_hung_up_on(rig: GateRig, first: bytes) -> None:
    with socket.create_connection(("127.0.0.1", rig.mqtt_port), PATIENCE) as sock:
        sock.sendall(first)
        assert sock.recv(100) in (b"", b"\x20\2\0\1")
    assert rig.entries() == []
