"""A device of Cyberwave's beside edge-core's recorded figures: boot with and without a hub, memory, requests, restart, frames.

The reference is not run here: its figures were recorded once (two processors of the same kind, instant images).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from urllib.parse import quote

from tests.cyberwave_site import CyberwaveSite, contained
from tests.engines import PYTHON_CHANGES, TestEngine, image_archive, import_image, running
from tests.installation import BY_SECRET, free_port, installation

from bench import cyberwave_bus, rig
from bench.counting import CountedRequests, counted_socket
from bench.figures import Figure, summary
from bench.processes import alone_mb, pss_mb, rss_mb
from skerry.core.cyberwave.names import worker_container
from skerry.testing.waiting import eventually

IMAGE = "localhost/skerry-bench-cyberwave:latest"
_WAITS = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); signal.pause()"
BOOTS = 5
SETTLE = 15.0
IDLE = 60.0

CAMERA = {"name": "camera", "capabilities": {"sensors": [{"type": "rgb"}]}}


async def run(place: Path) -> list[Figure]:
    """Docker with one image that waits; the frames are last, with nothing beside them."""
    with running("docker") as engine:
        load_image(engine)
        figures = [*await _lives(engine, place / "a"), *await _with_router(engine, place / "b")]
    return [*figures, *cyberwave_bus.figures(place / "bus")]


def load_image(engine: TestEngine) -> None:
    """What starts at once and waits, whatever it is asked to do."""
    waits = json.dumps(["python3", "-c", _WAITS])
    changes = f"{PYTHON_CHANGES}&changes={quote(f'CMD {waits}')}"
    import_image(engine.socket, IMAGE, image_archive(), changes)


@contextlib.asynccontextmanager
async def _boat(
    place: Path, engine_socket: Path, *settings: str, **variables: str
) -> AsyncIterator[tuple[CyberwaveSite, CountedRequests, str]]:
    """A node whose requests to its hub are counted; it has one driver with one camera child, and a worker."""
    place.mkdir(parents=True)
    async with (
        installation(place, BY_SECRET) as found,
        CountedRequests("127.0.0.1", found.hub.port) as counted,
    ):
        site = CyberwaveSite(found, f"http://127.0.0.1:{counted.port}")
        site.variables |= {"CYBERWAVE_WORKER_IMAGE": IMAGE, **variables}
        for setting in (f"containers.socket={engine_socket}", *settings):
            site.node.options += ["--set", setting]
        site.sign_in()
        site.add_workers()
        [arm] = await site.join(contained(IMAGE))
        await site.add_twin(CAMERA | {"attach_to_twin_uuid": arm})
        await _all_up(site, arm)
        yield site, counted, arm


async def _all_up(site: CyberwaveSite, arm: str) -> None:
    names = (site.driver(arm), worker_container(site.environment))
    await eventually(lambda: site.node.runs(*names), f"{names} run", 60)


async def _lives(engine: TestEngine, place: Path) -> list[Figure]:
    async with (
        counted_socket(engine.socket, place.parent / "engine.sock") as asked,
        _boat(place, place.parent / "engine.sock") as (site, counted, arm),
    ):
        await asyncio.sleep(SETTLE)
        memory = await _memory(site, target=65.0, about="with broker and gate")
        counted.requests = asked.requests = 0
        await asyncio.sleep(IDLE)
        requests, calls = counted.requests, asked.requests
        restarts = [await _restart(site, arm) for _ in range(BOOTS)]
        online = [await _boot(site, arm) for _ in range(BOOTS)]
        await site.site.hub.kill()
        alone = [await _boot(site, arm) for _ in range(BOOTS)]
    return [
        _boot_figure("boot with the hub unreachable: agent's start → driver and worker run", alone, 10.0, "exits, with no driver"),
        _boot_figure("boot to running: one driver, one child, a worker, instant images", online, 2.0, "≈ 14 s"),
        _boot_figure("restart command at the hub → worker runs again", restarts, 2.0, "5.6 s. What a program takes to end comes on top: the SDK's driver and worker 1.0 s each, one after the other"),
        *memory,
        Figure("cyberwave", "requests to the hub in an idle minute", requests, "", target=2.0, note=f"over {IDLE:.0f} s, one driver and a worker. Reference: 14"),
        Figure("cyberwave", "requests to the engine in an idle minute", calls, "", target=0.0, note="as above. Reference: 28 processes of its command line"),
    ]  # fmt: skip


async def _boot(site: CyberwaveSite, arm: str) -> float:
    """Seconds from the agent's start, with nothing left of an earlier one, until driver and worker run."""
    await asyncio.sleep(3.0)  # until what runs hears that it is to end
    await site.power_off()
    await asyncio.sleep(1.0)
    started = time.monotonic()
    await site.node.start()
    await _all_up(site, arm)
    return time.monotonic() - started


async def _restart(site: CyberwaveSite, arm: str) -> float:
    """Seconds from the order at the hub until worker and driver run as other processes."""
    await asyncio.sleep(3.0)
    names = (site.driver(arm), worker_container(site.environment))
    before = await site.node.pids()

    async def again() -> bool:
        now = await site.node.pids()
        return all(now.get(name, before[name]) != before[name] for name in names)

    started = time.monotonic()
    order = asyncio.create_task(site.order("restart_edge_core"))
    await rig.until(again, 0.01)
    seconds = time.monotonic() - started
    assert (await order).state == "done"
    return seconds


def _boot_figure(name: str, times: Sequence[float], target: float, reference: str) -> Figure:
    note = f"{summary(times)}. Reference: {reference}"
    return Figure(
        "cyberwave", f"{name} (median)", statistics.median(times), "s", target=target, note=note
    )


async def _with_router(engine: TestEngine, place: Path) -> list[Figure]:
    port = free_port()
    settings = ("cyberwave.zenoh_router=true",)
    async with _boat(place, engine.socket, *settings, ZENOH_ROUTER_PORT=str(port)) as (site, _, _):
        await eventually(lambda: site.node.runs("cyberwave-zenoh"), "the router runs", 60)
        await asyncio.sleep(SETTLE)
        memory = await _memory(site, target=80.0, about="with broker, gate and Zenoh router")
        router = f"tcp/127.0.0.1:{port}"
        frames = await asyncio.to_thread(cyberwave_bus.figures, place / "bus", router)
        return [*memory, *frames]


async def _memory(site: CyberwaveSite, *, target: float, about: str) -> list[Figure]:
    status = await site.node.status()
    assert status is not None
    assert status.keeper_pid is not None
    ours = {
        each.workload: each.pid
        for each in status.workloads
        if each.pid and re.fullmatch(r"cyberwave-(broker|gate|zenoh)", each.workload)
    }
    pids = {"agent": rig.agent_pid(site.node), "keeper": status.keeper_pid, **ours}
    each = ", ".join(f"{name} {pss_mb(pid):.1f}" for name, pid in pids.items())
    rss = sum(map(rss_mb, pids.values()))
    return [
        Figure(
            "cyberwave",
            f"idle memory of all processes, {about}, nobody else mapping their files",
            alone_mb(pids.values()),
            "MB",
            target=target,
            note=f"as in «What a node costs». As PSS beside hub and bench: {each}. RSS added up {rss:.0f}; reference 178 RSS",
        )
    ]
