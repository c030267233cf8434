"""What clients publish becomes records, files and signs of life: by a real gate and broker into real stores, each message once."""

import asyncio
import base64
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.bridge_rig import Agent, agent
from tests.gate_rig import OWN, PATIENCE, Device, GateRig, held_by_nobody

from skerry.core.cyberwave.gathering import FULL, RATE
from skerry.core.cyberwave.intake import Rules
from skerry.core.cyberwave.recordings import Recording
from skerry.gate.journal import GAP
from skerry.node.broker.bridge import UNKNOWN
from skerry.node.broker.link import GateLink
from skerry.testing.manual_clock import ManualClock
from skerry.wire.files import read_reference

pytestmark = pytest.mark.timeout(180)
TWIN = f"cyberwave/twin/{OWN}"
EVENT, POSITION, DEPTH = f"{TWIN}/event", f"{TWIN}/position", f"{TWIN}/depth"


@pytest.fixture
def rig(short_dir: Path, memory_dir: Path) -> Iterator[GateRig]:
    with GateRig(short_dir, memory_dir) as rig:
        yield rig


def driver(rig: GateRig, token: str) -> Device:
    device = rig.device(token)
    device.client.reconnect_delay_set(1, 1)
    return device.connect()


def driven(rig: GateRig) -> Device:
    """A driver that is connected, with gate and broker."""
    token = rig.token()
    rig.start()
    return driver(rig, token)


async def captured(rig: GateRig, payload: bytes) -> None:
    async with asyncio.timeout(PATIENCE):
        while not any(entry.payload == payload for entry in rig.entries()):  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)


def is_acknowledged(device: Device, mid: int) -> bool:
    """With QoS 0, paho says so when it has sent a message."""
    return mid in {found for found, _ in list(device.acks.queue)}


async def test_each_kind_of_message_becomes_what_it_should(rig: GateRig, short_dir: Path) -> None:
    device = driven(rig)
    async with agent(rig, short_dir / "node") as one:
        joint = {"joint_name": "elbow", "joint_state": {"position": 0.5}, "source_type": "edge"}
        device.publish(POSITION, '{"position": {"x": NaN}}')
        device.publish(f"cyberwave/joint/{OWN}/update", json.dumps(joint))
        device.publish(EVENT, '{"what": "door"}')
        device.publish(f"{TWIN}/raw", b"\xff\0")
        device.publish(DEPTH, b"\x01" * 100_000)
        device.publish(f"{TWIN}/edge_health", b'{"type": "edge_health"}')
        device.publish(f"{TWIN}/command", b'{"status": "ok"}')
        device.publish(f"{TWIN}/webrtc-offer", b"{}")
        device.publish(EVENT, "last")
        await one.until(lambda: "last" in one.values(EVENT) and one.all("file"))
        found = {each.name: each for each in one.all() if each.value != "last"}
        assert {each.source for each in found.values()} == {"arm"}
        assert (found[POSITION].lane, found[POSITION].value) == (
            "sample",
            '{"position":{"x":null}}',
        )
        elbow = found[f"cyberwave/joint/{OWN}/elbow"]
        assert (elbow.lane, elbow.value, elbow.meta) == ("sample", 0.5, {"source_type": "edge"})
        assert (found[EVENT].lane, found[EVENT].kind) == ("event", "event")
        assert base64.b64decode(str(found[f"{TWIN}/raw"].value)) == b"\xff\0"
        assert (found[DEPTH].lane, found[DEPTH].kind) == ("event", "file")
        assert one.node.bytes_of(read_reference(found[DEPTH].value)) == b"\x01" * 100_000
        assert len(found) == 5
        assert one.heard.healths == [(OWN, b'{"type": "edge_health"}')]
        assert one.heard.replies == [(f"{TWIN}/command", b'{"status": "ok"}')]


@pytest.mark.guarantee("G1")
async def test_an_answer_comes_when_the_record_is_durable(rig: GateRig, short_dir: Path) -> None:
    device = driven(rig)
    mid = device.publish(EVENT, "acknowledged", 1)
    await captured(rig, b"acknowledged")
    assert not is_acknowledged(device, mid)
    async with agent(rig, short_dir / "node") as one:
        await one.until(lambda: is_acknowledged(device, mid))
        assert one.values(EVENT) == ["acknowledged"]


