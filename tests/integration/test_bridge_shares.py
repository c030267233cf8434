"""One driver that publishes more than the node can keep: it waits at the gate, and what others publish is kept."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.bridge_rig import agent
from tests.gate_rig import OWN, PATIENCE, Device, GateRig

from skerry.core.cyberwave.gathering import SHARE_FULL
from skerry.core.cyberwave.intake import Rules
from skerry.core.cyberwave.recordings import Recording
from skerry.gate import packets

pytestmark = pytest.mark.timeout(180)
TWIN = f"cyberwave/twin/{OWN}"
EVENT, STATE, DEPTH = f"{TWIN}/event", f"{TWIN}/state", f"{TWIN}/depth"
KEEP = 2_000_000
NOBODY_HEARD = 0x10
LARGE = "x" * 20_000


@pytest.fixture
def rig(short_dir: Path, memory_dir: Path) -> Iterator[GateRig]:
    with GateRig(short_dir, memory_dir) as rig:
        yield rig


@pytest.mark.guarantee("G4")
async def test_who_fills_the_store_is_held_and_others_are_kept(
    rig: GateRig, short_dir: Path
) -> None:
    greedy = rig.token("greedy", workload="arm")
    modest = rig.token("modest", workload="wrist", n=3)
    rig.start()
    flooding, calm = rig.device(greedy).connect(), rig.device(modest).connect()
    async with agent(rig, short_dir / "node", keep=KEEP) as one:
        refused = 0
        for _ in range(KEEP // len(LARGE)):
            flooding.publish(EVENT, LARGE, 1)
            _, code = await asyncio.to_thread(flooding.acks.get, timeout=PATIENCE)
            refused += code == packets.QUOTA_EXCEEDED
        kept = len(one.values(EVENT))
        assert refused == KEEP // len(LARGE) - kept > 0
        assert kept * len(LARGE) < KEEP * 0.75
        await one.until(lambda: one.told)
        for number in range(10):
            calm.publish(EVENT, f"of wrist {number}", 1)
            _, code = await asyncio.to_thread(calm.acks.get, timeout=PATIENCE)
            assert code in (0, 0x10)
        assert [value for value in one.values(EVENT) if value != LARGE] == [
            f"of wrist {number}" for number in range(10)
        ]
        assert one.told == ["arm"]
        flooding.publish(EVENT, "without an acknowledgement")
        flooding.publish(EVENT, "with one", 1)
        told = [await asyncio.to_thread(flooding.acks.get, timeout=PATIENCE) for _ in range(2)]
        assert [code for _, code in told] == [0, packets.QUOTA_EXCEEDED]  # 0: it is sent
        assert one.all("gap") == []
        one.node.records.acknowledge("event", one.node.records.head("event").n)
        await one.until(lambda: one.all("gap"))
        gaps = [(each.source, each.name, each.value, each.meta["cause"]) for each in one.all("gap")]
        assert gaps == [("arm", EVENT, 1, SHARE_FULL)]
        flooding.publish(EVENT, "again")
        await one.until(lambda: "again" in one.values(EVENT))
        assert one.told == ["arm"]


@pytest.mark.guarantee("G4")
async def test_who_fills_the_room_for_files_is_held_and_others_are_kept(
    rig: GateRig, short_dir: Path
) -> None:
    greedy = rig.token("greedy", workload="arm")
    modest = rig.token("modest", workload="wrist", n=3)
    rig.start()
    flooding, calm = rig.device(greedy).connect(), rig.device(modest).connect()
    rules = Rules(record={"cyberwave/*/*/depth": Recording("file", 0.0)})
    numbers = itertools.count()

    async def publish(device: Device) -> int:
        device.publish(DEPTH, b"%100000d" % next(numbers), 1)
        return (await asyncio.to_thread(device.acks.get, timeout=PATIENCE))[1]

    async with agent(rig, short_dir / "node", rules=rules, files=KEEP) as one:
        while await publish(flooding) != packets.QUOTA_EXCEEDED:
            pass
        assert KEEP * 0.6 < len(one.all("file")) * 100_000 < KEEP * 0.9
        assert [await publish(calm) for _ in range(2)] == [NOBODY_HEARD] * 2
        assert [each.source for each in one.all("file")[-2:]] == ["wrist"] * 2
        flooding.publish(DEPTH, b"unasked")
        await one.until(lambda: one.all("gap"))
        [gap] = one.all("gap")
        assert (gap.source, gap.value, gap.meta["cause"]) == ("arm", 1, SHARE_FULL)
        await asyncio.to_thread(flooding.acks.get, timeout=PATIENCE)
        one.node.records.acknowledge("event", one.node.records.head("event").n)
        while await publish(flooding) == packets.QUOTA_EXCEEDED:
            pass
        assert one.told == ["arm"]


async def test_what_settings_keep_of_who_is_held_is_left_out_and_counted(
    rig: GateRig, short_dir: Path
) -> None:
    greedy = rig.token("greedy", workload="arm")
    rig.start()
    flooding = rig.device(greedy).connect()
    rules = Rules(record={"cyberwave/*/*/state": Recording("keep", 0.0)})
    async with agent(rig, short_dir / "node", keep=KEEP, rules=rules) as one:
        sent = 0

        def stored() -> int:
            return one.values(STATE).count(LARGE)

        while not one.told:
            for _ in range(10):
                flooding.publish(STATE, LARGE)
            sent += 10
            await one.until(lambda: one.told or stored() == sent)  # noqa: B023 - it is waited for here
        flooding.publish(STATE, "late")

        def left_out() -> int:
            return sum(int(str(each.value)) for each in one.all("gap"))

        await one.until(lambda: stored() + left_out() == sent + 1)
        assert left_out() > 0
        assert {each.meta["cause"] for each in one.all("gap")} == {SHARE_FULL}
        assert stored() * len(LARGE) < KEEP * 0.8
