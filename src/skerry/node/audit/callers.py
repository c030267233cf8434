"""Who speaks on a local socket: the kernel says it (SO_PEERCRED), and nobody can say it for somebody else."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import struct
from pathlib import Path

import msgspec

from skerry.kit.one_line import one_line

_PEER = struct.Struct("3i")
_NOBODY_LOGGED_IN = 2**32 - 1


class Caller(msgspec.Struct, frozen=True):
    """A process of a user, as it was when it connected."""

    uid: int
    gid: int
    pid: int


def caller_of(peer: socket.socket) -> Caller:
    """Who is at the other end of a connected Unix socket."""
    pid, uid, gid = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return Caller(uid, gid, pid)


def this_process() -> Caller:
    """Whoever runs this command."""
    return Caller(os.geteuid(), os.getegid(), os.getpid())


def user_name(uid: int) -> str:
    """What the machine calls a user; a number that it has no name for is «uid 1234». May ask a directory service."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def group_names(caller: Caller) -> set[str]:
    """The groups of a user, as the machine has them now. May ask a directory service."""
    try:
        numbers = os.getgrouplist(pwd.getpwuid(caller.uid).pw_name, caller.gid)
    except KeyError:
        numbers = [caller.gid]
    return {name for number in numbers if (name := _group_name(number))}


def program_of(caller: Caller) -> str:
    """«skerry[1234], logged in as alice»: the process, and who has begun its session where that is somebody else.

    A process may call itself as it likes; the number and the login are the kernel's.
    """
    directory = Path("/proc") / str(caller.pid)
    name = one_line(_read(directory / "comm").strip()) or "process"
    words = f"{name}[{caller.pid}]"
    login = _read(directory / "loginuid").strip()
    if login.isdecimal() and int(login) not in {caller.uid, _NOBODY_LOGGED_IN}:
        words += f", logged in as {user_name(int(login))}"
    return words


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
