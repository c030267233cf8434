"""The container engine goes away, comes back, dies and is restarted; its workloads and all others go on or come back."""

import asyncio
import os
import signal
from functools import partial
from pathlib import Path

import pytest
from tests.container_site import WAITS, another, box, says, state, with_engine
from tests.engines import TestEngine
from tests.installation import installation, sleeper

from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(180)


@pytest.mark.guarantee("G4")
@pytest.mark.parametrize("seconds", [3.0, pytest.param(60.0, marks=pytest.mark.soak)])
async def test_an_engine_that_is_out_of_reach_for_a_while(
    short_dir: Path, engine: TestEngine, seconds: float
) -> None:
    away = engine.socket.with_suffix(".away")
    async with installation(short_dir) as site:
        node = with_engine(site.node(), engine)
        await node.enrol(site.hub)
        await site.hub.apply(box("box", *WAITS), box("other", *WAITS), sleeper("native"))
        await node.start()
        await eventually(lambda: node.runs("box", "other", "native"), node.log.read_text())
        before = await node.pids()
        engine.socket.rename(away)
        os.kill(before["box"], signal.SIGKILL)
        os.kill(before["native"], signal.SIGKILL)
        await eventually(partial(another, node, "native", before["native"]), "nobody waits for it")
        await asyncio.sleep(seconds)
        away.rename(engine.socket)
        await eventually(partial(another, node, "box", before["box"]), "it runs again")
        found = await state(node, "box")
        assert found is not None
        assert found.exit is not None
        assert found.exit.signal == signal.SIGKILL
        assert (await node.pids())["other"] == before["other"]


@pytest.mark.guarantee("G2")
async def test_an_engine_that_comes_after_the_node(short_dir: Path, engine: TestEngine) -> None:
    away = engine.socket.with_suffix(".away")
    engine.socket.rename(away)
    try:
        async with installation(short_dir) as site:
            node = with_engine(site.node(), engine)
            await node.enrol(site.hub)
            await site.hub.apply(box("box", *WAITS), sleeper("native"))
            await node.start()
            await eventually(lambda: node.runs("native"), "the process runs")
            await eventually(
                partial(says, node, "box", "cannot reach the container engine at"), "it says why"
            )
            away.rename(engine.socket)
            await eventually(lambda: node.runs("box"), "it runs as soon as there is an engine")
    finally:
        if away.exists():
            away.rename(engine.socket)


@pytest.mark.guarantee("G3")
async def test_an_engine_that_is_killed_and_started_again(
    short_dir: Path, engine: TestEngine
) -> None:
    async with installation(short_dir) as site:
        node = with_engine(site.node(), engine)
        await node.enrol(site.hub)
        await site.hub.apply(box("box", *WAITS), sleeper("native"))
        await node.start()
        await eventually(lambda: node.runs("box", "native"), node.log.read_text())
        before = await node.pids()
        engine.kill()
        assert await node.runs("box", "native")
        engine.start()
        if engine.name == "docker":  # without live-restore its containers end with it
            again = partial(another, node, "box", before["box"])
            await eventually(again, "it runs again", 60)
        os.kill((await node.pids())["box"], signal.SIGKILL)
        await eventually(partial(another, node, "box", before["box"]), "it is watched again")
        assert (await node.pids())["native"] == before["native"]
