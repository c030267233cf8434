"""Logs that nobody writes grow old, too: those of workloads that have ended and are not started again.

A log that is written looks after its age itself (`keeper.log_file`); this pass never touches one. It runs in the
agent's event loop without a pause between looking and removing, so no instance can be started in between: a start
is written to the store, in the same loop, before anybody is asked for a process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from skerry.keeper.log_file import remove_older
from skerry.kit.clock import NS, Clock

log = logging.getLogger(__name__)


class LogAgeing:
    """`ages` are the seconds that each log may be old, `busy` the workloads that have an instance now."""

    def __init__(
        self,
        path_of: Callable[[str], Path],
        ages: Callable[[], Mapping[str, float]],
        busy: Callable[[], Collection[str]],
        is_open: Callable[[Path], bool],
        clock: Clock,
    ) -> None:
        self._path_of = path_of
        self._ages = ages
        self._busy = busy
        self._is_open = is_open
        self._clock = clock

    async def once(self) -> None:
        """Removes what is too old now."""
        now, busy = self._clock.wall_ns(), self._busy()
        for workload, age in self._ages().items():
            path = self._path_of(workload)
            if workload not in busy and not self._is_open(path):
                _tend(path, now - round(age * NS))


def _tend(path: Path, oldest: int) -> None:
    try:
        if remove_older(str(path), oldest) is None and path.stat().st_mtime_ns < oldest:
            path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("cannot remove old files of %s: %s", path, error)
