"""The parser of `run_options`, apart because of what it loads."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import NoReturn

from skerry.kit.errors import InvalidInput


class RunParser(argparse.ArgumentParser):
    """Raises InvalidInput where others end the process."""

    def error(self, message: str) -> NoReturn:
        raise InvalidInput(f"params: {message}")


def run_parser(lists: Iterable[str], values: Iterable[str], switches: Iterable[str]) -> RunParser:
    """Of options that may stand more than once, of those with one value, and of those without; each with all its names."""
    parser = RunParser(prog="params", add_help=False, allow_abbrev=False)
    for flags in lists:
        parser.add_argument(*flags.split(), action="append")
    for flags in values:
        parser.add_argument(*flags.split())
    for flags in switches:
        parser.add_argument(*flags.split(), action="store_true")
    return parser
