"""`skerry up`: a hub and a node in the foreground, for the first minute and for every day of trying things out.

    up ─┬─ hub   (process, hub.log)
        └─ node  (process, node.log) ── keeper ── workloads

`up_steps` starts them; Ctrl-C, SIGTERM or a closed terminal end workloads, node and hub, in this order.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from skerry.cli.children import Child, first_end
from skerry.cli.http import node_api
from skerry.cli.output import Form, standard_screen
from skerry.cli.progress import Progress
from skerry.cli.up_steps import HUB, NODE, Home, start
from skerry.cli.welcome import welcome
from skerry.hub.settings import find_settings as find_hub_settings
from skerry.hub.settings import hub_settings
from skerry.kit.errors import Refused, SkerryError
from skerry.kit.file_lock import Held, locked
from skerry.node.node_settings import NodeSettings
from skerry.node.settings import find_settings, node_settings
from skerry.wire.local import StopRequest

T = TypeVar("T")

END_SECONDS = 3.0
WORKLOADS_SECONDS = 120.0
"""Patience with workloads that use their grace period; a second Ctrl-C ends it."""


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("up")(up)


def up(
    hub_port: Annotated[
        int,
        typer.Option(
            min=1, max=65534, help="The hub's port on 127.0.0.1; nodes are served at the next one."
        ),
    ] = 8600,
    data_dir: Annotated[Path, typer.Option(help="Where hub and node keep everything.")] = Path(
        ".skerry"
    ),
) -> None:
    """Run a hub and a node here, the first time with sample workloads, until Ctrl-C."""
    hub = hub_settings(find_hub_settings(options={"data_dir": str(data_dir.absolute() / "hub")}))
    home = Home(data_dir.absolute(), hub_port, by_certificate=hub.nodes.by_certificate)
    settings = node_settings(find_settings(options={"data_dir": str(home.node_dir)}))
    with contextlib.ExitStack() as stack:
        try:
            home.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(locked(home.data_dir / "up.lock"))
        except Held as error:
            raise Refused(
                f"cannot start here: hub and node run on {home.data_dir} already (process {error.holder}). "
                "Press Ctrl-C there, or choose another directory with --data-dir."
            ) from error
        except OSError as error:
            raise Refused(f"cannot use {home.data_dir}: {error.strerror}") from error
        asyncio.run(_run(home, settings))


async def _run(home: Home, settings: NodeSettings) -> None:
    screen = standard_screen(Form.TABLE)
    children: dict[str, Child] = {}
    with _stop_signals() as stop, Progress(screen) as progress:
        try:
            started = await _unless(stop.asked, start(home, settings, children, progress))
            if started is not None:
                progress.pause()
                screen.write(welcome(home, started, sys.argv[0]))
                await _unless(stop.asked, _watch(children.values()))
        finally:
            if children:
                progress.step("ending workloads, node and hub")
            await _unless(stop.urged, _end(home, children, progress))
            for child in children.values():
                await child.end(0)


async def _watch(children: Iterable[Child]) -> None:
    raise await first_end(children)


async def _end(home: Home, children: dict[str, Child], progress: Progress) -> None:
    """Ends what runs, in order: workloads and node by the node's own stop, then the hub."""
    if NODE in children and children[NODE].runs:
        await _end_node(home, children[NODE], progress)
    if HUB in children:
        await children[HUB].end(END_SECONDS)


async def _end_node(home: Home, node: Child, progress: Progress) -> None:
    slow = asyncio.get_running_loop().call_later(
        END_SECONDS, progress.step, "waiting for workloads to end; Ctrl-C again ends the wait"
    )
    try:
        async with node_api(home.node_dir) as api:
            patient = api.patient(WORKLOADS_SECONDS)
            await patient.order("POST", "/v1/stop", StopRequest(workloads=True))
    except SkerryError:
        await node.end(END_SECONDS)  # it does not answer; its keeper and workloads outlive it
    else:
        await node.wait(END_SECONDS)
    finally:
        slow.cancel()


class _Stop:
    """The first signal asks to end in order, a second one urges."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.urged = asyncio.Event()

    def signal(self) -> None:
        (self.urged if self.asked.is_set() else self.asked).set()


@contextlib.contextmanager
def _stop_signals() -> Iterator[_Stop]:
    stop = _Stop()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, stop.signal)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`; None, with the work cancelled, when `event` comes first."""
    task = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        waiting.cancel()
        task.cancel()
        await asyncio.wait([task])
