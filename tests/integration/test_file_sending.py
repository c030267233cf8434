"""What a node sends when, to a real hub's rooms without the network between them."""

import asyncio
import random
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import delete
from tests.file_rig import FileRig, file_rig
from tests.hub_files import record
from tests.hub_rig import HubRig
from tests.model_cases import content, sha256

from skerry.hub.store.tables import file_content
from skerry.kit.clock import NS
from skerry.kit.errors import Refused, Transient
from skerry.kit.pace import Pace
from skerry.node.files import sending
from skerry.node.files.sending import FileSending, Parked, Way
from skerry.node.files.store import KEEP_SENT
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.files import FileManifest, FileRef, FileState

DATA = content(700_000)
SHA = sha256(DATA)


class DirectHub:
    """Implements `node.ports.FileHub` by calling the hub's room; `error` is what it answers instead."""

    def __init__(self, hub: HubRig, node_id: str) -> None:
        self._hub = hub
        self._node = node_id
        self.error: Exception | None = None
        self.forgets = False
        """What a file consists of, whenever bytes of it come."""
        self.pieces: list[tuple[str, int, int]] = []
        self.asked: list[int] = []

    async def file_state(self, sha256: str) -> FileState:
        self._check()
        return await self._hub.arrivals.state(self._node, sha256)

    async def offer_file(self, manifest: FileManifest) -> FileState:
        self._check()
        return await self._hub.arrivals.offer(self._node, manifest)

    async def send_file(self, sha256: str, start: int, data: bytes) -> FileState:
        self._check()
        self.pieces.append((sha256, start, len(data)))
        if self.forgets:
            return FileState(sha256, complete=False, manifest=True)
        return await self._hub.arrivals.take(self._node, sha256, start, data)

    async def files_held(self, sha256s: Collection[str]) -> set[str]:
        self._check()
        self.asked.append(len(sha256s))
        return set(await self._hub.arrivals.held(self._node, sha256s))

    def _check(self) -> None:
        if self.error is not None:
            raise self.error


class Site:
    """A node's files, a hub, and the test's hand on everything between them."""

    def __init__(self, rig: FileRig, hub: HubRig, node_id: str, clock: ManualClock) -> None:
        self.rig, self.hub, self.node_id, self.clock = rig, hub, node_id, clock
        self.to_hub = DirectHub(hub, node_id)
        self.connection = 1
        self._counter = 0
        self.pace = Pace(None, clock)
        self.sending = FileSending(
            rig.store, self.to_hub, Way(lambda: self.connection > 0, lambda: self.connection), self.pace, clock,
            random.Random(7), piece=100_000, parked=Parked(3, self._hear),
        )  # fmt: skip
        self.parked: list[tuple[str, str]] = []

    async def _hear(self, sha256: str, cause: str) -> None:
        self.parked.append((sha256, cause))

    async def give(self, data: bytes, *, arrives: bool = True) -> FileRef:
        ref = await self.rig.put(data, sha256(data))
        await self.rig.publish(ref)
        if arrives:
            self._counter += 1
            await record(self.hub, self.node_id, data, counter=self._counter)
            self.rig.acknowledged = self.rig.records.head("event").n
        return ref

    async def complete(self, data: bytes) -> bool:
        return bool(await self.hub.arrivals.held(self.node_id, [sha256(data)]))


@pytest.fixture
async def site(tmp_path: Path, manual_clock: ManualClock) -> AsyncIterator[Site]:
    async with at(tmp_path, manual_clock) as found:
        yield found


@asynccontextmanager
async def at(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Site]:
    hub = HubRig(f"sqlite:///{tmp_path / 'hub.db'}", clock)
    await hub.start()
    try:
        node = await hub.enrol()
        async with file_rig(tmp_path, clock=clock) as rig:
            yield Site(rig, hub, node.node_id, clock)
    finally:
        hub.stop()


async def test_a_file_is_sent_once(site: Site) -> None:
    await site.give(DATA)
    await site.sending.once()
    assert await site.complete(DATA)
    assert sum(size for _, _, size in site.to_hub.pieces) == len(DATA)
    assert site.rig.store.waiting(site.sending.problem).count == 0


async def test_its_record_goes_first(site: Site) -> None:
    await site.give(DATA, arrives=False)
    [row] = site.rig.store.rows.waiting(9)
    assert not site.sending._may_be_sent(row)
    await record(site.hub, site.node_id, DATA)
    site.rig.acknowledged = 1
    assert site.sending._may_be_sent(row)


