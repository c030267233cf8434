"""Name patterns: «*» stands for any run of characters, everything else for itself."""

from __future__ import annotations

import functools
import re


@functools.lru_cache(maxsize=1024)
def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def matches(pattern: str, name: str) -> bool:
    """Whether the whole of `name` fits `pattern`."""
    return _compile(pattern).fullmatch(name) is not None


def first_match(patterns: dict[str, str], name: str, default: str) -> str:
    """The value of the first pattern that fits; patterns are tried in the order in which they were written."""
    return next((value for pattern, value in patterns.items() if matches(pattern, name)), default)
