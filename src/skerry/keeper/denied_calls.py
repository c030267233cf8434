"""What strict workloads may not ask of the kernel: the one list, for processes (`syscall_filter`) and for containers.

What it closes are the ways by which unprivileged processes have broken out of their boxes: new namespaces, mounts,
keys, BPF, debugging, io_uring, modules, socket families beyond UNIX and IP.
"""

from __future__ import annotations

# By their numbers on x86_64 and aarch64.
_BY_MACHINE = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "unshare": (272, 97), "setns": (308, 268),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60), "syslog": (103, 116),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162), "vhangup": (153, 58),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
}  # fmt: skip
_ANYWHERE = {
    # Sockets and files past a filter.
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "mount_setattr": 442, "open_tree_attr": 467,
    "pidfd_getfd": 438, "process_madvise": 440, "quotactl_fd": 443,
}  # fmt: skip
_ON_X86 = {"modify_ldt": 154, "iopl": 172, "ioperm": 173}

DENIED = frozenset({*_BY_MACHINE, *_ANYWHERE, *_ON_X86})
"""By name. clone3 besides, as if there were none: glibc falls back to clone, whose flags can be looked at."""

NEW_NAMESPACES = 0x7E020000
"""Flags of clone that are denied."""

UNIX, INET, INET6, NETLINK = 1, 2, 10, 16
"""The socket families that there are."""


def denied_numbers(machine: str) -> list[int]:
    """DENIED, as a machine of `keeper.kernel.MACHINES` numbers it."""
    index = 0 if machine == "x86_64" else 1
    numbers = [*(pair[index] for pair in _BY_MACHINE.values()), *_ANYWHERE.values()]
    return numbers + list(_ON_X86.values()) if machine == "x86_64" else numbers
