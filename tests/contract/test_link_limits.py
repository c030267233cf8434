"""What a limited link carries, counted in a proxy: never more than the rate, and the high before the rest."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.model_cases import content, model
from tests.sync_rig import NodeRig

from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.pace import Pace
from skerry.node.models.download import Download
from skerry.node.store.record_jobs import Limits
from skerry.node.sync.connections import open_session
from skerry.node.sync.metering import Month
from skerry.node.sync.pace import untold
from skerry.node.sync.turns import LinkTurns
from skerry.node.sync.uplink import HttpUplink
from skerry.testing.chaos_proxy import ChaosProxy
from skerry.testing.fake_hub import NODE_ID, FakeHub
from skerry.testing.fake_hub_server import SECRET, serve_fake_hub
from skerry.testing.file_server import FileServer, serve_files
from skerry.testing.manual_clock import ManualClock
from skerry.testing.running_hub import running_hub
from skerry.testing.waiting import eventually
from skerry.wire.codec import decode
from skerry.wire.people import Rows
from skerry.wire.sync import Lane

A, B = "a" * 32, "b" * 32
ROOMY = Limits(reserve=0)


class Memory:
    """Facts of a node that has no store yet."""

    async def fact(self, _name: str) -> str | None:
        return None

    async def set_fact(self, name: str, value: str, *, durable: bool = True) -> None:
        raise AssertionError(f"{name}={value} ({durable}): without a cap nothing is counted")


class Limited:
    """A node whose every byte passes proxies that count. Time passes for its turns alone, in the test's hand.

    `held` says why only high priority goes.
    """

    def __init__(self, directory: Path, rate: int | None) -> None:
        self.rate = rate
        self.held = ""
        self.passed = 0.0
        self.stack = AsyncExitStack()
        self.proxies: list[ChaosProxy] = []
        self._directory = directory
        self.clock = ManualClock()
        month = Month(Memory(), None, self.clock, untold)
        self.turns = LinkTurns(rate, lambda: self.held, month, self.clock)

    async def to(self, port: int) -> str:
        proxy = await self.stack.enter_async_context(ChaosProxy("127.0.0.1", port))
        self.proxies.append(proxy)
        return f"http://127.0.0.1:{proxy.port}"

    async def node(self, port: int, node_id: str, secret: str) -> NodeRig:
        self.session = await self.stack.enter_async_context(open_session())
        url = await self.to(port)
        uplink = HttpUplink(self.session, url, node_id, secret, turns=self.turns)
        rig = NodeRig(self._directory, uplink, SystemClock(), limits=ROOMY, most=self.turns.piece)
        await rig.start()
        self.stack.push_async_callback(rig.stop)
        return rig

    @property
    def waiters(self) -> int:
        return len(self.turns._waiters)

    @property
    def allowed(self) -> float:
        """Bytes since the beginning: a second's burst, and the rate."""
        assert self.rate is not None
        return self.rate * self.passed + self.rate

    def moved(self) -> int:
        return sum(sum(proxy.forwarded.values()) for proxy in self.proxies)

    async def runs_dry(self, waiters: int = 1) -> None:
        """Returns when that many wait for their bytes, and nothing is on its way any more."""
        moved, still = -1, 0
        while still < 4:
            await asyncio.sleep(0.003)
            same = self.waiters >= waiters and self.moved() == moved
            moved, still = self.moved(), still + 1 if same else 0

    async def never_faster(self, before: int) -> None:
        """Lets time pass whenever everybody waits; what is seen is never above a second's burst and the rate since."""
        while True:
            await self.runs_dry()
            assert self.moved() - before <= self.allowed
            self.clock.advance(0.25)
            self.passed += 0.25


