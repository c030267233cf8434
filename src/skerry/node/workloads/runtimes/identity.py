"""Which process is which: (boot id, pid, start time) read from /proc and checked, and ends seen by pidfd."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Collection
from pathlib import Path

from skerry.keeper.marks import mark_of, marked
from skerry.keeper.procfs import all_pids, end_group, open_process, read_stat, send
from skerry.node.ports import ProcessIdentity

_MARK = b"SKERRY_INSTANCE="


def identify(pid: int, boot_id: str) -> ProcessIdentity | None:
    """The identity of the living process with this pid, or None."""
    stat = read_stat(pid)
    if stat is None or not stat.lives:
        return None
    return ProcessIdentity(boot_id, pid, stat.start)


def lives(identity: ProcessIdentity, boot_id: str) -> bool:
    """Whether exactly this process still runs; `boot_id` is today's."""
    return identity.boot_id == boot_id and identify(identity.pid, boot_id) == identity


def end_leftovers(instance: str, identity: ProcessIdentity) -> None:
    """SIGKILLs what an instance has left whose first process, one of this boot, has ended."""
    end_group(identity.pid, identity.start_time)
    for pid in marked(mark_of(instance), all_pids()):
        send(pid, signal.SIGKILL)


def watch_end(pid: int, start_time: int, on_end: Callable[[], None]) -> Callable[[], None] | None:
    """Calls `on_end` once when the process ends. Returns what stops watching; None when it has ended already.

    A pidfd of an ended process is readable for ever, so it leaves the loop before anything else happens.
    """
    loop = asyncio.get_running_loop()
    pidfd = open_process(pid, start_time)
    if pidfd is None:
        return None
    watched = True

    def stop() -> None:
        nonlocal watched
        if watched:
            watched = False
            loop.remove_reader(pidfd)
            os.close(pidfd)

    def ended() -> None:
        stop()
        on_end()

    loop.add_reader(pidfd, ended)
    return stop


def find_instances(instances: Collection[str], boot_id: str) -> dict[str, ProcessIdentity]:
    """Looks for instances by SKERRY_INSTANCE in the environment of every process; the oldest session leader counts.

    Descendants inherit the variable; only the process that a keeper made leads the first session with it.
    """
    found: dict[str, ProcessIdentity] = {}
    if not instances:
        return found
    wanted = {_MARK + instance.encode(): instance for instance in instances}
    for pid in all_pids():
        for variable in environment(pid):
            instance = wanted.get(variable)
            if instance is not None:
                _note_leader(found, instance, pid, boot_id)
    return found


def _note_leader(found: dict[str, ProcessIdentity], instance: str, pid: int, boot_id: str) -> None:
    stat = read_stat(pid)
    if stat is None or not stat.lives or stat.session != pid:
        return
    known = found.get(instance)
    if known is None or stat.start < known.start_time:
        found[instance] = ProcessIdentity(boot_id, pid, stat.start)


def environment(pid: int) -> list[bytes]:
    """«NAME=VALUE» of a process; empty when it has ended or belongs to somebody else."""
    return _split(pid, "environ")


def command_line(pid: int) -> list[bytes]:
    """The arguments of a process; empty when it has ended or belongs to somebody else."""
    return _split(pid, "cmdline")


def _split(pid: int, name: str) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
