"""The gate before a link, with time in the test's hand and a real store for what a month has used."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.sync_rig import NodeRig

from skerry.kit.clock import iso
from skerry.node.sync.metering import MONTHS, Metered, Month
from skerry.node.sync.pace import untold
from skerry.node.sync.turns import LinkTurns
from skerry.testing.fake_hub import FakeHub
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.records import Meta, Value
from skerry.wire.shared import Priority

RATE = 1000


@pytest.fixture
async def node(tmp_path: Path, manual_clock: ManualClock) -> AsyncIterator[NodeRig]:
    node = NodeRig(tmp_path / "node", FakeHub(), manual_clock)
    await node.start()
    yield node
    await node.stop()


class Told:
    """Hears the node's own events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Value]] = []

    async def tell(self, name: str, value: Value, _meta: Meta) -> None:
        self.events.append((name, value))


class Gate:
    """Turns whose waiters leave a mark when they have gone."""

    def __init__(self, turns: LinkTurns) -> None:
        self.turns = turns
        self.gone: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    def send(self, name: str, priority: Priority, size: int) -> asyncio.Task[None]:
        async def move() -> None:
            async with self.turns.turn(priority, size) as turn:
                self.gone.append(name)
                turn.note(size)

        self._tasks.append(asyncio.create_task(move(), name=name))
        return self._tasks[-1]

    async def has(self, *names: str) -> None:
        await eventually(lambda: self.gone == [*names], f"{names} have gone")

    async def waiting(self, count: int) -> None:
        await eventually(
            lambda: len(self.turns._waiters) == count,
            f"{count} wait",
        )

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def gate(
    node: NodeRig,
    clock: ManualClock,
    rate: int | None = RATE,
    held: str = "",
    cap: int | None = None,
) -> Gate:
    return Gate(LinkTurns(rate, lambda: held, Month(node.store, cap, clock, untold), clock))


async def test_bytes_are_waited_for_and_the_high_goes_first(
    node: NodeRig, manual_clock: ManualClock
) -> None:
    way = gate(node, manual_clock)
    way.send("burst", "low", 1000)
    await way.has("burst")
    way.send("low", "low", 500)
    way.send("medium", "medium", 500)
    await way.waiting(2)
    way.send("high", "high", 100)
    await way.waiting(3)
    manual_clock.advance(0.1)
    await way.has("burst", "high")
    manual_clock.advance(0.5)
    await way.has("burst", "high", "medium")
    manual_clock.advance(0.5)
    await way.has("burst", "high", "medium", "low")


async def test_who_gives_up_leaves_its_place_and_what_did_not_travel_is_given_back(
    node: NodeRig, manual_clock: ManualClock
) -> None:
    way = gate(node, manual_clock)
    async with way.turns.turn("high", 1000):
        task = way.send("given up", "high", 1000)
        way.send("next", "low", 1000)
        await way.waiting(2)
        task.cancel()
        await way.waiting(1)
    await way.has("next")  # nothing travelled in the turn before


@pytest.mark.parametrize("rate", [None, RATE])
async def test_critical_only_lets_the_high_through_and_nothing_else(
    node: NodeRig, manual_clock: ManualClock, rate: int | None
) -> None:
    way = gate(node, manual_clock, rate, held="so it is")
    way.send("low", "low", 10)
    way.send("medium", "medium", 10)
    await way.waiting(2)
    way.send("high", "high", 10)
    await way.has("high")
    for _ in range(5):
        manual_clock.advance(60)
        await asyncio.sleep(0.001)
    assert way.gone == ["high"]
    status = await way.turns.status()
    assert (status.only_high, status.waiting) == ("so it is", {"low": 1, "medium": 1})
    await way.close()


