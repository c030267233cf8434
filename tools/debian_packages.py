"""Builds skerry, skerry-hub, skerry-wasm, skerry-zenoh and skerry-parquet as Debian packages from this checkout: `deploy/package`.

Each has its part of requirements/run.txt, the last one what requirements/parquet.txt has besides, by hash and as wheels only, so packages for another architecture are built
here, too. The same checkout and SOURCE_DATE_EPOCH (by default the time of the newest commit) give the same bytes.
How the parts become a release on the device stands in deploy/debian/settle; ADR 28 says why.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "deploy" / "debian"
EXTRAS = {"skerry-wasm": ("wasmtime",), "skerry-zenoh": ("eclipse-zenoh",)}
"""What each has of requirements/run.txt that neither node nor hub has."""

APART = {"skerry-parquet": "parquet.txt"}
"""What has a file of its own, because an installation from the checkout leaves it out."""

PACKAGES = ("skerry", "skerry-hub", *EXTRAS, *APART)
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The wheels, the bytecode and the dependency on Debian's package are for the Python that runs this."""

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
GLIBC = range(5, 37)
"""Minor versions of glibc 2 whose wheels run on Debian 12 (2.36)."""

NEWEST = ("git", "log", "-1", "--format=%ct")
OURS = "opt/skerry/package"
NOT_NEEDED = (
    "bin",  # commands of libraries, with this machine's paths
    "zstandard/_cffi.*.so",  # for PyPy
    "*.dist-info/RECORD",
    "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json",
    "**/__pycache__",
)


@dataclass(frozen=True)
class Order:
    """What is to be built."""

    version: str
    arch: str
    epoch: int
    compression: str
    output: Path
    only: tuple[str, ...]


def main() -> None:
    """Builds what the command line says and names each file."""
    order = _order()
    with tempfile.TemporaryDirectory(prefix="skerry-package-") as place:
        work = Path(place)
        pip = _pip(work, order)
        own = _own_wheel(work, pip, order)

        def built(package: str) -> Path:
            stage = work / package
            _stage(package, stage, pip, own, order)
            return _packed(package, stage, order)

        with ThreadPoolExecutor() as threads:
            for path in threads.map(built, order.only):
                print(path)