async def test_a_cut_is_a_reason_and_no_end(site: Site) -> None:
    await site.give(DATA)
    site.to_hub.error = Transient("cannot reach hub: cut")
    await _tried_in_vain(site)
    assert site.sending.problem == "cannot reach hub: cut"


async def test_a_hub_that_begins_anew_is_asked_again_later_and_not_at_once(site: Site) -> None:
    await site.give(DATA)
    site.to_hub.forgets = True
    await _tried_in_vain(site)
    assert "the hub begins anew" in site.sending.problem
    assert len(site.to_hub.pieces) == 1
    site.to_hub.forgets = False
    await site.sending.once()
    assert await site.complete(DATA)


async def _tried_in_vain(site: Site) -> None:
    """It has a problem, and does not give up; the clock of its pauses stands still."""
    trying = asyncio.create_task(site.sending.once())
    await eventually(lambda: site.sending.problem != "", "it has a problem")
    assert not trying.done()
    trying.cancel()
    await asyncio.wait([trying])


async def test_one_that_is_refused_lets_the_others_pass(site: Site) -> None:
    await site.give(DATA)
    site.clock.advance(1)
    await site.give(b"small")
    site.to_hub.error = Refused("cannot take it: no")
    await site.sending.once()
    site.to_hub.error = None
    await site.sending.once()
    assert (await site.complete(DATA), await site.complete(b"small")) == (False, True)
    site.clock.advance(11)
    await site.sending.once()
    assert await site.complete(DATA)
    assert site.sending.problem == ""


async def test_one_that_is_refused_again_and_again_is_told_once_and_kept(site: Site) -> None:
    await site.give(DATA)
    site.to_hub.error = Refused("cannot take it: no")
    for _ in range(5):
        await site.sending.once()
        site.clock.advance(3601)
    assert site.parked == [(SHA, "cannot take it: no")]
    site.to_hub.error = None
    await site.sending.once()
    assert await site.complete(DATA)


async def test_where_the_link_is_limited_it_goes_in_pieces(site: Site) -> None:
    await site.give(DATA)
    await site.sending.once()
    assert await site.complete(DATA)
    assert max(size for _, _, size in site.to_hub.pieces) == 100_000


async def test_a_file_that_is_not_what_it_was_is_never_sent(site: Site) -> None:
    ref = await site.give(DATA)
    path = site.rig.directory / "files" / SHA[:2] / SHA[2:]
    damaged = bytearray(DATA)
    damaged[350_000] ^= 1
    path.write_bytes(damaged)
    await site.sending.once()
    assert site.to_hub.pieces == []
    assert site.rig.on_disk() == [f"{SHA}.damaged"]
    [(name, _, meta)] = site.rig.events
    assert (name, meta) == ("skerry.file.damaged", {"sha256": SHA, "size": len(DATA)})
    assert site.rig.store.rows.waiting(9) == []
    assert "on the disk it is" in site.rig.store.waiting("").problem
    assert await site.rig.put(DATA, SHA) == ref
    await site.sending.once()
    assert await site.complete(DATA)


@pytest.mark.guarantee("G1")
async def test_a_hub_that_was_put_back_gets_again_what_it_lost(site: Site) -> None:
    for data in (b"old", b"lost", DATA):
        await site.give(data)
        await site.sending.once()
        site.clock.advance(1)
    assert site.rig.store.rows.waiting(9) == []
    site.connection += 1
    await site.sending._compare()
    assert site.to_hub.asked == [1]
    for data in (b"lost", DATA):
        await site.hub.arrivals._execute(
            delete(file_content).where(file_content.c.sha256 == sha256(data))
        )
        await site.hub.file_blobs.remove(sha256(data))
    site.connection += 1
    await site.sending._compare()
    assert {row.sha256 for row in site.rig.store.rows.waiting(9)} == {sha256(b"lost"), SHA}
    for _ in range(2):
        await site.sending.once()
    assert await site.complete(DATA)
    assert await site.complete(b"lost")


async def put_back(site: Site, *lost: bytes) -> None:
    """The hub is that of before these contents came."""
    for data in lost:
        sha = sha256(data)
        await site.hub.arrivals._execute(delete(file_content).where(file_content.c.sha256 == sha))
        await site.hub.file_blobs.remove(sha)
    site.connection += 1


