"""What this device lets a keeper do to confine workloads: `python -I -S …/skerry/keeper/powers.py`.

A process of its own, because the only way to find out is to try, and what was tried is not taken back. Prints
«name=value» fields, one a line; the agent reads them (`node.workloads.runtimes.isolation`).
"""

import os
import sys

_NEWNS_NEWIPC_NEWNET = 0x20000 | 0x08000000 | 0x40000000


def main() -> int:
    """Tries what needs no workload, and prints the outcome."""
    from skerry.keeper.kernel import MACHINES, Kernel  # noqa: PLC0415

    kernel = Kernel()
    found = {
        "root": int(os.geteuid() == 0),
        "machine": int(kernel.machine in MACHINES),
        "landlock": kernel.landlock_version(),
        "seccomp": int(os.path.exists("/proc/sys/kernel/seccomp/actions_avail")),
        "namespaces": "",
    }
    try:
        kernel.unshare(_NEWNS_NEWIPC_NEWNET)
        kernel.mount("none", "/", "", 0x44000)
    except OSError as error:
        found["namespaces"] = error.strerror or "refused"
    sys.stdout.write("".join(f"{name}={value}\n" for name, value in found.items()))
    return 0


if __name__ == "__main__":
    sys.path.insert(0, __file__.rsplit("/", 3)[0])
    sys.exit(main())
