"""What a reader wants of a workload's log: the same in the query of an address and in a channel's arguments.

Asked by the command line of a node's admin socket and of the hub, and by the hub of a node on the live link.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import msgspec

from skerry.kit.errors import InvalidInput
from skerry.kit.one_line import one_line
from skerry.wire.workload import Level


class LogQuery(msgspec.Struct, frozen=True):
    """Lines with `since` <= time < `until` (ns since 1970), of `level` and above; None sets no bound.

    Without `since` the last lines are meant. `follow` goes on as lines come, until `until` if there is one.
    """

    since: int | None = None
    until: int | None = None
    level: Level | None = None
    follow: bool = False

    def arguments(self) -> dict[str, str]:
        """As `read_log_query` reads it."""
        written = {"since": self.since, "until": self.until, "level": self.level}
        given = {name: str(value) for name, value in written.items() if value is not None}
        return given | ({"follow": "true"} if self.follow else {})


def read_log_query(arguments: Mapping[str, str]) -> LogQuery:
    """What `arguments` ask for; others than its own are left alone. Raises InvalidInput."""
    level = arguments.get("level")
    if level is not None and level not in get_args(Level):
        known = ", ".join(get_args(Level))
        raise InvalidInput(f"cannot read logs: level=«{one_line(level)}» is none of {known}")
    return LogQuery(
        _whole_number(arguments, "since"),
        _whole_number(arguments, "until"),
        level,  # type: ignore[arg-type]  # checked above
        arguments.get("follow") in {"1", "true", "yes"},
    )


def _whole_number(arguments: Mapping[str, str], name: str) -> int | None:
    text = arguments.get(name)
    if text is None:
        return None
    try:
        return int(text[:40])
    except ValueError as error:
        raise InvalidInput(
            f"cannot read logs: {name}=«{one_line(text)}» is no whole number"
        ) from error
