"""Users of strict workloads: one number each, which the owner of the workload's own directory keeps.

Nothing else stores the choice, so the files can never belong to another number than the one that is used; and
as long as a workload's directory is there, nobody else gets its number.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Collection, Iterator
from pathlib import Path

from skerry.kit.errors import Refused, Transient


def pick(range_: range, taken: Collection[int]) -> int | None:
    """The lowest number that nobody has, or None."""
    return next((number for number in range_ if number not in taken), None)


def user_of(home: Path, range_: range) -> int:
    """The number of the workload whose directory `home` is; the first call gives it one, and the directory to it.

    One call at a time: between looking for a number that nobody has and taking it, nobody else may take it.

    Raises Refused when the range is used up, Transient when the files cannot be given away.
    """
    owner = home.stat().st_uid
    if owner in range_ and owner not in _owners(home.parent, besides=home):
        return owner
    number = pick(range_, _taken(home.parent))
    if number is None:
        raise Refused(
            f"every user from {range_.start} to {range_.stop - 1} is taken. Widen isolation.users in node.yaml."
        )
    give(home, number)
    return number


def give(directory: Path, user: int) -> None:
    """Makes a directory with all that is in it the user's. Raises Transient."""
    try:
        if directory.stat().st_uid != user:
            _give_away(directory, user)
    except OSError as error:
        raise Transient(f"cannot give {directory} to user {user}: {error.strerror}") from error


def open_door(socket: Path, user: int) -> None:
    """Lets the user speak by a workload's socket; whoever makes it anew asks the directory's group whose it is.

    Raises Transient.
    """
    try:
        os.chown(socket.parent, -1, user)
        socket.parent.chmod(0o710)
        if socket.exists():
            os.chown(socket, user, user, follow_symlinks=False)
    except OSError as error:
        raise Transient(f"cannot give {socket} to user {user}: {error.strerror}") from error


def _taken(homes: Path) -> set[int]:
    """Numbers of our workloads, of the device's own users, and of whatever runs: perhaps another node's."""
    known = {entry.pw_uid for entry in pwd.getpwall()}
    return known | _owners(homes) | set(_of_processes())


def _owners(homes: Path, *, besides: Path | None = None) -> set[int]:
    return {home.stat().st_uid for home in homes.iterdir() if home != besides}


def _of_processes() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                yield entry.stat().st_uid
            except OSError:
                continue


def _give_away(home: Path, user: int) -> None:
    """What is in the directory first: an interruption leaves its owner, and the next call begins again."""
    for _, directories, files, fd in os.fwalk(home, follow_symlinks=False):
        for name in (*directories, *files):
            os.chown(name, user, user, dir_fd=fd, follow_symlinks=False)
    os.chown(home, user, user)
