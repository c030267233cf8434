"""A command beside a native process: in its environment and directory, with its whole group killed in the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from skerry.kit.errors import Transient
from skerry.node.ports import ProcessLaunch


async def run_beside(launch: ProcessLaunch, command: list[str]) -> int:
    """Runs `command` as it would run in the workload; returns its exit code, or minus the signal's number.

    Raises Transient when it cannot be started. Cancelling ends it.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=launch.directory,
            env=launch.environment,
            start_new_session=True,
        )
    except OSError as error:
        raise Transient(f"cannot run {command[0]}: {error.strerror}") from error
    try:
        return await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
