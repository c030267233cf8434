"""The node's own process: `python -m skerry.node [--data-dir DIR] [--config FILE] [--set PATH=VALUE]…`.

`skerry node run` replaces itself by this, so that the command line's libraries do not stay in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
from pathlib import Path

from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, SkerryError
from skerry.node.agent import Host, run
from skerry.node.settings import NodeSettings, find_settings, node_settings


def settings_from(words: list[str]) -> NodeSettings:
    """The settings that the command line asks for. Raises InvalidInput."""
    parser = argparse.ArgumentParser(prog="skerry node run")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    found = parser.parse_args(words)
    options = dict(_pair(word) for word in found.set)
    if found.data_dir is not None:
        options["data_dir"] = str(found.data_dir)
    return node_settings(find_settings(config=found.config, options=options))


def main() -> int:
    """Runs the node; 0 ended on request, 1 failed, 2 wrong settings."""
    try:
        settings = settings_from(sys.argv[1:])
        logging.basicConfig(
            level=settings.logs.level.upper(),
            format="%(asctime)s %(levelname)-7s %(message)s",
            stream=sys.stderr,
        )
        host = Host(SystemClock(), RealDisk(), random.Random())  # noqa: S311 - jitter, not secrets
        asyncio.run(run(settings, host, lambda: None))
    except SkerryError as error:
        sys.stderr.write(f"skerry: {error}\n")
        return 2 if isinstance(error, InvalidInput) else 1
    except OSError as error:
        sys.stderr.write(f"skerry: cannot run the node: {error}\n")
        return 1
    return 0


def _pair(word: str) -> tuple[str, str]:
    path, separator, value = word.partition("=")
    if not separator:
        raise InvalidInput(f"cannot use --set {word}: write --set PATH=VALUE")
    return path, value


if __name__ == "__main__":
    sys.exit(main())
