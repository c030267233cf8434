"""A command beside a workload (`skerry exec`): what is asked for, and what one channel carries side by side.

Loaded where somebody asks for one. The streams are those of a channel's bytes (`wire.link`); «end» from the person
ends the command's stdin, «close» from either side ends the command.
"""

from __future__ import annotations

import msgspec

STDIN, STDOUT, STDERR, ENDED, RESIZED = range(5)
"""Up: STDIN, and RESIZED with a Size. Down: STDOUT, STDERR, and as the last one ENDED with an Ending; those two are messages (`wire.link.FLOWING`)."""


class Size(msgspec.Struct, frozen=True):
    """Of a terminal's window, in characters; 0: unknown."""

    rows: int = 0
    columns: int = 0


class Wish(msgspec.Struct, frozen=True):
    """A command. `stdin`: what the person writes reaches it. `tty`: it has a terminal of its own, of kind `term`.

    What follows is said by the hub, and by the node's admin socket, whatever the person has sent: `by` is the person,
    `writes` whether that one may have any workload run here, and so a command in one that is not strict.
    """

    command: list[str]
    stdin: bool = False
    tty: bool = False
    size: Size = Size()
    term: str = ""
    by: str = ""
    writes: bool = False

    def __repr__(self) -> str:
        return f"Wish({self.command[:1]})"


class Ending(msgspec.Struct, frozen=True):
    """How a command has ended: neither is known when it was cut off."""

    code: int | None = None
    signal: int | None = None
