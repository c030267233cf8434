"""Runs a program that the system lets watch no descriptors from a number on: `python few_watches.py NUMBER PROGRAM …`.

epoll_ctl answers ENOSPC then, as where this user watches `fs.epoll.max_user_watches` already: that is one number for the whole
device, which tests cannot change.
"""

import errno
import os
import sys

from skerry.keeper.kernel import Kernel
from skerry.keeper.syscall_filter import install

_EPOLL_CTL = {"x86_64": 233, "aarch64": 21}
_ADD = 1
_NO_NEW_PRIVS = 38
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _OPERATION, _DESCRIPTOR = 0, 16 + 8 * 1, 16 + 8 * 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.ENOSPC

if __name__ == "__main__":
    kernel = Kernel()
    kernel.prctl(_NO_NEW_PRIVS, 1)
    install(
        kernel,
        [
            (_LOAD, 0, 0, _NUMBER),
            (_EQUAL, 0, 5, _EPOLL_CTL[kernel.machine]),
            (_LOAD, 0, 0, _OPERATION),
            (_EQUAL, 0, 3, _ADD),
            (_LOAD, 0, 0, _DESCRIPTOR),
            (_AT_LEAST, 0, 1, int(sys.argv[1])),
            (_RETURN, 0, 0, _REFUSE),
            (_RETURN, 0, 0, _ALLOW),
        ],
    )
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - what the test asks for
