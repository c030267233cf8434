"""System calls that Python has no function for, by ctypes. Loaded only where a workload is confined."""

from __future__ import annotations

import ctypes
import os

MACHINES = ("x86_64", "aarch64")
"""For these the numbers below and those in `syscall_filter` are known."""

_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR = 442
LANDLOCK = 444
"""landlock_create_ruleset; _add_rule and _restrict_self follow."""

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
_MNT_DETACH = 2
_AT_RECURSIVE = 0x8000
_AT_FDCWD = -100


class Kernel:
    """Every call raises OSError with the kernel's errno."""

    def __init__(self) -> None:
        self.machine = os.uname().machine
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.syscall.restype = ctypes.c_long

    def call(self, number: int, *arguments: int | bytes | None) -> int:
        """A system call by its number; integers travel as 64 bits."""
        plain = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
        return self._checked(self._libc.syscall(ctypes.c_long(number), *plain))

    def unshare(self, flags: int) -> None:
        """Gives this process namespaces of its own."""
        self._checked(self._libc.unshare(flags))

    def join(self, pidfd: int, flags: int) -> None:
        """Enters namespaces of another process, all or none of them."""
        self._checked(self._libc.setns(pidfd, flags))

    def mount(self, source: str, target: str, kind: str, flags: int, options: str = "") -> None:
        """The system call of this name: what is at `source` is seen at `target`."""
        words = [os.fsencode(word) for word in (source, target, kind)]
        number = ctypes.c_ulong(flags)
        self._checked(self._libc.mount(*words, number, os.fsencode(options)), target)

    def set_mount_flags(self, target: str, flags: int) -> None:
        """Adds MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC to a mount and to all below it."""
        attributes = b"".join(each.to_bytes(8, "little") for each in (flags, 0, 0, 0))
        path = os.fsencode(target) + b"\0"
        size = len(attributes)
        self.call(_MOUNT_SETATTR, _AT_FDCWD, path, _AT_RECURSIVE, attributes, size)

    def pivot_root(self, new: str, old: str) -> None:
        """Makes `new` the root; the former one is found at `old`."""
        self.call(_PIVOT_ROOT[self.machine], os.fsencode(new) + b"\0", os.fsencode(old) + b"\0")

    def detach(self, target: str) -> None:
        """Takes a mount, with all below it, out of sight."""
        self._checked(self._libc.umount2(os.fsencode(target), _MNT_DETACH), target)

    def prctl(self, option: int, value: int, pointer: int = 0) -> None:
        """The system call of this name, for options that take a value and an address."""
        plain = [ctypes.c_ulong(each) for each in (value, pointer, 0, 0)]
        self._checked(self._libc.prctl(option, *plain))

    def landlock_version(self) -> int:
        """0: this kernel has none, or it is switched off."""
        try:
            return self.call(LANDLOCK, None, 0, 1)
        except OSError:
            return 0

    def _checked(self, result: int, name: str = "") -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), name)
        return result
