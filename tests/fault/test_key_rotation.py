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
from tests.canary import ids_in_use, keys_of_blobs
from tests.model_cases import sha256
from tests.record_rig import held
from tests.sealed_node import (
    FIRST,
    again,
    download,
    edit,
    file_number,
    publish,
    sealed_node,
    upload,
)

from skerry.kit.errors import Transient
from skerry.testing.faulty_disk import FaultyDisk
from skerry.wire.files import FileRef

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
    "file.open",
    "file.append",
    "file.sync",
    "file.keep",
    "file.put.after-commit",
    "file.renew",
    "publish.synced",
    "state.put.after-commit",
)


@pytest.mark.guarantee("G1")
@pytest.mark.timeout(120)
async def test_six_deaths_during_rotation(tmp_path: Path) -> None:
    chance = random.Random(4)
    labels = [*chance.sample(LABELS[:-8], 3), *chance.sample(LABELS[-8:], 3)]
    await live_through(tmp_path, labels, chance)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("deaths", [20, 300])
async def test_many_deaths_during_rotation(tmp_path: Path, deaths: int) -> None:
    chance = random.Random(deaths)
    await live_through(tmp_path, chance.choices(LABELS, k=deaths), chance)


async def live_through(directory: Path, labels: Sequence[str], chance: random.Random) -> None:
    told = {"accepted": 2000, "kept": 699, "uploaded": FIRST - 1}
    seen: set[int] = set()
    async with sealed_node(directory) as node:
        for number in range(700):
            await edit(node, number)
        for first in range(1, 2000, 100):
            await publish(node, first, 100)
        for number in range(FIRST):
            await upload(node, file_number(number))
    for label in labels:
        seen |= ids_in_use(directory) | keys_of_blobs(directory)
        await _one_life(directory, label, chance.randint(1, 3), told)
    async with sealed_node(directory) as node:
        assert node.store.rebuilt is None
        assert node.records.counters.lost == 0
        assert node.rotation
        await node.rotation.once()
        seen |= ids_in_use(directory) | keys_of_blobs(directory)
        node.rotation.ask()
        await node.rotation.once()
        assert not (ids_in_use(directory) | keys_of_blobs(directory)) & seen
        assert not any(key.retired for key in node.rotation.status().keys)
        found = [value for _, _, value in held(node.records)]
        assert len(set(found)) == len(found) >= told["accepted"]
        assert set(found) >= {f"value {number}" for number in range(1, told["accepted"] + 1)}
        rows = await node.store.state.rows("twin")
        assert len(rows) == min(told["kept"] + 1, 700)
        for number in {again(number) for number in range(told["uploaded"] + 1)}:
            data = file_number(number)
            assert await download(node, FileRef(sha256(data), len(data))) == data
        assert not list(directory.glob("files/??/*.*"))


async def _one_life(directory: Path, label: str, nth: int, told: dict[str, int]) -> None:
    """Runs the stores until they kill themselves; notes what they told last."""
    words = ("-m", "tests.sealed_node", str(directory), label, str(nth))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(300):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == -9, (label, errors.decode()[-3000:])
    for line in out.decode().splitlines():
        what, _, number = line.partition(" ")
        told[what] = max(told[what], int(number))


@pytest.mark.parametrize("on", [True, False], ids=["rotation", "switching-on"])
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
            refs = [await upload(node, file_number(number)) for number in range(2)]
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
            await node.files.renew()
            assert [await download(node, ref) for ref in refs] == [file_number(0), file_number(1)]
            assert not list(directory.glob("files/??/*.*"))
        if done:
            return
    raise AssertionError("it never came to its end")
