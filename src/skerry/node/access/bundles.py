"""Diagnostics bundles that the hub asks for: made by a process of its own, carried as they come, on no disk.

That process is the same as `skerry node diagnostics`, which masks what must not be read; the agent looks at none of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Sequence
from pathlib import Path

from skerry.kit.errors import Refused, Transient
from skerry.kit.one_line import one_line
from skerry.node.access.entering import CUT, Audit, deed_of, entered, said
from skerry.node.channel_port import ServedChannel
from skerry.wire.bundles import LONGEST, MOST_BYTES

_READ = 32 * 1024
_WORDS = 4096


def diagnostics_command(data_dir: Path, configs: Sequence[Path]) -> list[str]:
    """What writes a bundle of the node in this directory to its standard output, and ends when this process does."""
    python = [sys.executable, "-P", "-m"]
    words = [*python, "skerry.cli.tied", *python, "skerry.cli.main", "node", "diagnostics"]
    words += ["--to", "-", "--data-dir", str(data_dir)]
    return words + [word for path in configs for word in ("--config", str(path))]


class Bundles:
    """Serves channels of kind «diagnostics», one at a time. `held` says why no bytes may travel, or nothing."""

    def __init__(self, command: Sequence[str], held: Callable[[], str], audit: Audit) -> None:
        self._audit = audit
        self._command = command
        self._held = held
        self._busy = False

    async def serve(self, channel: ServedChannel) -> None:
        """Until the bundle is sent. Raises Refused, and Transient when it takes too long."""
        deed = deed_of(channel, "fetch_diagnostics", "")
        refusal = self._refusal()
        if refusal is not None:
            await self._audit.refused(said(deed, str(refusal)), 409)
            raise refusal
        self._busy = True
        try:
            async with entered(self._audit, deed, when_closed=CUT):
                await self._in_time(channel)
        finally:
            self._busy = False

    def _refusal(self) -> Refused | None:
        held = self._held()
        if held:
            return Refused(
                f"cannot make a diagnostics bundle: only high priority goes over the link now: {held}"
            )
        if self._busy:
            return Refused(
                "cannot make a diagnostics bundle: the node is making one for somebody. Try again in a minute."
            )
        return None

    async def _in_time(self, channel: ServedChannel) -> None:
        try:
            async with asyncio.timeout(LONGEST):
                await self._serve(channel)
        except TimeoutError as error:
            raise Transient(
                f"cannot make a diagnostics bundle: it took more than {LONGEST:.0f} s"
            ) from error

    async def _serve(self, channel: ServedChannel) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
        words = asyncio.ensure_future(_last_words(process))
        try:
            await channel.accept()
            await _carry(process, channel)
            if await process.wait():
                raise Refused(f"cannot make a diagnostics bundle: {one_line(await words)}")
        finally:
            await _end(process)
            words.cancel()


async def _carry(process: Process, channel: ServedChannel) -> None:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    sent = 0
    while data := await process.stdout.read(_READ):
        sent += len(data)
        if sent > MOST_BYTES:
            raise Refused(
                f"cannot send the diagnostics bundle: it has more than {MOST_BYTES >> 20} MiB"
            )
        await channel.send(data)


async def _end(process: Process) -> None:
    """With all that it has started. What nobody has read is read here: asyncio waits for the ends of the pipes, too."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    while await process.stdout.read(_READ):
        pass
    await process.wait()


async def _last_words(process: Process) -> str:
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    kept = b""
    while said := await process.stderr.read(_READ):
        kept = (kept + said)[-_WORDS:]
    lines = kept.decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("skerry: ") if lines else "it ended without a word"
