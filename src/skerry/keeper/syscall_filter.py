"""The seccomp filter of a confined workload: system calls that it has no business with are answered with EPERM.

A list of what is denied (`denied_calls`), not of what is allowed: ordinary programs of any kind are to run. The
32-bit entries, which no list covers, are closed.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from skerry.keeper.denied_calls import (
    INET,
    INET6,
    NETLINK,
    NEW_NAMESPACES,
    UNIX,
    denied_numbers,
)
from skerry.keeper.kernel import Kernel

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_SOCKET = {"x86_64": 41, "aarch64": 198}
_X32 = 0x40000000
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
    code = [
        (_LOAD, 0, 0, _ARCH),
        *_unless(_EQUAL, _AUDIT_ARCH[machine], _NO_SUCH_CALL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        code += _when(_AT_LEAST, _X32, _NO_SUCH_CALL)
    code += _when(_EQUAL, _CLONE3, _NO_SUCH_CALL)
    for number in denied_numbers(machine):
        code += _when(_EQUAL, number, _REFUSE)
    clone = [
        _load_argument(0),
        *_when(_ANY_BIT, NEW_NAMESPACES, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code += [(_EQUAL, 0, len(clone), _CLONE[machine]), *clone]
    socket = _socket_rules(tcp_only=tcp_only)
    code += [(_EQUAL, 0, len(socket), _SOCKET[machine]), *socket, (_RETURN, 0, 0, _ALLOW)]
    return code


def _socket_rules(*, tcp_only: bool) -> list[Instruction]:
    rules = [_load_argument(0), *_when(_EQUAL, UNIX, _ALLOW)]
    if not tcp_only:
        for family in (INET, INET6, NETLINK):
            rules += _when(_EQUAL, family, _ALLOW)
        return [*rules, (_RETURN, 0, 0, _REFUSE)]
    return [
        *rules,
        (_EQUAL, 2, 0, INET),
        *_unless(_EQUAL, INET6, _REFUSE),
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
