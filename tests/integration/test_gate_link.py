"""The agent's end of the gate: every message once, over ends of the gate and of the agent; what the node says is heard."""

import asyncio
import queue
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.gate_rig import OWN, PATIENCE, Device, GateRig, held_by_nobody
from tests.gate_site import Site

from skerry.gate import journal
from skerry.kit.errors import Refused, Transient
from skerry.node.broker.reading import Cursor, sessions

pytestmark = pytest.mark.timeout(120)
EVENT, ALERT = f"cyberwave/twin/{OWN}/event", f"cyberwave/twin/{OWN}/alert"


@pytest.fixture
async def site(short_dir: Path, memory_dir: Path) -> AsyncIterator[Site]:
    with GateRig(short_dir, memory_dir) as rig:
        site = Site(rig)
        yield site
        await site.stop_agent()


async def acknowledged(device: Device) -> int:
    return (await asyncio.to_thread(device.acks.get, timeout=PATIENCE))[0]


@pytest.mark.guarantee("G1")
async def test_every_message_arrives_once_whoever_ends(site: Site) -> None:
    token = site.rig.token()
    site.rig.start()
    device = site.rig.device(token)
    device.client.reconnect_delay_set(1, 1)
    device.connect()
    sent: list[bytes] = []

    def say(count: int) -> None:
        for _ in range(count):
            sent.append(b"%d" % len(sent))
            device.publish(EVENT, sent[-1])

    say(300)
    site.start_agent()
    await site.until(lambda: len(site.store.payloads) == 300)
    say(1000)
    await site.stop_agent()
    say(500)
    mid = device.publish(EVENT, "acknowledged", 1)
    sent.append(b"acknowledged")
    await site.until(lambda: site.rig.entries()[-1].payload == b"acknowledged")
    assert device.acks.qsize() <= 1800
    site.start_agent()
    while await acknowledged(device) != mid:
        continue
    await site.until(lambda: len(site.store.payloads) == len(sent))
    await site.stop_agent()
    say(200)
    await site.until(lambda: site.rig.entries()[-1].payload == sent[-1])
    site.rig.kill_gate()
    site.rig.start_gate()
    assert await asyncio.to_thread(device.greetings.get, timeout=PATIENCE) == 0
    say(100)
    site.start_agent()
    await site.until(lambda: len(site.store.payloads) == len(sent))
    site.rig.kill_gate()
    site.rig.start_gate()
    assert await asyncio.to_thread(device.greetings.get, timeout=PATIENCE) == 0
    say(10)
    await site.until(lambda: len(site.store.payloads) == len(sent))
    assert site.store.payloads == sent
    assert sessions(site.rig.journal) == [site.link.session]


async def test_the_node_publishes_while_the_broker_restarts(site: Site) -> None:
    token = site.rig.token()
    site.rig.start()
    with pytest.raises(Transient, match="not there"):
        await site.link.publish(ALERT, b"{}", 1)
    site.start_agent()
    await site.until(lambda: site.link.session)
    device = site.rig.device(token).connect()
    device.subscribe(f"cyberwave/twin/{OWN}/+", qos=1)
    await site.link.publish(ALERT, '{"title": "é"}'.encode(), 1)
    assert device.hear() == (ALERT, '{"title": "é"}'.encode())
    with pytest.raises(Refused, match="one topic"):
        await site.link.publish("cyberwave/#", b"{}", 0)
    site.rig.kill_broker()
    saying = asyncio.create_task(site.link.publish(ALERT, b"later", 1))
    await asyncio.to_thread(site.rig.start_broker)
    await saying


async def test_tokens_and_addresses_hold_over_a_restart_of_the_gate(site: Site) -> None:
    site.rig.write_tokens()
    site.rig.start()
    site.start_agent()
    await site.until(lambda: site.link.session)
    token = site.rig.token()
    await site.link.tokens()
    device = site.rig.device(token).connect()
    assert await site.link.listen(["127.0.0.3"]) == []
    digest = (device.client.username or "").removeprefix("cwh_")
    await site.link.kick(digest)
    assert await asyncio.to_thread(device.farewells.get, timeout=PATIENCE) == 0x87
    first = site.link.session
    site.rig.kill_gate()
    await site.until(lambda: not site.link.session)
    site.rig.start_gate()
    await site.until(lambda: site.link.session not in ("", first))
    socket.create_connection(("127.0.0.3", site.rig.mqtt_port), PATIENCE).close()


