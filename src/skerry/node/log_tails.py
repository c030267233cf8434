"""Reading workloads' logs on, for features that need what is new in them and know nothing of their files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path

from skerry.core.log_lines import parse_line
from skerry.keeper.log_file import moment
from skerry.node.twin_ports import LogNews
from skerry.node.workloads.log_portion import Place, Portion, leap, read_on

LOOK_AT_ONCE = 128 * 1024
"""Bytes of one log that are read at once."""

BEHIND = 1 << 20
"""Bytes that may wait; of more, the oldest are left out until a half of this waits."""


class LogTails:
    """`path_of` says where a workload's log is. Of one that is there before, only lines since `since` (wall, ns) are new."""

    def __init__(self, path_of: Callable[[str], Path], since: int) -> None:
        self._path_of = path_of
        self._since = since
        self._places: dict[str, Place] = {}
        self._sizes: dict[str, int] = {}

    def keep_only(self, workloads: Collection[str]) -> None:
        """Nobody asks for others any more."""
        for name in [name for name in self._places if name not in workloads]:
            del self._places[name]
            self._sizes.pop(name, None)

    async def fresh(self, workload: str) -> list[LogNews]:
        """Some of the lines that were not given yet, in order; none: nothing is new."""
        path, place = self._path_of(workload), self._places.get(workload)
        size = _size(path)
        if size < 0 or size == self._sizes.get(workload):
            return []
        portion = await asyncio.to_thread(read_on, workload, path, place, LOOK_AT_ONCE)
        if portion.end is None:
            return []
        news = _news(portion)
        if place is None:
            news = [one for one in news if one.at >= self._since]
        elif not portion.lost and portion.behind > BEHIND:
            passed = await asyncio.to_thread(leap, workload, path, place, BEHIND // 2)
            if passed is not None:
                self._places[workload] = passed.end
                return [LogNews(news[0].at, f"skerry: {passed.lines} lines left out here")]
        self._places[workload] = portion.end
        if not portion.behind:
            self._sizes[workload] = size
        return news


def _news(portion: Portion) -> list[LogNews]:
    """A line that was torn by a crash is none."""
    found = []
    for each in portion.lines:
        line = parse_line(each.line.decode("utf-8", "backslashreplace"))
        at = None if line is None else moment(line.at.encode())
        if line is not None and at is not None:
            found.append(LogNews(at, line.text))
    return found


def _size(path: Path) -> int:
    """Of the current file; it changes with each line and, to nothing, with a rotation."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
