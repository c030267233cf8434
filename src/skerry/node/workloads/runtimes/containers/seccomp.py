"""The seccomp profile of a strict container, which replaces the engine's own. Pure.

Engines take a whole profile or none, so this one says what is allowed: of what Docker's and Podman's defaults allow on
64-bit machines, all but what is obsolete, policies of memory nodes, memory protection keys, calls newer than Linux 5.15,
and what `keeper.denied_calls` denies every strict workload. It is nowhere wider than they are.
"""

from __future__ import annotations

import errno

from skerry.keeper.denied_calls import DENIED, INET, INET6, NETLINK, NEW_NAMESPACES, UNIX

MACHINES = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}
"""By the engine's word for its own. Elsewhere calls have other names; there the engine's profile stays."""

_ORDINARY = """
    accept accept4 access alarm arch_prctl bind brk capget capset chdir chmod chown clock_getres
    clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3
    epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2
    execve execveat exit exit_group faccessat faccessat2 fadvise64 fallocate fanotify_mark fchdir
    fchmod fchmodat fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr
    fsetxattr fstat fstatfs fsync ftruncate futex futimesat get_robust_list get_thread_area getcpu
    getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid
    getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid
    getsockname getsockopt gettid gettimeofday getuid getxattr inotify_add_watch inotify_init
    inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_setup io_submit ioctl
    ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset landlock_restrict_self
    lchown lgetxattr link linkat listen listxattr llistxattr lremovexattr lseek lsetxattr lstat
    madvise membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2
    mlockall mmap mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink
    mremap msgctl msgget msgrcv msgsnd msync munlock munlockall munmap nanosleep newfstatat open
    openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 poll ppoll prctl pread64 preadv
    preadv2 prlimit64 process_mrelease pselect6 pwrite64 pwritev pwritev2 read readahead readlink
    readlinkat readv recvfrom recvmmsg recvmsg removexattr rename renameat renameat2
    restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
    rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler
    sched_yield seccomp select semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto
    set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setitimer
    setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid setsockopt setuid
    setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 socketpair splice
    stat statfs statx symlink symlinkat sync sync_file_range sync_file_range2 syncfs sysinfo tee
    tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_settime
    timerfd_create timerfd_gettime timerfd_settime times tkill truncate umask uname unlink
    unlinkat utime utimensat utimes vfork wait4 waitid write writev
"""

_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_ROUTE, _UEVENT = 0, 15
"""The protocols of netlink that ordinary programs use: addresses of interfaces (getifaddrs), and what is plugged in,
without which libusb does not begin. The others administrate, or have the kernel load modules (GENERIC, SOCK_DIAG).
"""

Rule = dict[str, object]
"""As the engines' JSON has it."""


def profile_for(machine: str) -> Rule:
    """The profile for one of MACHINES; 32-bit programs do not run."""
    ordinary = sorted(set(_ORDINARY.split()) - DENIED)
    families = [_allow("socket", _equal(0, family)) for family in (UNIX, INET, INET6)]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "archMap": [{"architecture": MACHINES[machine], "subArchitectures": []}],
        "syscalls": [
            _rule("SCMP_ACT_ALLOW", ordinary),
            _rule("SCMP_ACT_ERRNO", sorted(DENIED), errnoRet=errno.EPERM),
            _rule("SCMP_ACT_ERRNO", ["clone3"], errnoRet=errno.ENOSYS),
            _allow("clone", _test(0, "SCMP_CMP_MASKED_EQ", NEW_NAMESPACES)),
            *families,
            # By equality: a rule sees 64 bits of an argument, the kernel 32, so high bits pass what is only excluded.
            *(_allow("socket", _equal(0, NETLINK), _equal(2, each)) for each in (_ROUTE, _UEVENT)),
            *(_allow("personality", _equal(0, value)) for value in _PERSONALITIES),
        ],
    }


def _allow(name: str, *tests: Rule) -> Rule:
    return _rule("SCMP_ACT_ALLOW", [name], args=list(tests))


def _rule(action: str, names: list[str], **more: object) -> Rule:
    return {"names": names, "action": action, **more}


def _equal(index: int, value: int) -> Rule:
    return _test(index, "SCMP_CMP_EQ", value)


def _test(index: int, how: str, value: int) -> Rule:
    return {"index": index, "op": how, "value": value, "valueTwo": 0}