async def test_a_months_bytes_are_counted_over_restarts_and_end_with_the_month(
    node: NodeRig, manual_clock: ManualClock
) -> None:
    month = iso(manual_clock.wall_ns())[:7]
    first = gate(node, manual_clock, None, cap=1000)
    async with first.turns.turn("low", 700) as turn:
        turn.note(700)
    assert await node.store.fact(MONTHS) == f'{{"{month}":700}}'
    first.turns.note(100)  # a ping, for example: not yet written
    await first.turns.save()
    way = gate(node, manual_clock, None, cap=1000)
    way.send("fits", "low", 250)
    await way.has("fits")
    way.send("waits", "low", 10)
    await way.waiting(1)
    way.send("high", "high", 10)
    await way.has("fits", "high")
    status = await way.turns.status()
    assert (status.month, status.used, status.cap) == (month, 1060, 1000)
    assert status.only_high.startswith("the 1 KB of ")
    while "waits" not in way.gone:
        manual_clock.advance(86_400)
        await asyncio.sleep(0.001)
    assert iso(manual_clock.wall_ns())[:7] > month


async def test_few_writes_for_many_units(node: NodeRig, manual_clock: ManualClock) -> None:
    written: list[str] = []

    class Facts:
        async def fact(self, name: str) -> str | None:
            return await node.store.fact(name)

        async def set_fact(self, name: str, value: str, *, durable: bool = True) -> None:
            assert (name, durable) == (MONTHS, False)
            written.append(value)

    turns = LinkTurns(None, lambda: "", Month(Facts(), 10**9, manual_clock, untold), manual_clock)
    for _ in range(100):
        async with turns.turn("low", 1000) as turn:
            turn.note(1000)
        manual_clock.advance(1)
    assert len(written) == 4


async def test_most_of_a_month_is_told_once_and_all_of_it_too(
    node: NodeRig, manual_clock: ManualClock
) -> None:
    told = Told()
    month = Month(node.store, 1000, manual_clock, told.tell)
    turns = LinkTurns(None, lambda: "", month, manual_clock)
    for _ in range(12):
        async with turns.turn("high", 100) as turn:
            turn.note(100)
    assert [name for name, _ in told.events] == ["skerry.sync.cap"] * 2
    assert [str(value)[:5] for _, value in told.events] == ["80 % ", "100 %"]
    again = Month(node.store, 1000, manual_clock, told.tell)
    await turns.save()
    await again.load()
    again.add(1)
    await again.keep()
    assert len(told.events) == 2


ROUTES = """Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
wwan0\t00000000\t0100A8C0\t0003\t0\t0\t700\t00000000\t0\t0\t0
{wired}wwan0\t0000A8C0\t00000000\t0001\t0\t0\t700\t00FFFFFF\t0\t0\t0
"""
WIRED = "eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"


@pytest.mark.parametrize(
    ("setting", "wired", "cause"),
    [
        ("auto", "", "the link is metered: wwan0 is a cellular modem"),
        ("auto", WIRED, ""),
        ("no", "", ""),
        ("yes", WIRED, "the link is metered (sync.network.metered)"),
    ],
)
def test_a_modem_is_metered_while_the_way_out_leads_over_it(
    tmp_path: Path, manual_clock: ManualClock, setting: str, wired: str, cause: str
) -> None:
    for device, kind in (
        ("wwan0", "DEVTYPE=wwan\nINTERFACE=wwan0\n"),
        ("eth0", "INTERFACE=eth0\n"),
    ):
        (tmp_path / "sys/class/net" / device).mkdir(parents=True)
        (tmp_path / "sys/class/net" / device / "uevent").write_text(kind)
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/route").write_text(ROUTES.format(wired=wired))
    assert Metered(setting, manual_clock, tmp_path).cause() == cause


def test_a_machine_without_routes_is_not_metered(tmp_path: Path, manual_clock: ManualClock) -> None:
    metered = Metered("auto", manual_clock, tmp_path)
    assert metered.cause() == ""
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/route").write_text("Iface\tDestination\n")
    manual_clock.advance(60)
    assert metered.cause() == ""