@pytest.mark.guarantee("G1")
async def test_every_message_arrives_once_wherever_agent_gate_and_broker_end(
    rig: GateRig, short_dir: Path
) -> None:
    token, chance = rig.token(), random.Random(7)
    rig.start()
    device = driver(rig, token)
    sent: list[str] = []

    def say(count: int) -> None:
        for _ in range(count):
            sent.append(f"{len(sent)} {'x' * chance.randrange(2000)}")
            device.publish(chance.choice([EVENT, f"{TWIN}/map_update"]), sent[-1])

    def arrived(one: Agent) -> list[str]:
        names = (EVENT, f"{TWIN}/map_update")
        return [str(each.value) for each in one.all() if each.name in names]

    for turn in range(8):
        async with agent(rig, short_dir / "node") as one:
            before = len(arrived(one))
            say(300)
            wanted = before + chance.randrange(300)
            await one.until(lambda: len(arrived(one)) >= wanted)  # noqa: B023 - called at once
        say(50)
        await captured(rig, sent[-1].encode())
        if turn % 4 == 1:
            rig.kill_gate()
            rig.start_gate()
        elif turn % 4 == 3:
            rig.kill_broker()
            rig.start_broker()
        else:
            continue
        assert await asyncio.to_thread(device.greetings.get, timeout=PATIENCE) == 0
    async with agent(rig, short_dir / "node") as one:
        await one.until(lambda: len(arrived(one)) >= len(sent))
        say(1)
        await one.until(lambda: sent[-1] in arrived(one))
        assert Counter(arrived(one)) == Counter(sent)
        assert arrived(one) == sent


async def test_what_comes_faster_is_counted_also_when_it_ends(
    rig: GateRig, short_dir: Path
) -> None:
    device = driven(rig)
    async with agent(rig, short_dir / "node") as one:
        for n in range(1000):
            device.publish(POSITION, b'{"n": %d}' % n)
        await one.until(lambda: _counted(one) == 1000)
        kept, gaps = one.all("measurement"), one.all("gap")
        assert gaps
        assert {(gap.name, gap.source, gap.meta["cause"]) for gap in gaps} == {
            (POSITION, "arm", RATE)
        }
        assert 40 <= len(kept) < 500


async def test_many_names_that_become_quiet_are_told_of_together(
    rig: GateRig, short_dir: Path
) -> None:
    device = driven(rig)
    rules = Rules(record={"*": Recording("sample", 0.001)})
    async with agent(rig, short_dir / "node", rules=rules) as one:
        for n in range(5):
            for name in range(60):
                device.publish(f"{TWIN}/n{name}", b"%d" % n)
        await one.until(lambda: sum(int(str(each.value)) for each in one.all("gap")) == 180)
        assert len(one.all("measurement")) == 120
        counters = [each.counter for each in one.all("gap")]
        assert counters == list(range(1, len(counters) + 1))


async def test_gaps_of_the_gate_are_records(short_dir: Path, memory_dir: Path) -> None:
    with GateRig(short_dir, memory_dir, limit=600_000) as rig:
        device = driven(rig)
        device.subscribe(POSITION)
        for _ in range(5):
            device.publish(POSITION, "x" * 60_000 + "y" * 40_000)
        await asyncio.to_thread(lambda: [device.hear() for _ in range(5)])
        assert len(rig.entries()) == 3
        async with agent(rig, short_dir / "node") as one:
            await one.until(lambda: _files_counted(one) == 5)
            gaps = one.all("gap")
            assert {each.name for each in gaps} == {POSITION}
            full = [each for each in gaps if each.meta["cause"] == "the gate's journal is full"]
            assert sum(int(str(each.value)) for each in full) == 2
            assert {each.meta["cause"] for each in gaps if each not in full} <= {RATE}
            assert not any(entry.flags & GAP and not entry.payload for entry in rig.entries())


def _files_counted(one: Agent) -> int:
    """The files that are there or were told of."""
    told = [int(each.meta.get("thinned", 0)) for each in one.all("file")]
    return len(told) + sum(told) + sum(int(str(each.value)) for each in one.all("gap"))


@pytest.mark.guarantee("G1")
async def test_an_agent_that_comes_late_finds_all_that_a_full_journal_held_back(
    short_dir: Path, memory_dir: Path
) -> None:
    with GateRig(short_dir, memory_dir, limit=600_000) as rig:
        device = driven(rig)
        sent = [f"{n} {'x' * 5000}" for n in range(300)]
        for each in sent:
            device.publish(EVENT, each)
        await captured(rig, sent[60].encode())
        async with agent(rig, short_dir / "node") as one:
            await one.until(lambda: len(one.values(EVENT)) >= len(sent))
            assert one.values(EVENT) == sent
            assert one.all("gap") == []


async def test_a_message_of_32_mib_arrives_whole(rig: GateRig, short_dir: Path) -> None:
    rig.limit = 64 * 1024 * 1024
    device = driven(rig)
    payload = random.Random(3).randbytes(1024 * 1024) * 31
    async with agent(rig, short_dir / "node") as one:
        mid = device.publish(DEPTH, payload, 1)
        await one.until(lambda: is_acknowledged(device, mid))
        [file] = one.all("file")
        assert one.node.bytes_of(read_reference(file.value)) == payload


