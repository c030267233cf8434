"""The record store against a plain list: any order of publishing, retries, crashes that lose unsynced bytes,
failing operations, restarts, reboots and freeing."""

import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.record_rig import T0, held_by, make_engine, session

from skerry.kit.disk import RealDisk
from skerry.node.store.record_engine import RecordEngine
from skerry.node.store.record_jobs import Free, Limits, Submission
from skerry.testing.manual_clock import ManualClock
from skerry.wire.records import Published, Record, Value
from skerry.wire.sync import RECORD_LANES, Lane

LIMITS = Limits(segment=1_500, reserve=256)
LABELS = [
    "segment.append", "segment.sync", "segment.truncate", "segment.roll", "segment.open", "publish.synced",
]  # fmt: skip
Entry = tuple[str, int, Value]


class PowerCut(BaseException):
    """The machine stops within a disk operation."""


class LosingDisk(RealDisk):
    """Knows what was synced; stops at a chosen operation; loses or garbles what was not synced."""

    def __init__(self) -> None:
        self._paths: dict[int, Path] = {}
        self._synced: dict[Path, int] = {}
        self._stop_at = ""
        self._cut: Callable[[], BaseException] = PowerCut

    def stop_at(self, label: str, kind: Callable[[], BaseException]) -> None:
        self._stop_at, self._cut = label, kind

    def go_on(self) -> None:
        self._stop_at = ""

    def _step(self, label: str) -> None:
        if label == self._stop_at:
            self.go_on()
            raise self._cut()

    def open_append(self, label: str, path: Path) -> int:
        self._step(label)
        fd = super().open_append(label, path)
        self._paths[fd] = path
        self._synced.setdefault(path, path.stat().st_size)
        return fd

    def append(self, label: str, fd: int, data: bytes) -> None:
        if label == self._stop_at:  # the operation that fails has written a part
            super().append(label, fd, data[: len(data) // 2])
        self._step(label)
        super().append(label, fd, data)

    def sync(self, label: str, fd: int) -> None:
        self._step(label)
        super().sync(label, fd)
        path = self._paths[fd]
        self._synced[path] = path.stat().st_size

    def truncate(self, label: str, path: Path, size: int) -> None:
        self._step(label)
        super().truncate(label, path, size)
        self._synced[path] = size

    def write_atomic(self, label: str, path: Path, data: bytes, mode: int = 0o600) -> None:
        self._step(label)
        super().write_atomic(label, path, data, mode)
        self._synced[path] = len(data)

    def unlink(self, label: str, path: Path) -> None:
        self._step(label)
        super().unlink(label, path)
        self._synced.pop(path, None)

    def point(self, label: str) -> None:
        super().point(label)
        self._step(label)

    def lose(self, chance: random.Random) -> None:
        """After a power cut: of what was not synced, any part is there, and any byte of it may be wrong."""
        for path, synced in self._synced.items():
            data = path.read_bytes()
            kept = chance.choice([len(data), chance.randint(synced, len(data))])
            tail = bytearray(data[synced:kept])
            if tail and chance.random() < 0.5:
                tail[chance.randrange(len(tail))] ^= 0xFF
            path.write_bytes(data[:synced] + tail)
            self._synced[path] = synced + len(tail)


@settings(max_examples=60, stateful_step_count=40, deadline=None)
class RecordMachine(RuleBasedStateMachine):
    """`accepted` is the oracle: everything ever accepted, in order. `asked` waits for an answer."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.directory = Path(tempfile.mkdtemp(prefix="sk-machine-"))
        self.disk = LosingDisk()
        self.boots = 1
        self.accepted: dict[Lane, list[Entry]] = {lane: [] for lane in RECORD_LANES}
        self.counters = [0, 0, 0]
        self.asked: dict[int, Submission] = {}
        self.engine = self._opened()

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()
            shutil.rmtree(self.directory)

    @rule(
        who=st.sets(st.integers(0, 2), min_size=1),
        count=st.integers(1, 4),
        size=st.integers(0, 500),
        stop=st.none() | st.tuples(st.sampled_from(LABELS), st.sampled_from([PowerCut, OSError])),
    )
    def publish(
        self, who: set[int], count: int, size: int, stop: tuple[str, type[BaseException]] | None
    ) -> None:
        """A group of batches, new ones or those that were not answered; perhaps something happens within."""
        for each in who - self.asked.keys():
            self.asked[each] = self._batch(each, count, size)
        group = [self.asked[each] for each in sorted(who)]
        if stop is not None:
            self.disk.stop_at(*stop)
        try:
            results = self.engine.commit(group)
        except PowerCut:
            self._power_cut()
            return
        except OSError:
            results = []
        self.disk.go_on()
        self._take_note()
        for each, result in zip(sorted(who), results, strict=False):
            if isinstance(result, Published):
                del self.asked[each]

    @rule()
    def restart(self) -> None:
        self.engine.close()
        self.engine = self._opened()
        self._take_note()

    @rule()
    def reboot(self) -> None:
        self.boots += 1
        self.restart()

    @precondition(lambda self: hasattr(self, "engine"))
    @rule(lane=st.sampled_from(RECORD_LANES), share=st.floats(0, 1))
    def free(self, lane: Lane, share: float) -> None:
        head = self.engine.lanes[lane].view.head.n
        through = max(self.engine.acknowledged[lane], int(head * share))
        self.engine.acknowledged[lane] = through
        [freed] = self.engine.commit([Free(lane, head)])
        assert isinstance(freed, int)
        assert self.engine.lanes[lane].view.base.n <= through

    @invariant()
    def everything_accepted_is_there_once_and_in_order(self) -> None:
        if not hasattr(self, "engine"):
            return
        for lane in RECORD_LANES:
            base = self.engine.lanes[lane].view.base.n
            assert held_by(self.engine, lane) == self.accepted[lane][base:]
            numbers = [entry[:2] for entry in self.accepted[lane]]
            assert len(set(numbers)) == len(numbers)

    @invariant()
    def what_was_answered_is_accepted(self) -> None:
        if not hasattr(self, "engine"):
            return
        for who, last in enumerate(self.counters):
            open_from = self.asked[who].first if who in self.asked else last + 1
            there = {
                counter
                for entries in self.accepted.values()
                for name, counter, _ in entries
                if name == session(who)
            }
            assert set(range(1, open_from)) <= there

    def _opened(self) -> RecordEngine:
        clock = ManualClock(boot_id=f"boot-{self.boots}")
        engine = make_engine(self.directory, disk=self.disk, clock=clock, limits=LIMITS)
        engine.open()
        if hasattr(self, "engine"):
            engine.acknowledged = dict(self.engine.acknowledged)
        return engine

    def _power_cut(self) -> None:
        self.engine.close()
        self.disk.lose(self.chance)
        self.boots += 1
        self.engine = self._opened()
        self._take_note()

    def _take_note(self) -> None:
        """What a restart or a failure left: all that was accepted, and of what was asked some, in order."""
        for lane in RECORD_LANES:
            known = self.accepted[lane]
            base = self.engine.lanes[lane].view.base.n
            found = held_by(self.engine, lane)
            assert found[: len(known) - base] == known[base:]
            new = found[len(known) - base :]
            assert set(new) <= set(self._waiting(lane))
            known += new

    def _waiting(self, lane: Lane) -> list[Entry]:
        return [
            (str(batch.session), batch.first + record.offset, record.value)
            for batch in self.asked.values()
            for name, records in batch.parts
            if name == lane
            for record in records
        ]

    def _batch(self, who: int, count: int, size: int) -> Submission:
        first = self.counters[who] + 1
        self.counters[who] += count
        event = self.chance.random() < 0.2
        parts: dict[Lane, list[Record]] = {}
        for offset in range(count):
            lane: Lane = "event" if event else self.chance.choice(["keep", "sample"])
            value = f"{who}-{first + offset}-" + "x" * size
            parts.setdefault(lane, []).append(Record(offset, "n", T0, value))
        return Submission(
            "event" if event else "measurement",
            "test",
            session(who),
            first,
            T0,
            1,
            "synced",
            list(parts.items()),
        )


@pytest.mark.guarantee("G1")
@pytest.mark.timeout(120)
class TestRecordMachine(RecordMachine.TestCase):  # type: ignore[misc,name-defined]
    """Run by pytest."""
