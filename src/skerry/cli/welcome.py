"""What `skerry up` says when everything runs: where things are, and what to try."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from skerry.cli.up_steps import CONTEXT, Home, Started

TRY = (
    ("get nodes", "this node, and how long ago it was heard"),
    ("query 'host.*' --since -1m", "what host-sensors measured in the last minute"),
    ("logs host-sensors -f", "what it prints, as it comes"),
    ("restart workload disk-watch", "end it and start it anew"),
    ("doctor", "check the node; every finding says what to do"),
)


def welcome(home: Home, started: Started, argv0: str) -> str:
    """The text. Its commands can be pasted as they are; they name the context when another one is the current one."""
    skerry = program(argv0)
    where = "" if skerry == "skerry" or Path(argv0).is_absolute() else f", in {Path.cwd()}"
    context = "" if started.context_is_current else f" --context {CONTEXT}"
    commands = [(f"{skerry} {words}{context}", text) for words, text in TRY]
    width = max(len(command) for command, _ in commands)
    tries = "\n".join(f"  {command:{width}}  # {text}" for command, text in commands)
    running = sum(each.phase == "running" for each in started.node.workloads)
    return f"""
Skerry runs: a hub, and node «{started.node.name}» with {running} of {len(started.node.workloads)} workloads running.

  Hub   {home.url}
  Page  {started.login}
        (signs one browser in, within ten minutes; another: {skerry} hub login{context})
  Data  {home.data_dir}

Try in another terminal{where}:
{tries}

Ctrl-C here ends workloads, node and hub. The same command again goes on with the same data.

"""


def program(argv0: str) -> str:
    """How people call this `skerry`: by its name where the shell finds it, else by its path."""
    path = Path(argv0)
    if path.name != "skerry":
        return f"{shlex.quote(sys.executable)} -m skerry.cli.main"
    found = shutil.which("skerry")
    if found is not None and Path(found).resolve() == path.resolve():
        return "skerry"
    return shlex.quote(argv0)
