"""The processes that `skerry up` holds: started with a log file, watched, ended in order."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

from skerry.kit.errors import SkerryError

MAX_LOG = 10_000_000
SHOWN_LINES = 8


class ChildEnded(SkerryError):
    """A child ended although it should run; the message holds the end of its log."""


class Child:
    """One running child. Its process group is its own, so that Ctrl-C reaches only its parent."""

    def __init__(self, name: str, log: Path, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._log = log
        self._process = process

    @classmethod
    async def start(cls, name: str, arguments: Sequence[str], log: Path) -> Child:
        """Starts this Python with `arguments`; what it prints is appended to `log`."""
        if log.exists() and log.stat().st_size > MAX_LOG:
            log.replace(log.with_name(f"{log.name}.1"))
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "skerry.cli.tied",
                sys.executable,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )
        return cls(name, log, process)

    @property
    def runs(self) -> bool:
        """Whether the process lives."""
        return self._process.returncode is None

    async def ended(self) -> ChildEnded:
        """Waits for the end, and says what happened."""
        code = await self._process.wait()
        how = f"signal {-code}" if code < 0 else f"code {code}"
        lines = self._log.read_text(errors="replace").splitlines()[-SHOWN_LINES:]
        return ChildEnded(
            "\n".join([f"the {self.name} ended with {how}; the last lines of {self._log}:", *lines])
        )

    async def end(self, seconds: float) -> None:
        """SIGTERM, up to `seconds` of patience, SIGKILL; returns when the process has ended."""
        if self.runs:
            self._process.send_signal(signal.SIGTERM)
        await self.wait(seconds)

    async def wait(self, seconds: float) -> None:
        """Waits up to `seconds` for the end, then kills."""
        try:
            await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """SIGKILL."""
        if self.runs:
            self._process.kill()


async def first_end(children: Iterable[Child]) -> ChildEnded:
    """Waits until one of the children ends."""
    ends = [asyncio.ensure_future(child.ended()) for child in children]
    try:
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for end in ends:
            end.cancel()


async def unless_one_ends(work: Coroutine[Any, Any, None], children: Iterable[Child]) -> None:
    """Runs `work` to its end. Raises ChildEnded, with `work` cancelled, when one of the children ends first."""
    task = asyncio.ensure_future(work)
    end = asyncio.ensure_future(first_end(children))
    try:
        await asyncio.wait([task, end], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise end.result()
        await task
    finally:
        task.cancel()
        end.cancel()
        await asyncio.wait([task, end])
