"""Records that were found to be not what was sealed: they are left out of answers, and people are told.

`store.readings` finds them, `query` leaves them out and says how many in its answer; what was found stays as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

log = logging.getLogger(__name__)

_REMEMBERED = 1000
_LOGGED = 20


class Damage:
    """What this process has met. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._met: set[str] = set()

    def meet(self, damaged: Collection[str]) -> None:
        """Each names a place and what is wrong with it; the log gets the first ones, once each."""
        for words in damaged:
            if words in self._met or len(self._met) >= _REMEMBERED:
                continue
            self._met.add(words)
            if len(self._met) <= _LOGGED:
                log.error("a record is left out of answers: %s", words)

    @property
    def problem(self) -> str:
        """For people; empty: none was met."""
        if not self._met:
            return ""
        count = f"{_REMEMBERED} and more" if len(self._met) == _REMEMBERED else str(len(self._met))
        return (
            f"stored records are damaged and left out of answers ({count} so far): the hub's log names them. Check its "
            "disk (smartctl); a backup from before has them"
        )