async def test_nobody_is_sent_to_an_address_that_somebody_else_has(site: Site) -> None:
    """Whoever comes there tells its token to whoever listens."""
    here, bridge = "127.0.0.1", "127.0.0.4"
    assert site.link.unreached(here)
    site.rig.write_tokens()
    site.rig.start()
    site.start_agent()
    await site.until(lambda: not site.link.unreached(here))
    assert site.link.unreached(bridge)
    with socket.create_server((bridge, site.rig.mqtt_port)):
        (failed,) = await site.link.listen([bridge])
        assert failed.startswith(f"{bridge}: ")
        assert site.link.unreached(bridge)
        assert not site.link.unreached(here)
    assert await site.link.listen([bridge]) == []
    await site.until(lambda: not site.link.unreached(bridge))
    site.rig.kill_gate()
    await site.until(lambda: site.link.unreached(here))
    with socket.create_server((bridge, site.rig.rest_port)):
        site.rig.start_gate()
        await site.until(lambda: not site.link.unreached(here))
        assert site.link.unreached(bridge)


@pytest.mark.guarantee("G4")
async def test_a_gate_whose_ports_nobody_can_hold_serves_who_is_there(site: Site) -> None:
    """Only who is not there yet waits for that."""
    can_hold: list[bool] = []

    async def hold(descriptors: list[int]) -> None:
        await held_by_nobody(descriptors)
        if not can_hold:
            raise Transient("no keeper answers")

    token = site.rig.token()
    site.rig.start()
    site.hold = hold
    site.start_agent()
    device = site.rig.device(token).connect()
    mid = device.publish(EVENT, "heard", 1)
    assert await acknowledged(device) == mid
    assert site.link.unreached("127.0.0.1")
    can_hold.append(True)
    await site.until(lambda: not site.link.unreached("127.0.0.1"))


def test_a_cursor_reads_in_bounds_and_over_files_that_go(tmp_path: Path) -> None:
    ticks: queue.SimpleQueue[int] = queue.SimpleQueue()
    writer = journal.Journal(str(tmp_path), bytes(16), 2**25, (ticks.qsize, ticks.qsize))
    for _ in range(7):
        writer.append(0, 1, "t", b"x" * 900_000)
    cursor = Cursor(tmp_path, bytes(16).hex(), 0)
    assert [entry.n for entry in cursor.batch()] == [1, 2, 3, 4, 5]
    writer.discard(5)
    assert [entry.n for entry in cursor.batch()] == [6, 7]
    writer.discard(7)
    assert cursor.batch() == []
    for _ in range(600):
        writer.append(0, 1, "t", b"x")
    assert [len(cursor.batch()) for _ in range(3)] == [500, 100, 0]
    resumed = Cursor(tmp_path, bytes(16).hex(), 550)
    assert [entry.n for entry in resumed.batch()] == list(range(551, 608))
    writer.close()
    cursor.remove()
    assert sessions(tmp_path) == []


def test_a_file_that_is_none_of_a_journal_does_not_hide_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = journal.Journal(str(tmp_path), bytes(16), 2**25, (lambda: 1, lambda: 1))
    for _ in range(3):
        writer.append(0, 1, "t", b"x" * 900_000)
    writer.close()
    session = bytes(16).hex()
    (tmp_path / f"{session}-1").write_bytes(b"nothing of a journal")
    cursor = Cursor(tmp_path, session, 0)
    assert [entry.n for entry in cursor.batch()] == [1, 3]
    assert cursor.batch() == []
    assert (tmp_path / f"{session}-1.bad").read_bytes() == b"nothing of a journal"
    assert "set aside" in caplog.text
    cursor.remove()
    assert sessions(tmp_path) == []
