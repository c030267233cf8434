"""Runs the device's own command for the device nodes of drivers, on macOS; elsewhere containers have the nodes themselves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from skerry.core.cyberwave.bridge_command import SECONDS, Wanted, applied, command, resolved, wanted
from skerry.core.cyberwave.knobs import knobs_of
from skerry.kit.errors import Refused
from skerry.node.drivers.device import Device
from skerry.node.drivers.plans import DriverPlan

Run = Callable[[Sequence[str]], Awaitable[str]]

SYSTEM = "darwin"

_SHOWN = 400


class Bridges:
    """Each command is run once for each twin, device node and agent; one that has failed is run again when it is next asked for.

    `run` returns what a command has printed, and raises Refused where it fails.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._found: dict[tuple[str, ...], str] = {}

    async def bridged(self, plan: DriverPlan, device: Device) -> DriverPlan:
        """The driver with its devices where they are. Raises InvalidInput, Refused: then it must not be started."""
        knobs = knobs_of(device.config.variables)
        if device.system != SYSTEM or not knobs.bridge_command or plan.driver.command:
            return plan
        found: dict[Wanted, str] = {}
        for node in wanted(plan.options, camera=plan.camera):
            words = command(
                knobs.bridge_command,
                node,
                twin=plan.twin,
                container=plan.name,
                directory=str(device.directory),
            )
            if tuple(words) not in self._found:
                self._found[tuple(words)] = await self._run(words)
            found[node] = resolved(self._found[tuple(words)], node)
        options, variables = applied(plan.options, found, strip=knobs.strip_video_devices)
        return replace(plan, options=options, variables=variables | dict(plan.variables))


async def run_command(words: Sequence[str], seconds: float = SECONDS) -> str:
    """Runs it with the agent's environment, so long at most; as `Bridges` wants it."""
    cannot = f"cannot run the bridge for its device («{words[0]}»)"
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise Refused(f"{cannot}: {error.strerror}") from error
    try:
        async with asyncio.timeout(seconds):
            printed, problem = await process.communicate()
    except TimeoutError:
        raise Refused(f"{cannot}: it did not end within {seconds:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        words_of_it = problem.decode(errors="replace").strip()[-_SHOWN:]
        raise Refused(f"{cannot}: it ended with {process.returncode}: {words_of_it}")
    return printed.decode(errors="replace")
