"""The seccomp filter of a confined workload: system calls that it has no business with are answered with EPERM.

A list of what is denied, not of what is allowed: ordinary programs of any kind are to run. What it closes are
the ways by which unprivileged processes have broken out of such a box: new namespaces, mounts, keys, BPF,
debugging, io_uring, modules, socket families beyond UNIX and IP, and the 32-bit entries that no list covers.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from skerry.keeper.kernel import Kernel

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# By their numbers on x86_64 and aarch64.
_DENIED = {
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
_DENIED_ANYWHERE = (
    425, 426, 427,  # io_uring_setup, _enter, _register: sockets and files past this filter
    428, 429, 430, 431, 432, 433, 442, 467,  # the newer mount calls
    438, 440, 443,  # pidfd_getfd, process_madvise, quotactl_fd
)  # fmt: skip
_DENIED_ON_X86 = (154, 172, 173)  # modify_ldt, iopl, ioperm
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_SOCKET = {"x86_64": 41, "aarch64": 198}
_X32 = 0x40000000
_NEW_NAMESPACES = 0x7E020000
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_STREAM, _TYPE_BITS, _TCP = 1, 0xF, 6

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM
_NO_SUCH_CALL = 0x00050000 | errno.ENOSYS

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2

Instruction = tuple[int, int, int, int]
"""(code, jump if true, jump if not, value), as the kernel's sock_filter."""


def program(machine: str, *, tcp_only: bool) -> list[Instruction]:
    """The filter for a machine. `tcp_only`: of IP, nothing but TCP; Landlock then bounds its ports."""
    index = 0 if machine == "x86_64" else 1
    numbers = [*(pair[index] for pair in _DENIED.values()), *_DENIED_ANYWHERE]
    code = [
        (_LOAD, 0, 0, _ARCH),
        *_unless(_EQUAL, _AUDIT_ARCH[machine], _NO_SUCH_CALL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        numbers += _DENIED_ON_X86
        code += _when(_AT_LEAST, _X32, _NO_SUCH_CALL)
    # glibc falls back to clone, whose flags can be looked at.
    code += _when(_EQUAL, _CLONE3, _NO_SUCH_CALL)
    for number in numbers:
        code += _when(_EQUAL, number, _REFUSE)
    clone = [
        _load_argument(0),
        *_when(_ANY_BIT, _NEW_NAMESPACES, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code += [(_EQUAL, 0, len(clone), _CLONE[machine]), *clone]
    socket = _socket_rules(tcp_only=tcp_only)
    code += [(_EQUAL, 0, len(socket), _SOCKET[machine]), *socket, (_RETURN, 0, 0, _ALLOW)]
    return code


def _socket_rules(*, tcp_only: bool) -> list[Instruction]:
    rules = [_load_argument(0), *_when(_EQUAL, _UNIX, _ALLOW)]
    if not tcp_only:
        for family in (_INET, _INET6, _NETLINK):
            rules += _when(_EQUAL, family, _ALLOW)
        return [*rules, (_RETURN, 0, 0, _REFUSE)]
    return [
        *rules,
        (_EQUAL, 2, 0, _INET),
        *_unless(_EQUAL, _INET6, _REFUSE),
        _load_argument(1),
        (_AND, 0, 0, _TYPE_BITS),
        *_unless(_EQUAL, _STREAM, _REFUSE),
        # Not MPTCP, which Landlock does not see.
        _load_argument(2),
        *_when(_EQUAL, 0, _ALLOW),
        *_unless(_EQUAL, _TCP, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _when(test: int, value: int, answer: int) -> list[Instruction]:
    return [(test, 0, 1, value), (_RETURN, 0, 0, answer)]


def _unless(test: int, value: int, answer: int) -> list[Instruction]:
    return [(test, 1, 0, value), (_RETURN, 0, 0, answer)]


def _load_argument(index: int) -> Instruction:
    """The lower half: both machines have it first."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)


def install(kernel: Kernel, code: list[Instruction]) -> None:
    """From now on, for this process and its children. Needs no_new_privs."""
    buffer = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in code))
    header = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
    kept = ctypes.create_string_buffer(header)
    kernel.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(kept))
