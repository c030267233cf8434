"""What is told of the start of Cyberwave's workers, and what their own file says of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.node.drivers.worker_starts import (
    UNTOLD_READY,
    Progress,
    Start,
    gpu_problem,
    judge,
    read_progress,
)
from skerry.wire.workload import Exit, Generation, WorkloadStatus

NAME = "cyberwave-worker-11111111"
SECOND = 10**9
CRASH = Exit(1, None, 0)


def status(phase: str, since: int = 0, **more: object) -> WorkloadStatus:
    fields = {"workload": NAME, "generation": Generation(0, 1), "phase": phase, "since": since}
    return msgspec.convert(fields | more, WorkloadStatus)


def told(*moments: tuple[WorkloadStatus | None, Progress | None]) -> list[str]:
    start, words = Start(), []
    for found, progress in moments:
        start, steps = judge(start, found, progress, 100 * SECOND)
        words.append(" ".join(step.what for step in steps))
    return words


def phase(name: str, at: int = 100 * SECOND) -> Progress:
    return Progress(name, written=at)


def test_a_start_is_followed_to_its_end() -> None:
    assert told(
        (status("pending", message="image acme/w:2: 10 %"), None),
        (status("starting"), None),
        (status("running", 99 * SECOND), None),
        (status("running", 99 * SECOND), phase("loading_models")),
        (status("running", 99 * SECOND), phase("loading_models")),
        (status("running", 99 * SECOND), phase("ready")),
        (status("running", 99 * SECOND), phase("ready")),
        (None, None),
    ) == ["begins", "", "", "progress", "", "up", "", ""]


def test_a_worker_that_says_nothing_is_up_after_a_while() -> None:
    old = 100 * SECOND - UNTOLD_READY
    assert told((status("running", old, ready=True), None)) == ["up"]
    assert told((status("running", old + 1, ready=True), None)) == ["begins"]


def test_what_the_worker_before_has_said_does_not_count() -> None:
    assert told((status("running", 99 * SECOND), phase("ready", 90 * SECOND))) == ["begins"]


def test_case_43_a_worker_that_ends_by_itself_is_told_of() -> None:
    up = (status("running", 90 * SECOND), phase("ready"))
    killed = Exit(None, 9, 0)
    assert told(up, (status("backoff", restarts=1, exit=killed), None)) == ["up", "exited"]
    again = (status("running", 100 * SECOND, restarts=1, exit=killed), phase("ready", 91 * SECOND))
    assert told(up, again) == ["up", "exited begins"]


def test_a_reload_is_no_exit() -> None:
    up = (status("running", 50 * SECOND), phase("ready"))
    again = (status("running", 100 * SECOND), phase("ready", 51 * SECOND))
    assert told(up, (status("stopping"), None), again) == ["up", "", "begins"]
    assert told(up, again) == ["up", "begins"]


def test_a_failure_is_told_once_until_it_is_up() -> None:
    failing = (status("backoff", restarts=1, exit=CRASH), None)
    assert told(
        (status("starting"), None),
        failing,
        (status("starting", restarts=1), None),
        (status("tripped", restarts=2, exit=CRASH), None),
        (status("running", 99 * SECOND, restarts=2), phase("ready")),
        (status("backoff", restarts=3, exit=CRASH), None),
        failing,
    ) == ["begins", "failed", "", "", "up", "exited", "failed"]


def test_what_could_not_be_started_at_all_is_told_as_such() -> None:
    message = f"cannot start workload «{NAME}»: command «/x» does not exist; next try in 0.5 s"
    _, [step] = judge(Start("starting"), status("backoff", restarts=1, message=message), None, 0)
    assert (step.what, step.text) == ("failed", message)


def test_an_image_that_cannot_be_had_is_a_failure() -> None:
    message = f"cannot start workload «{NAME}»: the registry has no image acme/w:2"
    assert told((status("pending", message=message), None)) == ["failed"]


def test_a_stop_by_hand_ends_what_was_told() -> None:
    assert told((status("starting"), None), (status("stopped"), None)) == ["begins", "over"]


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"phase": 7}', b"x" * 100_000])
def test_a_status_file_that_is_none_is_none(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "worker-status.json"
    file.write_bytes(content)
    assert read_progress(file) is None


def test_nothing_behind_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('{"phase": "ready", "detail": "secret"}')
    (tmp_path / "status").symlink_to(tmp_path / "secret")
    assert read_progress(tmp_path / "status") is None


@given(st.binary(max_size=200))
def test_whatever_a_worker_writes_is_told_in_one_line(content: bytes) -> None:
    found = Progress(content.decode("latin-1"), detail=content.decode("latin-1"))
    assert "\n" not in str(found.told)


@pytest.mark.parametrize(
    ("message", "is_one"),
    [
        ('could not select device driver "" with capabilities: [[gpu]]', True),
        ("nvidia-container-cli: initialization error: nvml error: driver not loaded", True),
        ("failed to discover GPU vendor from CDI: no known GPU vendor found", True),
        ("unresolvable CDI devices nvidia.com/gpu=all", True),
        ("Minimum memory limit allowed is 6MB", False),
    ],
)
def test_an_engine_says_that_it_has_no_gpu_after_all(message: str, is_one: bool) -> None:
    text = f"cannot start workload «w»: {message}"
    assert gpu_problem(status("tripped", message=text)) == (text if is_one else "")
    assert not gpu_problem(status("running", message=message))
    assert not gpu_problem(None)
