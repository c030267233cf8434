"""The three ways to run a module: once, as a worker that gets records, or anew for each record.

All of them return the exit code of the process. SIGTERM ends the process at once: a module knows no signals.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from skerry import sdk
from skerry.kit.errors import SkerryError
from skerry.runners.wasm import feed
from skerry.runners.wasm.calls import RecordLines
from skerry.runners.wasm.deadline import Deadline
from skerry.runners.wasm.endings import Failure, say, tell
from skerry.runners.wasm.machine import Machine

_PIPE = 4096
"""Bytes of lines that a worker has not read yet: few, so that one that reads no more is soon seen."""

Rows = Iterator[sdk.Row]


@dataclass(frozen=True)
class Supply:
    """What a worker gets, and whom to tell that it has taken some of it."""

    rows: Rows
    inbox: feed.Inbox
    alive: Callable[[], None]


def once(machine: Machine, lines: RecordLines | None) -> int:
    """One run without input; a worker without input is the same."""
    return _run(machine, "/dev/null", lines)


def worker(machine: Machine, lines: RecordLines | None, supply: Supply) -> int:
    """One run, while a thread brings records: to `skerry.next` if the module imports it, else as lines on stdin."""
    if "next" in machine.asks_for:
        _thread(lambda: supply.inbox.fill(supply.rows))
        return _run(machine, "/dev/null", lines)
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE)
    _thread(lambda: feed.pump(supply.rows, write_end, supply.alive))
    return _run(machine, f"/proc/self/fd/{read_end}", lines)


def on_record(
    machine: Machine, lines: RecordLines | None, rows: Rows, deadline: Deadline | None
) -> NoReturn:
    """A run for each record, one after the other. One that fails is told in the log, and the next one begins."""
    for row in rows:
        stdin = os.memfd_create("record", os.MFD_CLOEXEC)
        os.write(stdin, feed.line(row) + b"\n")
        if deadline is not None:
            deadline.arm()
        try:
            code = _run(machine, f"/proc/self/fd/{stdin}", lines)
        except Failure as failure:
            tell(failure)
            say(f"failed on record {row.name} of {row.timestamp}")
        else:
            if code:
                say(f"ended with code {code} on record {row.name} of {row.timestamp}")
        finally:
            os.close(stdin)
            if deadline is not None:
                deadline.disarm()
    raise AssertionError  # a subscription never ends


def _run(machine: Machine, stdin: str, lines: RecordLines | None) -> int:
    if lines is None:
        return machine.run(stdin)
    try:
        return machine.run(stdin, lines.take)
    finally:
        lines.end()


def _thread(body: Callable[[], None]) -> None:
    """Runs `body` beside the module; when it fails, the module would wait for ever, so the process ends."""

    def run() -> None:
        try:
            body()
        except SkerryError as error:
            say(str(error))
            os._exit(1)

    threading.Thread(target=run, daemon=True).start()
