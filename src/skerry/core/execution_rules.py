"""What can be asked for with `skerry exec`, and how it is called in audit logs. Pure; loaded where somebody asks."""

from __future__ import annotations

import re

from msgspec.structs import replace

from skerry.kit.errors import InvalidInput
from skerry.wire.codec import decode
from skerry.wire.executions import Ending, Size, Wish

MOST_BYTES = 64 * 1024
"""Of a command with its words; longer scripts come by stdin."""

LARGEST_SIDE = 4096
_TERM = re.compile(r"[A-Za-z0-9.+_-]{1,40}")
_USUAL_TERM = "xterm"
_WAYS = "cannot run a command in a workload"


def read_wish(text: str | bytes) -> Wish:
    """Raises InvalidInput that says what is wrong with it."""
    data = text.encode() if isinstance(text, str) else text
    if len(data) > 4 * MOST_BYTES:
        raise InvalidInput(f"{_WAYS}: it has {len(data)} bytes. Send a long script by stdin.")
    return checked(decode(data, Wish, "command for a workload"))


def checked(wish: Wish) -> Wish:
    """The wish with a kind of terminal that is one. Raises InvalidInput."""
    words = wish.command
    if not words or not words[0]:
        raise InvalidInput(f"{_WAYS}: there is none. Write it after «--»: … -- ls -l")
    if any("\0" in word for word in words):
        raise InvalidInput(f"{_WAYS}: it holds a NUL character")
    size = sum(len(word.encode("utf-8", "surrogateescape")) + 1 for word in words)
    if size > MOST_BYTES:
        raise InvalidInput(
            f"{_WAYS}: it has {size} bytes, at most {MOST_BYTES} can be sent. Send a long script by stdin."
        )
    _ = checked_size(wish.size)
    if wish.tty and not _TERM.fullmatch(wish.term):
        return replace(wish, term=_USUAL_TERM)
    return wish


def checked_size(size: Size) -> Size:
    """Raises InvalidInput for what is no window."""
    if not (0 <= size.rows <= LARGEST_SIDE and 0 <= size.columns <= LARGEST_SIDE):
        raise InvalidInput(f"{_WAYS}: a window of {size.rows} × {size.columns} is none")
    return size


def program_of(wish: Wish) -> str:
    """What audit logs call it: the program alone, for arguments may be secret."""
    return wish.command[0].rpartition("/")[2] or wish.command[0]


def in_words(ending: Ending | None) -> str:
    """For audit logs."""
    if ending is None:
        return "cut off"
    if ending.signal is not None:
        return f"ended by signal {ending.signal}"
    return "ended" if ending.code is None else f"exit code {ending.code}"


def exit_code(ending: Ending) -> int:
    """As shells number it."""
    if ending.signal is not None:
        return 128 + ending.signal
    return 1 if ending.code is None else ending.code
