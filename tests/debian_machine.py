"""A Debian of its own in namespaces: systemd as process 1, no network but loopback, its power in the test's hand."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 60.0

MIRROR = "http://deb.debian.org/debian"
PARTS = "python3.11,systemd"
"""What the base has besides the least Debian; the rest of what Skerry needs comes in its packages."""

_LAUNCH = """
mount -t cgroup2 cgroup2 "$1/mnt" && mkdir -p "$1/mnt/$2" && echo $$ >"$1/mnt/$2/cgroup.procs" && umount "$1/mnt"
exec unshare --pid --net --uts --ipc --cgroup --fork --kill-child=KILL sh -c "$3" boot "$1"
"""

_BOOT = """
set -e
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for place in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs $place; done
chmod 1777 tmp
for device in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 dev/${device%:*} c 1 ${device#*:}; done
mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
pivot_root . mnt
exec chroot . sh -c 'umount -l /mnt && exec env -i container=test PATH=/usr/sbin:/usr/bin /lib/systemd/systemd'
"""

_CLEAR = """
mount -t cgroup2 cgroup2 "$1/mnt" && find "$1/mnt/$2" -depth -type d -exec rmdir {} ';'
"""

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin", "HOME": "/root", "LANG": "C.UTF-8"}


def make_base(target: Path) -> None:
    """An archive of a small Debian 12."""
    how = ("--quiet", "--variant=minbase", f"--include={PARTS}")
    subprocess.run(["mmdebstrap", *how, "bookworm", target, MIRROR], check=True)


class Machine:
    """One machine with its disk in `root`."""

    def __init__(self, base: Path, root: Path) -> None:
        self.root = root
        root.mkdir(mode=0o755)
        subprocess.run(["tar", "-C", root, "-xf", base], check=True)
        self._group = f"sk-machine-{os.getpid()}"
        self._init = 0
        self._power: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """Returns when systemd has started all that it is told to start at boot."""
        words = ["unshare", "--mount", "--propagation=private", "sh", "-c", _LAUNCH, "launch"]
        given = [str(self.root), self._group, _BOOT]
        quiet = subprocess.DEVNULL
        self._power = subprocess.Popen([*words, *given], stdin=quiet, stdout=quiet, stderr=quiet)
        until(self._is_up, "the machine is up")

    def cut_power(self) -> None:
        """Everything ends at once; what was in memory is gone."""
        if self._power is not None:
            self._power.kill()
            self._power.wait()
            self._power = None
            until(lambda: not Path(f"/proc/{self._init}").exists(), "the machine is off")
            clear = ["unshare", "--mount", "--propagation=private", "sh", "-c", _CLEAR, "clear"]
            subprocess.run([*clear, str(self.root), self._group], check=True)

    def scrap(self) -> None:
        self.cut_power()
        shutil.rmtree(self.root)

    def run(self, *words: str, stdin: str = "") -> str:
        """What a command of the machine's root prints; it must succeed."""
        done = self.attempt(*words, stdin=stdin)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def attempt(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        spaces = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--root", "--wd")
        return subprocess.run(
            ["/usr/bin/nsenter", f"--target={self._init}", *spaces, "--", *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=_ENVIRONMENT,
        )

    def install(self, *packages: Path) -> str:
        """As a person with the files would; only the disk is not waited for."""
        inside = self._brought(packages)
        return self.run("dpkg", "--force-unsafe-io", "--install", *inside)

    def refused(self, *packages: Path) -> str:
        """Why the packages are not installed."""
        done = self.attempt("dpkg", "--force-unsafe-io", "--install", *self._brought(packages))
        assert done.returncode != 0, done.stdout
        return done.stderr

    def _brought(self, packages: tuple[Path, ...]) -> list[str]:
        place = Path(f"/proc/{self._init}/root/run/packages")
        place.mkdir(exist_ok=True)
        for package in packages:
            shutil.copy(package, place)
        return [f"/run/packages/{package.name}" for package in packages]

    def files(self, but: Callable[[str], bool]) -> dict[str, tuple[object, ...]]:
        """Every file of the disk with what it is, without those that `but` names."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if not but(name):
                found[name] = _about(path)
        return found

    def processes(self, word: str) -> list[str]:
        """The machine's processes with a word in their command line or environment."""
        space, found = Path(f"/proc/{self._init}/ns/pid").readlink(), []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "ns/pid").readlink() == space:
                    text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
                    found += [text.decode()] if word.encode() in text else []
            except OSError:  # it has ended
                continue
        return found

    def _is_up(self) -> bool:
        assert self._power is not None
        assert self._power.poll() is None, "the machine went off"
        children = Path(f"/proc/{self._power.pid}/task/{self._power.pid}/children")
        found = children.read_text().split()
        if not found or b"systemd" not in Path(f"/proc/{found[0]}/cmdline").read_bytes():
            return False
        self._init = int(found[0])
        return self.attempt("systemctl", "is-system-running").stdout.strip() in {
            "running",
            "degraded",
        }

    def send(self, pid: str, number: int) -> None:
        """A signal to a process by its number in the machine."""
        self.run("sh", "-c", f"kill -{signal.Signals(number).name[3:]} {pid}")


def until(condition: Callable[[], bool], what: str) -> None:
    """Returns once it holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)


def raised(package: Path, version: str, directory: Path) -> Path:
    """The same package as a later release."""
    name, old, arch = package.stem.split("_")
    tree = directory / f"{name}-{version}"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    for path in (
        *tree.glob("DEBIAN/*"),
        *tree.glob("opt/skerry/package/*/version"),
        *tree.glob("**/node/bin/skerry"),
    ):
        path.write_text(path.read_text().replace(old, version))
    target = directory / f"{name}_{version}_{arch}.deb"
    subprocess.run(
        ["dpkg-deb", "-Znone", "--root-owner-group", "--build", tree, target], check=True
    )
    shutil.rmtree(tree)
    return target


def _about(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    common = (oct(status.st_mode), status.st_uid, status.st_gid)
    if path.is_symlink():
        return (*common, str(path.readlink()))
    if path.is_file():
        return (*common, hashlib.sha256(path.read_bytes()).hexdigest())
    return common
