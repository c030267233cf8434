"""Peers that restart processes: supervisord, pm2, runit, and the least that asyncio can be."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.processes import descendants

BARE = """
import asyncio, sys
async def keep(argv):
    while True:
        await (await asyncio.create_subprocess_exec(*argv)).wait()
async def main():
    await asyncio.gather(*(keep([sys.argv[1], path]) for path in sys.argv[2:]))
asyncio.run(main())
"""


@contextlib.contextmanager
def running(name: str, stamp: Path, files: Sequence[Path], work: Path) -> Iterator[int]:
    """Starts the peer with one process per file; yields the manager's pid; ends everything."""
    work.mkdir(parents=True, exist_ok=True)
    pid, manager = STARTERS[name](stamp, files, work)
    try:
        yield pid
    finally:
        tree = descendants(pid)
        for member in tree:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        if manager is not None:
            manager.wait()
        time.sleep(0.2)  # let the kernel take the pids away before the next peer is measured


def missing(name: str) -> bool:
    """Whether the peer's program is not installed here."""
    return name != "bare asyncio" and shutil.which(PROGRAMS[name]) is None


def _popen(argv: Sequence[str], work: Path) -> tuple[int, subprocess.Popen[bytes]]:
    with (work / "output").open("wb") as output:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    return process.pid, process


def _bare(stamp: Path, files: Sequence[Path], work: Path) -> tuple[int, subprocess.Popen[bytes]]:
    return _popen([sys.executable, "-c", BARE, str(stamp), *map(str, files)], work)


def _supervisord(
    stamp: Path, files: Sequence[Path], work: Path
) -> tuple[int, subprocess.Popen[bytes]]:
    programs = "".join(
        f"[program:p{index}]\ncommand={stamp} {file}\nautorestart=true\nstdout_logfile=NONE\nstderr_logfile=NONE\n"
        for index, file in enumerate(files)
    )
    config = work / "supervisord.conf"
    config.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={work}/pid\n{programs}"
    )
    return _popen(["supervisord", "-c", str(config)], work)


def _pm2(stamp: Path, files: Sequence[Path], work: Path) -> tuple[int, None]:
    apps = [
        {"name": f"p{i}", "script": str(stamp), "args": str(f), "interpreter": "none"}
        for i, f in enumerate(files)
    ]
    (work / "ecosystem.json").write_text(json.dumps({"apps": apps}))
    environment = dict(os.environ, PM2_HOME=str(work / "pm2"))
    subprocess.run(
        ["pm2", "start", str(work / "ecosystem.json")],
        env=environment,
        check=True,
        capture_output=True,
    )
    return int((work / "pm2" / "pm2.pid").read_text()), None


def _runit(stamp: Path, files: Sequence[Path], work: Path) -> tuple[int, subprocess.Popen[bytes]]:
    for index, file in enumerate(files):
        service = work / "sv" / f"p{index}"
        service.mkdir(parents=True)
        (service / "run").write_text(f"#!/bin/sh\nexec {stamp} {file}\n")
        (service / "run").chmod(0o755)
    return _popen(["runsvdir", str(work / "sv")], work)


STARTERS = {"bare asyncio": _bare, "supervisord": _supervisord, "pm2": _pm2, "runit": _runit}
PROGRAMS = {"supervisord": "supervisord", "pm2": "pm2", "runit": "runsvdir"}
