"""The power fails in the middle of anything that a node writes: database, segments, files and keys at the same instant.

A seed repeats a whole chain of cuts: `pytest "tests/fault/test_power_cuts.py::test_sixty_power_cuts[plain-2]"`.
`make test` makes 60 cuts, `make soak` 1,000 on a plain node and 1,000 on one that encrypts and rotates its keys.
"""

import random
from pathlib import Path

import pytest
from tests.power_rig import live_through
from tests.record_rig import held, make_engine, make_store, submission

from skerry.node.store.record_jobs import Free, Limits
from skerry.testing.power_cut import Volume
from skerry.testing.power_cut_disk import PowerCutDisk

MODES = pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])


@pytest.mark.guarantee("G1")
@pytest.mark.guarantee("G6")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(1, 4))
@MODES
async def test_sixty_power_cuts(memory_dir: Path, seed: int, *, sealed: bool) -> None:
    await live_through(memory_dir, seed, 10, sealed=sealed)


@pytest.mark.guarantee("G1")
async def test_a_database_that_was_being_made_is_made_anew(memory_dir: Path) -> None:
    """This seed's first cut leaves a rollback journal, which no reader may play back."""
    await live_through(memory_dir, 1026, 2, sealed=False)


async def test_a_seed_repeats_its_cuts(memory_dir: Path) -> None:
    first, second = memory_dir / "first", memory_dir / "second"
    first.mkdir()
    second.mkdir()
    cuts = [await live_through(place, 4, 3, sealed=True) for place in (first, second)]
    found = [[(cut.operation, cut.label, cut.fate) for cut in each] for each in cuts]
    assert found[0] == found[1]


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1000, 1050))
@MODES
async def test_two_thousand_power_cuts(memory_dir: Path, seed: int, *, sealed: bool) -> None:
    assert len(await live_through(memory_dir, seed, 20, sealed=sealed)) == 20


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize("seed", range(20))
async def test_freed_files_that_come_back_are_no_damage(memory_dir: Path, seed: int) -> None:
    """A cut could bring the oldest of two files back without the one after it: a hole where nothing was lost."""
    place = memory_dir / "before"
    place.mkdir()
    volume = Volume(place, random.Random(seed))
    engine = make_engine(place, disk=PowerCutDisk(volume), limits=Limits(segment=600, reserve=4096))
    engine.open()
    for number in range(1, 9):
        engine.commit([submission(number, "x" * 400)])
    engine.acknowledged["keep"] = 6
    engine.commit([Free("keep", 6)])
    volume.cut_after(1)
    engine.commit([submission(9, "after")])
    engine.close()
    assert volume.cut is not None
    after = memory_dir / "after"
    volume.cut.restore(after)
    store = make_store(after)
    await store.start()
    assert store.counters.lost == 0
    assert [counter for _, counter, _ in held(store)][-2:] in ([7, 8], [8, 9])
    await store.stop()
