"""Name patterns: «*» stands for any run of characters, everything else for itself."""

from __future__ import annotations

from collections.abc import Mapping


def matches(pattern: str, name: str) -> bool:
    """Whether the whole of `name` fits `pattern`. Takes no longer for many «*», as a regular expression would."""
    start, *between = pattern.split("*")
    if not between:
        return name == pattern
    end = between.pop()
    if not name.startswith(start):
        return False
    place = len(start)
    for part in between:  # the leftmost place leaves most for the parts that follow
        place = name.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return len(name) - place >= len(end) and name.endswith(end)


def first_match(patterns: Mapping[str, str], name: str, default: str) -> str:
    """The value of the first pattern that fits; patterns are tried in the order in which they were written."""
    return next((value for pattern, value in patterns.items() if matches(pattern, name)), default)