def _order() -> Order:
    parser = argparse.ArgumentParser(prog="deploy/package", description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    parser.add_argument("--arch", choices=sorted(MACHINES), default=_arch_here())
    parser.add_argument("--version", default=_own_version(), help="of the packages")
    parser.add_argument("--compression", choices=("xz", "zstd", "none"), default="xz")
    parser.add_argument("--only", choices=PACKAGES, action="append")
    words = parser.parse_args()
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or _output(*NEWEST)  # noqa: TID251 - the usual name
    return Order(
        words.version,
        words.arch,
        int(epoch),
        words.compression,
        words.output,
        tuple(words.only or PACKAGES),
    )


def _arch_here() -> str:
    known = {machine: arch for arch, machine in MACHINES.items()}
    return known.get(platform.machine(), "amd64")


def _own_version() -> str:
    found = re.search(r'__version__ = "(.+)"', (ROOT / "src/skerry/__init__.py").read_text())
    if found is None:
        raise SystemExit("cannot find the version in src/skerry/__init__.py")
    return found[1]


def _pip(work: Path, order: Order) -> list[str]:
    """A pip with the tools that build our own wheel."""
    subprocess.run([sys.executable, "-m", "venv", work / "tools"], check=True)
    pip = [str(work / "tools/bin/python"), "-m", "pip", "--disable-pip-version-check", "-q"]
    _run(order, *pip, "install", "--require-hashes", "-r", str(ROOT / "requirements/build.txt"))
    return pip


def _own_wheel(work: Path, pip: list[str], order: Order) -> Path:
    how = ("--no-deps", "--no-build-isolation", "--no-cache-dir")
    _run(order, *pip, "wheel", *how, "--wheel-dir", str(work / "own"), str(ROOT))
    return next((work / "own").iterdir())


def pins(name: str) -> dict[str, str]:
    """The entries of a file of requirements/, by the package's name."""
    text = (ROOT / "requirements" / name).read_text()
    entries = re.findall(r"^[a-zA-Z0-9].*\n(?:[ \t]+.*\n)*", text, re.MULTILINE)
    return {re.split(r"[=\[ ]", entry, maxsplit=1)[0]: entry for entry in entries}


def pins_of(package: str) -> dict[str, str]:
    """What a package has of requirements/run.txt: together all of it, nothing twice; or of its own file."""
    everything = pins("run.txt")
    if package in APART:
        return _without(pins(APART[package]), everything)
    if package in EXTRAS:
        part = {name: everything[name] for name in EXTRAS[package]}
    else:
        node, hub = pins("node.txt"), pins("hub.txt")
        part = node if package == "skerry" else _without(hub, node)
    if any(everything.get(name) != entry for name, entry in part.items()):
        raise SystemExit("requirements/*.txt do not fit each other: run «make lock»")
    return part


def _without(these: Mapping[str, str], those: Mapping[str, str]) -> dict[str, str]:
    return {name: entry for name, entry in these.items() if name not in those}


def platforms(arch: str) -> list[str]:
    """What pip calls the systems whose wheels fit, as options."""
    machine = MACHINES[arch]
    names = [f"manylinux_2_{minor}_{machine}" for minor in reversed(GLIBC)]
    names += [f"manylinux2014_{machine}", f"linux_{machine}"]
    if arch == "amd64":
        names += ["manylinux2010_x86_64", "manylinux1_x86_64"]
    return [f"--platform={name}" for name in names]


def _stage(package: str, stage: Path, pip: list[str], own: Path, order: Order) -> None:
    """The package's files as they will lie on the device."""
    if package == "skerry":
        release = stage / OURS / "node"
        site = release / "lib" / f"python{PYTHON}" / "site-packages"
        within = f"lib/python{PYTHON}/site-packages"
    else:
        extra = package.removeprefix("skerry-")
        release = site = stage / OURS / extra
        within = f"extras/{extra}"
    site.mkdir(parents=True)
    _install(package, site, pip, order)
    _leave_out(site)
    if package == "skerry":
        _run(order, *pip, "install", "--no-deps", "--no-compile", "--target", str(site), str(own))
        _leave_out(site)
    at = f"/opt/skerry/releases/{order.version}"
    _compile(order, site, f"{at}/{within}")
    (release / "version").write_text(f"{order.version}\n")
    if package == "skerry":
        _interpreter(release, site, at)
        _for_people(stage, site, order)
    _settings(package, stage)
    _documentation(package, stage)


def _install(package: str, site: Path, pip: list[str], order: Order) -> None:
    wanted = site.parent / "wanted.txt"
    wanted.write_text("".join(pins_of(package).values()))
    kind = ("--implementation=cp", f"--python-version={PYTHON}", "--only-binary=:all:")
    where = ("--no-compile", "--no-deps", "--target", str(site), "-r", str(wanted))
    _run(order, *pip, "install", "--require-hashes", *kind, *platforms(order.arch), *where)
    wanted.unlink()


def _leave_out(site: Path) -> None:
    for pattern in NOT_NEEDED:
        for path in list(site.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _compile(order: Order, site: Path, at: str) -> None:
    """Bytecode that names the places on the device, and is never compared with its source there."""
    how = ["-q", "-f", "-j0", "--invalidation-mode=unchecked-hash"]
    where = ["-s", str(site), "-p", at, str(site)]
    _run(order, sys.executable, "-m", "compileall", *how, *where)


def _interpreter(release: Path, site: Path, at: str) -> None:
    """A virtual environment, as `venv` would make it in place."""
    (release / "bin").mkdir()
    for name in ("python", "python3"):
        (release / "bin" / name).symlink_to(f"/usr/bin/python{PYTHON}")
    command = release / "bin" / "skerry"
    # -I: nothing of the caller's environment or working directory is loaded, least of all for root.
    command.write_text(
        f"#!{at}/bin/python -I\nimport sys\n\nfrom skerry.cli.main import main\n\nsys.exit(main())\n"
    )
    command.chmod(0o755)
    (release / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON}\n"
    )
    extras = [f"../../../extras/{each.removeprefix('skerry-')}\n" for each in PACKAGES[1:]]
    (site / "extras.pth").write_text("".join(extras))


def _for_people(stage: Path, site: Path, order: Order) -> None:
    """The command on everybody's path, what a shell completes, and the manual page."""
    _put(SOURCES / "settle", stage / OURS / "settle")
    _put(SOURCES / "tidy", stage / OURS / "tidy")
    (stage / "usr/bin").mkdir(parents=True)
    (stage / "usr/bin/skerry").symlink_to("/opt/skerry/current/bin/skerry")
    for shell, place in (
        ("bash", "bash-completion/completions/skerry"),
        ("zsh", "zsh/vendor-completions/_skerry"),
        ("fish", "fish/vendor_completions.d/skerry.fish"),
    ):
        path = stage / "usr/share" / place
        path.parent.mkdir(parents=True)
        path.write_text(_completion(site, shell))
    manual = (SOURCES / "skerry.1").read_text().replace("@VERSION@", order.version)
    _gzip(manual, stage / "usr/share/man/man1/skerry.1.gz")


def _completion(site: Path, shell: str) -> str:
    program = (
        f"import sys; sys.path.insert(0, {str(site)!r}); from typer._completion_shared import get_completion_script as of; "
        f"print(of(prog_name='skerry', complete_var='_SKERRY_COMPLETE', shell={shell!r}))"
    )
    return _output(sys.executable, "-I", "-B", "-c", program) + "\n"


def _settings(package: str, stage: Path) -> None:
    kind = {"skerry": "node", "skerry-hub": "hub"}.get(package)
    if kind is not None:
        _put(
            SOURCES / f"skerry-{kind}.service",
            stage / f"usr/lib/systemd/system/skerry-{kind}.service",
        )
        _put(SOURCES / f"{kind}.yaml", stage / f"etc/skerry/{kind}.yaml")


def _documentation(package: str, stage: Path) -> None:
    place = stage / "usr/share/doc" / package
    _put(SOURCES / "copyright", place / "copyright")
    _gzip((ROOT / "CHANGELOG.md").read_text(), place / "changelog.gz")


def _packed(package: str, stage: Path, order: Order) -> Path:
    control = stage / "DEBIAN"
    control.mkdir()
    words = {
        "VERSION": order.version,
        "ARCH": order.arch,
        "PYTHON": PYTHON,
        "SIZE": str(sum(path.lstat().st_size for path in _files(stage)) // 1024),
        "NODE_SCHEMA": str(len(list(ROOT.glob("src/skerry/node/store/migrations/*.sql")))),
        "HUB_SCHEMA": str(_hub_schema()),
    }
    for source in sorted((SOURCES / package).iterdir()):
        text = re.sub(r"@([A-Z_]+)@", lambda found: words[found[1]], source.read_text())
        (control / source.name).write_text(text)
        (control / source.name).chmod(0o644 if source.name == "control" else 0o755)
    settings = [f"/{path.relative_to(stage)}\n" for path in stage.glob("etc/skerry/*")]
    if settings:
        (control / "conffiles").write_text("".join(settings))
    sums = [
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(stage)}\n"
        for path in _files(stage)
        if not path.is_symlink() and control not in path.parents
    ]
    (control / "md5sums").write_text("".join(sums))
    _same_everywhere(stage, order.epoch)
    order.output.mkdir(parents=True, exist_ok=True)
    target = order.output / f"{package}_{order.version}_{order.arch}.deb"
    how = ("--root-owner-group", f"-Z{order.compression}")
    _run(order, "dpkg-deb", *how, "--build", str(stage), str(target))
    return target


def _hub_schema() -> int:
    versions = ROOT.glob("src/skerry/hub/store/migrations/versions/[0-9]*.py")
    return max(int(path.name.partition("_")[0]) for path in versions)


def _files(stage: Path) -> Iterator[Path]:
    return (path for path in sorted(stage.rglob("*")) if path.is_symlink() or path.is_file())


def _same_everywhere(stage: Path, epoch: int) -> None:
    """Modes and times that do not depend on who builds, and when."""
    for path in (stage, *stage.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _gzip(text: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def _run(order: Order, *words: str) -> None:
    """Quiet about what it did; what a tool says goes to stderr."""
    steady = {"SOURCE_DATE_EPOCH": str(order.epoch), "PYTHONHASHSEED": "0"}
    environment = os.environ | steady  # noqa: TID251 - passed on, not read
    subprocess.run(words, check=True, env=environment, stdout=sys.stderr)


def _output(*words: str) -> str:
    return subprocess.run(
        words, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
