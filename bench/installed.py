"""Peers installed into one throw-away directory, by their own package managers; nothing else of the machine changes.

Kept between runs in skerry-bench-peers below the temporary directory. What cannot be installed here is left out, and the run says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

PEERS = Path(tempfile.gettempdir()) / "skerry-bench-peers"
SUPERVISOR = "supervisor==4.3.0"
PM2 = "pm2@7.0.4"
POUCHDB = Path(__file__).with_name("pouchdb")


def supervisors() -> None:
    """Puts supervisord, pm2 and runit on PATH."""
    _once("supervisord", _supervisord, PEERS / "python/bin")
    _once("pm2", _pm2, PEERS / "pm2/node_modules/.bin")
    _once("runsvdir", _runit, PEERS / "runit/usr/bin")


def compose() -> None:
    """Installs Debian's docker-compose, which is nothing but itself and Python libraries; needs root."""
    if shutil.which("docker-compose") is None:
        _succeeds(["apt-get", "update", "-q"])
        _succeeds(["apt-get", "install", "-y", "-q", "--no-install-recommends", "docker-compose"])


def pouchdb() -> Path | None:
    """The directory of the PouchDB runners with their modules, or None where npm cannot fetch them."""
    directory = PEERS / "pouchdb"
    if not (directory / "node_modules/express-pouchdb").is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(POUCHDB / "package.json", directory)
        if not _succeeds([*_NPM, "--prefix", str(directory)]):
            return None
    for runner in POUCHDB.glob("*.js"):
        shutil.copy(runner, directory)
    return directory


_NPM = ("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error")


def _once(program: str, install: Callable[[], None], directory: Path) -> None:
    if shutil.which(program) is None and not (directory / program).exists():
        PEERS.mkdir(parents=True, exist_ok=True)
        install()
    if (directory / program).exists():
        os.environ["PATH"] = f"{directory}{os.pathsep}{os.environ['PATH']}"


def _supervisord() -> None:
    place = PEERS / "python"
    if _succeeds([sys.executable, "-m", "venv", str(place)]):
        _succeeds([str(place / "bin/python"), "-m", "pip", "install", "-q", SUPERVISOR])


def _pm2() -> None:
    _succeeds([*_NPM, "--prefix", str(PEERS / "pm2"), PM2])


def _runit() -> None:
    """Unpacked, not installed: the package's services stay away."""
    place = PEERS / "runit"
    place.mkdir(exist_ok=True)
    if _succeeds(["apt-get", "download", "-q", "runit"], place):
        for package in place.glob("runit_*.deb"):
            _succeeds(["dpkg", "-x", str(package), str(place)])


def _succeeds(words: Sequence[str], directory: Path | None = None) -> bool:
    try:
        done = subprocess.run(
            words, cwd=directory, capture_output=True, text=True, timeout=300, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"  cannot run {words[0]}: {error}")
        return False
    if done.returncode:
        print(f"  cannot install a peer: {' '.join(words)}: {done.stderr.strip()[-300:]}")
    return done.returncode == 0
