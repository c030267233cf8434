"""The stores are SIGKILLed while they rotate keys and others publish and edit: all is readable, the old keys are gone.

`make test` makes six deaths, `make soak` the issue's twenty and as many at every place; others fail each disk operation.
"""

import asyncio
import contextlib
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.integration.test_encrypted_store import ids_in_use
from tests.record_rig import held
from tests.sealed_node import edit, publish, sealed_node

from skerry.kit.errors import Transient
from skerry.testing.faulty_disk import FaultyDisk

LABELS = (
    "keys.write",
    "keys.copy",
    "keys.rows.before-commit",
    "keys.rows.after-commit",
    "keys.rows-sealed.after-commit",
    "keys.all-sealed",
    "segment.head",
    "segment.roll",
    "segment.rewrite-open",
    "segment.rewrite",
    "segment.rewrite-sync",
    "segment.rewritten",
    "segment.sync",
    "publish.synced",
    "state.put.after-commit",
)


@pytest.mark.guarantee("G1")
@pytest.mark.timeout(120)
async def test_six_deaths_during_rotation(tmp_path: Path) -> None:
    chance = random.Random(4)
    await live_through(tmp_path, chance.sample(LABELS, 6), chance)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("deaths", [20, 300])
async def test_many_deaths_during_rotation(tmp_path: Path, deaths: int) -> None:
    chance = random.Random(deaths)
    await live_through(tmp_path, chance.choices(LABELS, k=deaths), chance)


async def live_through(directory: Path, labels: Sequence[str], chance: random.Random) -> None:
    accepted = kept = -1
    seen: set[int] = set()
    async with sealed_node(directory) as node:
        for number in range(700):
            await edit(node, number)
        kept = 699
        for first in range(1, 2000, 100):
            await publish(node, first, 100)
        accepted = 2000
    for label in labels:
        seen |= ids_in_use(directory)
        accepted, kept = await _one_life(directory, label, chance.randint(1, 3), accepted, kept)
    async with sealed_node(directory) as node:
        assert node.store.rebuilt is None
        assert node.records.counters.lost == 0
        assert node.rotation
        await node.rotation.once()
        seen |= ids_in_use(directory)
        node.rotation.ask()
        await node.rotation.once()
        assert not ids_in_use(directory) & seen
        assert not any(key.retired for key in node.rotation.status().keys)
        found = [value for _, _, value in held(node.records)]
        assert len(set(found)) == len(found) >= accepted
        assert set(found) >= {f"value {number}" for number in range(1, accepted + 1)}
        rows = await node.store.state.rows("twin")
        assert len(rows) == min(kept + 1, 700)


async def _one_life(
    directory: Path, label: str, nth: int, accepted: int, kept: int
) -> tuple[int, int]:
    """Runs the stores until they kill themselves; returns what they were told last."""
    words = ("-m", "tests.sealed_node", str(directory), label, str(nth))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == -9, (label, errors.decode()[-3000:])
    for line in out.decode().splitlines():
        what, _, number = line.partition(" ")
        if what == "accepted":
            accepted = max(accepted, int(number))
        elif what == "kept":
            kept = max(kept, int(number))
    return accepted, kept


@pytest.mark.parametrize("on", [True, False], ids=["rotation", "switching-on"])
@pytest.mark.timeout(60)
async def test_whatever_operation_fails_the_next_try_ends_it(tmp_path: Path, *, on: bool) -> None:
    await fail_each(tmp_path, on_from_the_start=on, step=7)


@pytest.mark.soak
@pytest.mark.parametrize("on", [True, False], ids=["rotation", "switching-on"])
@pytest.mark.timeout(600)
async def test_every_operation_fails_once(tmp_path: Path, *, on: bool) -> None:
    await fail_each(tmp_path, on_from_the_start=on, step=1)


async def fail_each(tmp_path: Path, *, on_from_the_start: bool, step: int) -> None:
    for fail_at in range(1, 400, step):
        directory = tmp_path / str(fail_at)
        async with sealed_node(directory, on=on_from_the_start) as node:
            for number in range(4):
                await edit(node, number)
            await publish(node, 1, 300)
        disk = FaultyDisk()
        async with sealed_node(directory, disk=disk) as node:
            assert node.rotation
            disk.fail_after(fail_at)
            node.rotation.ask()
            done = False
            with contextlib.suppress(OSError, Transient):
                await node.rotation.once()
                done = True
            disk.heal()
            assert len(held(node.records)) == 300
            await node.rotation.once()
            assert len(await node.store.state.rows("twin")) == 4
        async with sealed_node(directory) as node:
            assert node.rotation
            assert not any(key.retired for key in node.rotation.status().keys)
            assert len(held(node.records)) == 300
            assert node.store.rebuilt is None
            assert len(node.instances.load()) == 4
        if done:
            return
    raise AssertionError("it never came to its end")
