"""Landlock: what a process and its children may never do again, whatever their user and their mounts would allow.

The second lock on the files, and the only one on the TCP ports of a workload that shares the device's network.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence

from skerry.keeper.kernel import LANDLOCK, Kernel

_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, list a directory
_FILE = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # what makes sense for a single file
_CHANGE = 1 << 1 | 1 << 14 | 1 << 15  # write, truncate, ioctl of devices: files that are there
_ALL = (1 << 13) - 1
_LATER = ((2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
"""Rights by the version that brought them: move elsewhere, truncate, ioctl of devices."""

_TCP_BIND, _TCP_CONNECT = 1, 2
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2


def _handled(version: int) -> int:
    return _ALL | sum(right for since, right in _LATER if version >= since)


def ruleset(version: int, *, ports: bool) -> bytes:
    """What is forbidden unless a rule allows it, as the kernel of this version reads it."""
    words = [_handled(version)]
    if version >= 4:
        words.append(_TCP_BIND | _TCP_CONNECT if ports else 0)
    if version >= 6:
        words.append(_ABSTRACT_SOCKETS | _SIGNALS)
    return struct.pack(f"{len(words)}Q", *words)


def restrict(
    kernel: Kernel, changed: Iterable[str], writable: Iterable[str], ports: Sequence[int] | None
) -> None:
    """All files may be read, those in `changed` also changed, and in `writable` made and removed too.

    `ports` are those to which TCP may connect; None: Landlock has no say in the network. Needs no_new_privs.
    """
    version = kernel.landlock_version()
    attributes = ruleset(version, ports=ports is not None)
    fd = kernel.call(LANDLOCK, attributes, len(attributes), 0)
    try:
        handled = _handled(version)
        _allow(kernel, fd, "/", _READ)
        for path in changed:
            _allow(kernel, fd, path, handled & (_READ | _CHANGE))
        for path in writable:
            _allow(kernel, fd, path, handled)
        for port in ports or ():
            kernel.call(LANDLOCK + 1, fd, 2, struct.pack("QQ", _TCP_CONNECT, port), 0)
        kernel.call(LANDLOCK + 2, fd, 0)
    finally:
        os.close(fd)


def _allow(kernel: Kernel, ruleset_fd: int, path: str, rights: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = rights if os.path.isdir(path) else rights & _FILE
        kernel.call(LANDLOCK + 1, ruleset_fd, 1, struct.pack("=Qi", rights, fd), 0)
    finally:
        os.close(fd)