async def passed(site: Site, count: int = 1) -> None:
    """So many passes, however long they wait."""
    for _ in range(count):
        task = asyncio.create_task(site.sending.once())
        while not task.done():
            site.clock.advance(0.5)
            await asyncio.sleep(0.001)
        await task


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize("error", [Transient("cut"), Refused("not now")])
async def test_nothing_is_sent_before_the_hub_has_said_what_it_lacks(
    site: Site, error: Exception
) -> None:
    await site.give(DATA)
    await passed(site)
    await put_back(site, DATA)
    await site.give(b"next")
    held = site.to_hub.files_held

    async def no_answer(_sha256s: Collection[str]) -> set[str]:
        raise error

    site.to_hub.files_held = no_answer  # type: ignore[method-assign]
    await passed(site)
    assert not await site.complete(b"next")
    assert site.sending.problem == str(error)
    site.to_hub.files_held = held  # type: ignore[method-assign]
    await passed(site, 2)
    assert (await site.complete(DATA), await site.complete(b"next")) == (True, True)
    assert site.sending.problem == ""


@pytest.mark.guarantee("G1")
async def test_a_clock_that_was_set_changes_nothing(site: Site) -> None:
    for data, wrong in ((b"first", -30), (DATA, 0), (b"last", -30)):
        site.clock.jump_wall(wrong * 86_400)
        await site.give(data)
        await passed(site)
        site.clock.jump_wall(-wrong * 86_400)
    assert site.rig.store.evictable(safely=True) == 0
    assert await site.rig.store.evict(10**9, safely=True) == 0
    await put_back(site, b"first", b"last")
    await passed(site, 2)
    assert await site.complete(b"first")
    assert await site.complete(b"last")


@pytest.mark.guarantee("G1")
async def test_what_a_hub_got_while_it_was_put_back_hides_nothing(site: Site) -> None:
    await site.give(DATA)
    await passed(site)
    await site.give(b"on its way")
    send = site.to_hub.send_file

    async def send_to_another(sha256: str, start: int, data: bytes) -> FileState:
        await put_back(site, DATA)
        return await send(sha256, start, data)

    site.to_hub.send_file = send_to_another  # type: ignore[method-assign]
    await passed(site)
    site.to_hub.send_file = send  # type: ignore[method-assign]
    await passed(site, 2)
    assert await site.complete(DATA)
    assert await site.complete(b"on its way")


async def test_a_cut_while_it_says_what_it_lacks_begins_anew(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "MAX_ASKED", 1)
    contents = [b"one", b"two", b"three"]
    for data in contents:
        await site.give(data)
        await passed(site)
    await put_back(site, *contents)
    held, asked = site.to_hub.files_held, 0

    async def cut_at_the_third(sha256s: Collection[str]) -> set[str]:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise Transient("cut")
        return await held(sha256s)

    site.to_hub.files_held = cut_at_the_third  # type: ignore[method-assign]
    await passed(site, 4)
    for data in contents:
        assert await site.complete(data)


async def test_what_the_hub_may_have_let_go_itself_is_not_asked_for(site: Site) -> None:
    await site.give(DATA)
    await passed(site)
    site.clock.advance(KEEP_SENT / NS + 1)
    await put_back(site, DATA)
    assert await site.sending._compare()
    assert (site.to_hub.asked, site.rig.store.rows.waiting(9)) == ([], [])


async def test_a_cap_spreads_a_file_over_time(site: Site) -> None:
    site.pace.rate = 100_000
    await site.give(DATA)
    began = site.clock.monotonic_ns()
    task = asyncio.create_task(site.sending.once())
    while not task.done():
        site.clock.advance(0.1)
        await asyncio.sleep(0.001)
    assert (site.clock.monotonic_ns() - began) / 1e9 > 5
    assert max(size for _, _, size in site.to_hub.pieces) <= 100_000


@pytest.mark.guarantee("G1")
async def test_a_file_is_in_a_backup_only_when_a_later_record_is(site: Site) -> None:
    await site.give(DATA)  # its record arrives, and a backup is taken before its bytes do
    site.rig.backed_up = site.rig.records.head("event").n
    await site.sending.once()
    assert await site.complete(DATA)
    store = site.rig.store
    assert (store.evictable(safely=True), store.evictable(safely=False)) == (0, len(DATA))
    await site.give(b"later")
    site.rig.backed_up = site.rig.records.head("event").n
    assert store.evictable(safely=True) == len(DATA)
