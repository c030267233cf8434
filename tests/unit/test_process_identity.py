"""Telling processes apart by /proc."""

import asyncio
import os
import resource
import subprocess
from functools import partial
from pathlib import Path

import pytest

from skerry.keeper.marks import mark_of, marked, parse_limits, put_mark
from skerry.keeper.procfs import all_pids, end_group, open_process, parse_stat, read_stat
from skerry.kit.clock import SystemClock
from skerry.node.ports import ProcessIdentity
from skerry.node.workloads.runtimes.identity import (
    command_line,
    environment,
    find_instances,
    identify,
    lives,
    watch_end,
)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("name", ["sh", "a) b", "(", ")", ") R 1 2 3", "x\ny"])
def test_a_program_may_have_any_name(name: str) -> None:
    fields = " ".join(str(number) for number in range(4, 53))
    stat = parse_stat(f"77 ({name}) S {fields}\n".encode())
    assert (stat.state, stat.parent, stat.group, stat.session, stat.start) == ("S", 4, 5, 6, 22)
    assert stat.lives


def test_zombies_do_not_live() -> None:
    fields = " ".join(["0"] * 50)
    assert not parse_stat(f"77 (sh) Z {fields}".encode()).lives


def test_this_process() -> None:
    boot_id = SystemClock().boot_id()
    identity = identify(os.getpid(), boot_id)
    assert identity is not None
    assert lives(identity, boot_id)
    assert not lives(ProcessIdentity(boot_id, identity.pid, identity.start_time + 1), boot_id)
    assert not lives(ProcessIdentity("another boot", identity.pid, identity.start_time), boot_id)
    stat = read_stat(os.getpid())
    assert stat is not None
    assert stat.parent == os.getppid()


def test_a_pid_that_nobody_has() -> None:
    assert read_stat(2**22 + 1) is None
    assert open_process(2**22 + 1, 0) is None
    assert identify(2**22 + 1, "boot") is None
    assert environment(2**22 + 1) == []
    assert command_line(2**22 + 1) == []
    end_group(2**22 + 1, 0)


def test_a_reused_pid_is_left_alone() -> None:
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    stat = read_stat(process.pid)
    assert stat is not None
    assert open_process(process.pid, stat.start + 1) is None
    end_group(process.pid, stat.start + 1)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.1)
    end_group(process.pid, stat.start)
    assert process.wait() == -9


async def test_an_end_is_seen_once_and_leaves_nothing_in_the_loop() -> None:
    process = subprocess.Popen(["sleep", "1000"])
    stat = read_stat(process.pid)
    assert stat is not None
    ends: list[int] = []
    ended = asyncio.Event()

    def note() -> None:
        ends.append(open_descriptors())
        ended.set()

    descriptors = open_descriptors()
    stop = watch_end(process.pid, stat.start, note)
    assert stop is not None
    process.kill()
    await ended.wait()
    assert ends == [descriptors]
    stop()
    assert watch_end(process.pid, stat.start, note) is None  # a zombie has ended
    process.wait()
    assert watch_end(process.pid, stat.start, note) is None


async def test_watching_can_stop() -> None:
    process = subprocess.Popen(["sleep", "1000"])
    stat = read_stat(process.pid)
    assert stat is not None
    descriptors = open_descriptors()
    stop = watch_end(process.pid, stat.start, lambda: None)
    assert stop is not None
    stop()
    stop()
    assert open_descriptors() == descriptors
    process.kill()
    process.wait()


def test_the_leader_of_the_first_session_is_the_instance() -> None:
    name = f"unit-{os.getpid()}"
    script = "setsid sleep 1000 & sleep 1000 & echo; wait"
    process = subprocess.Popen(
        ["sh", "-c", script],
        start_new_session=True,
        stdout=subprocess.PIPE,
        env={"SKERRY_INSTANCE": name, "PATH": os.environ["PATH"]},
    )
    assert process.stdout is not None
    process.stdout.readline()
    found = find_instances([name, "another"], "boot")
    assert {instance: identity.pid for instance, identity in found.items()} == {name: process.pid}
    assert find_instances([], "boot") == {}
    mark = f"SKERRY_INSTANCE={name}".encode()
    for pid in all_pids():
        if mark in environment(pid):
            os.kill(pid, 9)
    process.wait()
    process.stdout.close()


def test_a_mark_is_inherited_by_daemons_without_environment_and_names_one_instance() -> None:
    names = [f"unit-{os.getpid()}-{number}" for number in range(2)]
    processes = [
        subprocess.Popen(
            ["sh", "-c", "env -i setsid sleep 1000 & echo $!; wait"],
            stdout=subprocess.PIPE,
            preexec_fn=partial(put_mark, mark_of(name)),  # noqa: PLW1509 - one thread
        )
        for name in names
    ]
    for process, name in zip(processes, names, strict=True):
        assert process.stdout is not None
        daemon = int(process.stdout.readline())
        found = marked(mark_of(name), all_pids())
        assert set(found) == {process.pid, daemon}
        for pid in found:
            os.kill(pid, 9)
        process.wait()
        process.stdout.close()
        assert process.pid not in marked(mark_of(name), all_pids())


def test_the_mark_of_somebody_elses_process_is_read_from_its_limits() -> None:
    table = "Limit                     Soft Limit           Hard Limit           Units\n"
    line = "Max file locks            {:<20} {:<20} locks\n"
    assert parse_limits((table + line.format(5, 1152921504606846981)).encode()) == 2**60 + 5
    assert parse_limits((table + line.format(5, "unlimited")).encode()) is None
    assert parse_limits(table.encode()) is None
    _, hard = resource.getrlimit(10)
    own = parse_limits(Path("/proc/self/limits").read_bytes())
    assert own == (None if hard == resource.RLIM_INFINITY else hard)
