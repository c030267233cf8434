"""How far a worker has come since its start, by its status and by the file in which it says so: pure but for `read_progress`."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from skerry.kit.clock import NS
from skerry.kit.one_line import one_line
from skerry.wire.workload import WorkloadStatus

READY = "ready"

UNTOLD_READY = 30 * NS
"""After so long a worker that writes no file counts as ready."""

_CANNOT = "cannot start"
"""How the message of a workload begins that waits for what it could not get."""

_MAX_FILE = 64 * 1024
_SHOWN = 300
_BEFORE = 2 * NS
"""A file's time is that of the file system, which may lag a little."""

_NO_GPU = ("could not select device driver", "nvidia-container-cli", "CDI device", "GPU vendor")
"""Words of engines that have a runtime for GPUs, and no GPU or no driver for it."""

State = Literal["none", "starting", "failed", "up"]


class Progress(msgspec.Struct, frozen=True):
    """What the SDK's worker says of itself. `written` is when, in ns since 1970."""

    phase: str = ""
    models_total: int | None = None
    models_ready: int | None = None
    detail: str = ""
    written: int = 0

    @property
    def told(self) -> dict[str, object]:
        """For an alert's metadata."""
        found = {
            "phase": one_line(self.phase[:_SHOWN]),
            "models_total": self.models_total,
            "models_ready": self.models_ready,
            "detail": one_line(self.detail[:_SHOWN]),
        }
        return {name: value for name, value in found.items() if value not in (None, "")}


class Start(msgspec.Struct, frozen=True):
    """What people know of the worker's start. `since` is when what runs began to run."""

    state: State = "none"
    said: str = ""
    restarts: int = 0
    since: int = 0
    progress: Progress = Progress()


class Step(msgspec.Struct, frozen=True):
    """What they are to hear: it begins to start, has come so far, is up, failed to start, ended by itself, or there is none any more."""

    what: Literal["begins", "progress", "up", "failed", "exited", "over"]
    text: str = ""


def read_progress(path: Path) -> Progress | None:
    """None: there is none that can be read. The worker's user may put anything there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_FILE:
            return None
        try:
            progress = msgspec.json.decode(file.read(_MAX_FILE), type=Progress)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
    return replace(progress, written=found.st_mtime_ns)


def gpu_problem(status: WorkloadStatus | None) -> str:
    """Why an engine that knows of GPUs could not give any; empty: that is not what the worker lacks."""
    message = status.message if status is not None and _CANNOT in status.message else ""
    return message if any(words in message for words in _NO_GPU) else ""


def judge(
    start: Start, status: WorkloadStatus | None, progress: Progress | None, now: int
) -> tuple[Start, list[Step]]:
    """What has become of a start, and what is to be told; `now` in ns since 1970."""
    if status is None or status.phase in ("stopped", "stopping", "succeeded"):
        over = start.state in ("starting", "failed") and (status is None or status.phase != "stopping")  # fmt: skip
        return Start(), [Step("over")] if over else []
    exited = [Step("exited", _exit(status))] if _has_exited(start, status) else []
    start = replace(start, restarts=status.restarts)
    match status.phase:
        case "pending" if status.message.startswith(_CANNOT):
            return _failed(start, status.message, exited)
        case "pending" | "starting":
            return _begun(start, status.message, exited)
        case "running":
            return _running(start, status, progress, now, exited)
        case _:
            if exited:
                return replace(start, state="none"), exited
            unstarted = status.exit is None and status.message.startswith(_CANNOT)
            why = status.message if unstarted else f"it ended with {_exit(status)}"
            return _failed(start, why, [])


def _running(
    start: Start,
    status: WorkloadStatus,
    progress: Progress | None,
    now: int,
    steps: list[Step],
) -> tuple[Start, list[Step]]:
    if start.state == "up" and start.since == status.since and not steps:
        return start, []
    fresh = progress if progress and progress.written >= status.since - _BEFORE else None
    if fresh is None:
        is_up = status.ready and now - status.since >= UNTOLD_READY
    else:
        is_up = fresh.phase == READY
    if is_up:
        return replace(start, state="up", since=status.since, said=""), [*steps, Step("up")]
    start, steps = _begun(start, "", steps)
    if fresh is not None and replace(fresh, written=0) != start.progress:
        start = replace(start, progress=replace(fresh, written=0))
        steps = [*steps, Step("progress")]
    return start, steps


def _begun(start: Start, message: str, steps: list[Step]) -> tuple[Start, list[Step]]:
    if start.state in ("starting", "failed"):
        return start, steps
    begun = replace(start, state="starting", progress=Progress())
    return begun, [*steps, Step("begins", message)]


def _failed(start: Start, why: str, steps: list[Step]) -> tuple[Start, list[Step]]:
    if start.state == "failed":
        return start, steps
    return replace(start, state="failed", said=why), [*steps, Step("failed", why)]


def _has_exited(start: Start, status: WorkloadStatus) -> bool:
    """Whether a worker that was up ended without anybody's asking for it."""
    ended = status.phase in ("backoff", "tripped", "failed")
    return start.state == "up" and (ended or status.restarts > start.restarts)


def _exit(status: WorkloadStatus) -> str:
    return "an unknown code" if status.exit is None else str(status.exit)