async def test_without_room_samples_are_counted_and_events_wait(
    rig: GateRig, short_dir: Path
) -> None:
    device = driven(rig)
    async with agent(rig, short_dir / "node") as one:
        one.records.lanes = {"sample", "event"}
        for n in range(10):
            device.publish(POSITION, b'{"n": %d}' % n)
        await one.until(lambda: one.records.refused)
        mid = device.publish(POSITION, "waited for", 1)
        device.publish(EVENT, "kept")
        await captured(rig, b"kept")
        await one.until(lambda: one.records.refused > 2)
        assert not is_acknowledged(device, mid)
        one.records.lanes = {"event"}
        await one.until(lambda: "waited for" in one.values(POSITION))
        one.records.lanes = set()
        await one.until(lambda: is_acknowledged(device, mid))
        await one.until(lambda: "kept" in one.values(EVENT))
        await one.until(lambda: _counted(one) == 10)
        assert {each.meta["cause"] for each in one.all("gap")} <= {FULL}


def _counted(one: Agent) -> int:
    """The samples that are there or were told of."""
    told = sum(int(each.meta.get("thinned", 0)) for each in one.all("measurement"))
    here = len(
        [
            value
            for value in one.values(POSITION)
            if value != "waited for" and isinstance(value, str)
        ]
    )
    return here + told + sum(int(str(each.value)) for each in one.all("gap"))


async def test_a_file_without_room_is_counted_unless_somebody_waits_for_it(
    rig: GateRig, short_dir: Path
) -> None:
    device = driven(rig)
    async with agent(rig, short_dir / "node", limit=150_000) as one:
        device.publish(DEPTH, b"\1" * 100_000)
        await one.until(lambda: one.all("file"))
        device.publish(DEPTH, b"\2" * 100_000, 1)
        device.publish(EVENT, "behind it")
        await captured(rig, b"behind it")
        one.node.store.limit = 10**9
        await one.until(lambda: "behind it" in one.values(EVENT) and len(one.all("file")) == 2)
        one.node.store.limit = 150_000
        device.publish(f"{TWIN}/pointcloud", b"\3" * 100_000)
        device.publish(EVENT, "and on")
        await one.until(lambda: "and on" in one.values(EVENT))
        await one.until(lambda: one.all("gap"))
        assert [(each.name, each.value) for each in one.all("gap")] == [(f"{TWIN}/pointcloud", 1)]
        assert len(one.all("file")) == 2


async def test_what_an_ended_token_has_published_has_a_source(
    rig: GateRig, short_dir: Path
) -> None:
    token = rig.token("second", n=2)
    rig.start()
    device = driver(rig, token)
    device.publish(EVENT, "left behind")
    await captured(rig, b"left behind")
    async with agent(rig, short_dir / "node") as one:
        await one.until(lambda: "left behind" in one.values(EVENT))
        assert one.all()[0].source == UNKNOWN


async def test_a_new_agent_begins_where_the_gate_was_told(rig: GateRig, short_dir: Path) -> None:
    """Also where its store has forgotten who had published: other publishers have come since."""
    device = driven(rig)
    async with agent(rig, short_dir / "node") as one:
        mid = device.publish(EVENT, "once", 1)
        await one.until(lambda: is_acknowledged(device, mid))
    assert [entry.payload for entry in rig.entries()] == [b"once"]
    async with agent(rig, short_dir / "another") as one:
        device.publish(EVENT, "later")
        await one.until(one.all)
        assert one.values(EVENT) == ["later"]


async def test_samples_wait_for_others_and_nobody_waits_for_samples(
    rig: GateRig, manual_clock: ManualClock
) -> None:
    device = driven(rig)
    link = GateLink(rig.run, rig.journal, manual_clock, lambda _session: 0, held_by_nobody)
    keeping = asyncio.create_task(link.keep())
    batches = link.captured()

    async def after(payload: bytes) -> list[bytes]:
        """The next batch, in which this is the last."""
        coming = asyncio.ensure_future(anext(batches))
        await captured(rig, payload)
        while not coming.done() and payload == b"last sample":
            await asyncio.sleep(0.01)  # the link may be about to read it, or about to wait
            manual_clock.advance(0.5)
        return [entry.payload for entry in (await coming).entries]

    try:
        for n in range(3):
            device.publish(POSITION, b"%d" % n)
        device.publish(EVENT, "an event")
        assert await after(b"an event") == [b"0", b"1", b"2", b"an event"]
        device.publish(POSITION, "3")
        device.publish(POSITION, "waited for", 1)
        assert await after(b"waited for") == [b"3", b"waited for"]
        device.publish(POSITION, "4")
        device.publish(f"{TWIN}/command", "answer")
        assert await after(b"answer") == [b"4", b"answer"]
        device.publish(POSITION, "last sample")
        assert await after(b"last sample") == [b"last sample"]
    finally:
        keeping.cancel()
        link.close()
        await batches.aclose()  # type: ignore[attr-defined]