@pytest.mark.parametrize(
    ("rate", "size"),
    [
        pytest.param(100_000, 240_000, id="short"),
        pytest.param(
            1_000_000,
            20_000_000,
            id="20 MB at 1 MB a second",
            marks=[pytest.mark.soak, pytest.mark.timeout(600)],
        ),
    ],
)
async def test_the_counter_never_exceeds_rate_times_time_and_a_second(
    short_dir: Path, rate: int, size: int
) -> None:
    """Records to a real hub and a model from elsewhere at the same time, both over the one link."""
    blob = content(size // 2)
    async with (
        running_hub(short_dir / "hub") as hub,
        serve_files(FileServer({"/w": blob})) as files,
    ):
        limited = Limited(short_dir / "node", rate)
        async with limited.stack:
            enrolled = await hub.enrol("n1")
            port = int(hub.address.rpartition(":")[2])
            node = await limited.node(port, enrolled.node_id, enrolled.secret)
            url = f"{await limited.to(files.port)}/w"
            await _fill(node, A, "keep", size // 2)
            download = Download(
                limited.session, None, RealDisk(), Pace(None, SystemClock()), turns=limited.turns
            )
            before, file, part = limited.moved(), model("w", blob).files[0], short_dir / "part"
            watching = asyncio.create_task(limited.never_faster(before))
            node.sync_on()
            fetching = asyncio.create_task(download.fetch(url, file, part, lambda _: None))
            await eventually(
                lambda: watching.done() or (fetching.done() and _done(node)), "done", 500
            )
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            await fetching
            assert limited.moved() - before <= limited.allowed
            assert part.read_bytes() == blob
            assert limited.moved() > 0.9 * size / 2
            assert len(files.requests) >= size // 2 // limited.turns.piece
            answer = await limited.session.get(
                f"{hub.address}/api/v1/records?name=v&limit=10000", headers=hub.person
            )
            assert len(decode(await answer.read(), Rows, "rows").rows) == size // 2000


async def _fill(node: NodeRig, session: str, lane: Lane, size: int) -> None:
    """About so many bytes of records that hardly compress further than by half, ten in a batch."""
    for first in range(1, size // 1000 + 1, 10):
        await node.publish(session, first, 10, lane, noise=1000)


def _done(node: NodeRig) -> bool:
    return node.records.acknowledged("keep") == node.records.head("keep").n


@pytest.fixture
async def hub() -> AsyncIterator[tuple[FakeHub, int]]:
    hub = FakeHub()
    async with serve_fake_hub(hub) as port:
        yield hub, port


async def test_a_high_row_goes_before_a_backlog(short_dir: Path, hub: tuple[FakeHub, int]) -> None:
    """By the order at the hub, while two lanes wait that came before it."""
    fake, port = hub
    limited = Limited(short_dir / "node", 100_000)
    async with limited.stack:
        node = await limited.node(port, NODE_ID, SECRET)
        lanes: list[Lane] = ["keep", "sample"]
        for lane in lanes:
            await _fill(node, A if lane == "keep" else B, lane, 300_000)
        node.sync_on()
        await limited.runs_dry(waiters=2)
        before = len(fake.units)
        assert before > 2
        await node.publish("c" * 32, 1, 1, "event")
        # However long that takes: were it given time of the others' clock, one of them might go before it.
        await eventually(
            lambda: limited.waiters >= 3 or len(fake.units) > before, "it wants to go, or has gone"
        )
        while len(fake.units) == before:
            limited.clock.advance(0.005)  # far less than a unit of the others takes
            await asyncio.sleep(0.01)
        assert fake.units[before].lane == "event"
        assert not _done(node)  # else it proves nothing


async def test_critical_only_lets_events_and_wishes_pass(
    short_dir: Path, hub: tuple[FakeHub, int]
) -> None:
    fake, port = hub
    limited = Limited(short_dir / "node", None)
    limited.held = "the test says so"
    async with limited.stack:
        node = await limited.node(port, NODE_ID, SECRET)
        fake.write("assignment", "cam")
        await node.publish(A, 1, 3, "keep")
        await node.publish(B, 1, 3, "event")
        node.sync_on()
        await eventually(lambda: len(fake.records) == 3, "the events are there")
        await eventually(lambda: limited.waiters > 0, "the others wait")
        assert node.sync.connection is not None
        pull = node.sync.connection.pull
        await eventually(lambda: pull.counts.rounds > 0, "it has pulled")
        assert [row.id for row in await node.store.rows("assignment")] == ["cam"]
        status = await node.sync.status()
        assert status.result == "success"
        assert {unit.lane for unit in fake.units} <= {"event", "state"}
        limited.held = ""
        limited.turns._bell.ring()
        await eventually(lambda: len(fake.records) == 6, "the others follow")
