"""Starts a node: `python -m skerry.node [--data-dir DIR] [--config FILE]… [--set PATH=VALUE]…`.

Reads the settings and then becomes `skerry.node.process`: `skerry node run` turns itself into this, and this into
the agent, so that neither the command line's libraries nor those that read settings stay in the node's memory.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from skerry.kit.errors import InvalidInput
from skerry.node.handing_over import Handed, hand_over
from skerry.node.node_settings import NodeSettings
from skerry.node.settings import settings_to_start

LEAN = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "FROZENLIST_NO_EXTENSIONS": "1",
    "PYTHONNODEBUGRANGES": "1",
}
"""Saves two megabytes, of 48.

To glibc: one heap for all threads, which the interpreter's lock takes in turns anyway, and what is free goes back. To
`frozenlist`, which aiohttp needs while it starts: its compiled form would be all that loads the library of C++. To
Python: columns of positions in the sources only mark a part of a line in tracebacks.
"""


def settings_from(words: list[str]) -> tuple[NodeSettings, list[str]]:
    """The settings that the command line asks for, and what to tell about them. Raises InvalidInput."""
    parser = argparse.ArgumentParser(prog="skerry node run")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--config", type=Path, action="append", default=[])
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    found = parser.parse_args(words)
    options = dict(_pair(word) for word in found.set)
    if found.data_dir is not None:
        options["data_dir"] = str(found.data_dir)
    return settings_to_start(found.config, options)


def main() -> NoReturn:
    """Becomes the agent; exits with 2 when the settings are wrong."""
    try:
        settings, notes = settings_from(sys.argv[1:])
    except InvalidInput as error:
        sys.stderr.write(f"skerry: {error}\n")
        sys.exit(2)
    for note in notes:
        sys.stderr.write(f"skerry: {note}\n")
    words = [sys.executable, "-P", "-m", "skerry.node.process", str(hand_over(Handed(settings)))]
    environment = os.environ | LEAN  # noqa: TID251 - passed on, not read
    os.execve(words[0], words, environment)  # noqa: S606 - a list, no shell


def _pair(word: str) -> tuple[str, str]:
    path, separator, value = word.partition("=")
    if not separator:
        raise InvalidInput(f"cannot use --set {word}: write --set PATH=VALUE")
    return path, value


if __name__ == "__main__":
    main()
