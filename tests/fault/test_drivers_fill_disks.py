"""Drivers that fill the disk of node and engine, each in its own way: they are stopped, and every record is taken and arrives once."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.container_site import state
from tests.driver_site import drivers
from tests.engines import NAMES, PYTHON_CHANGES, TestEngine, image_archive, import_image, running
from tests.full_disk import Feeder, check_each_once
from tests.installation import sleeper
from tests.small_disk import free_bytes

from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(240)

HOG = "localhost/skerry-test-hog:latest"
PROGRAM = """
import os, signal, sys, time
signal.signal(15, lambda *_: None)
where = os.environ["WHERE"]
file = os.open(where, os.O_CREAT | os.O_WRONLY)
if os.environ["NAMELESS"] == "yes":
    os.unlink(where)
print("writing", flush=True)
while True:
    try:
        os.write(file, bytes(1 << 20))
    except OSError:
        pass
    time.sleep(0.01)
"""

WAYS = {
    "layer": ["-e", "WHERE=/hog", "-e", "NAMELESS=no"],
    "volume": ["-v", "/data", "-e", "WHERE=/data/hog", "-e", "NAMELESS=no"],
    "nameless": ["-e", "WHERE=/tmp/hog", "-e", "NAMELESS=yes"],
}


def hog(way: str) -> dict[str, Any]:
    entry = {"docker_image": HOG, "params": WAYS[way]}
    return {"name": way, "metadata": {"drivers": {"default": entry}}}


@contextlib.contextmanager
def same_disk(engine: TestEngine, directory: Path) -> Iterator[None]:
    """The node's directory is on the disk of the engine."""
    place = engine.root / "node"
    for each in (place, directory):
        each.mkdir(mode=0o700)
    subprocess.run(["mount", "--bind", str(place), str(directory)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@pytest.fixture(params=NAMES)
def small_engine(request: pytest.FixtureRequest) -> Iterator[TestEngine]:
    """An engine with a disk of 500 MB, and an image that fills it."""
    with running(request.param, root_megabytes=500) as engine:
        changes = f"&changes={quote('CMD ' + json.dumps(['python3', '-c', PROGRAM]))}"
        import_image(engine.socket, HOG, image_archive(), PYTHON_CHANGES + changes)
        yield engine


@pytest.mark.guarantee("G1")
@pytest.mark.guarantee("G4")
async def test_drivers_that_fill_the_disk_are_stopped_and_records_go_on(
    short_dir: Path, small_engine: TestEngine
) -> None:
    with same_disk(small_engine, short_dir / "n1"):
        async with drivers(short_dir, small_engine, image=HOG) as rig:
            site, hub = rig.site, rig.site.site.hub
            await site.join()
            await hub.apply(sleeper("feeder"))
            node = site.node
            await eventually(lambda: node.runs("feeder"), "the publisher runs")
            feeder = Feeder(node)
            await feeder.publish(100)
            twins = {way: await site.add_twin(hog(way)) for way in WAYS}
            await hub.kill()

            async def stopped(way: str) -> bool:
                await feeder.works()
                found = await state(node, site.driver(twins[way]))
                return (
                    found is not None and found.phase == "stopped" and "it holds" in found.message
                )

            for way in WAYS:
                await eventually(lambda way=way: stopped(way), f"«{way}» is stopped", 90)
            await eventually(lambda: not rig.containers(), "what they held is given back")
            await eventually(lambda: free_bytes(node.directory) > 64 << 20, "there is room")
            await eventually(feeder.works, "records are taken")
            await feeder.publish(1000)
            await hub.start()
            await check_each_once(site.site, node, feeder.accepted)

            async def told() -> bool:
                alerts = await site.alerts()
                kind = "edge_disk_saturation"
                return {one["twin_uuid"] for one in alerts if one["alert_type"] == kind} == {
                    *twins.values()
                }

            await eventually(told, "the hub has an alert of each")
