"""Workers of Cyberwave's as a process of the device, whose program is one of ours: it says what it is given."""

from __future__ import annotations

from pathlib import Path

from tests.cyberwave_site import CyberwaveSite

from skerry.core.cyberwave.names import worker_container

WORKER = """
import hashlib, os, pathlib, signal, sys
scripts = pathlib.Path(os.environ["CYBERWAVE_WORKERS_DIR"]).glob("*.py")
print("texts", *(path.read_text().strip() for path in sorted(scripts)), flush=True)
weights = pathlib.Path(os.environ["CYBERWAVE_MODEL_DIR"]).glob("*/*.onnx")
print("weights", *(hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(weights)), flush=True)
print("workers", sorted(path.name for path in pathlib.Path(os.environ["CYBERWAVE_WORKERS_DIR"]).glob("*.py")), flush=True)
path = os.environ["CYBERWAVE_WORKER_STATUS_PATH"]
pathlib.Path(path + ".new").write_text('{"phase": "ready"}')
os.rename(path + ".new", path)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.pause()
"""


def work_natively(site: CyberwaveSite, directory: Path) -> None:
    """The workers' program is one of ours, which runs no script but says which there are."""
    program = directory / "worker.py"
    program.write_text(WORKER)
    site.node.options += ["--set", f"cyberwave.worker_command=[python, {program}]"]


def add_script(site: CyberwaveSite, name: str = "a.py", text: str = "print('x')\n") -> None:
    """At once: who finds a file that is still empty makes two changes of it."""
    scripts = site.config / "workers"
    scripts.mkdir(parents=True, exist_ok=True)
    draft = scripts / f".{name}.tmp"
    draft.write_text(text)
    draft.rename(scripts / name)


def worker_of(site: CyberwaveSite) -> str:
    return worker_container(site.environment)


def said(site: CyberwaveSite, word: str) -> list[str]:
    """What followed the word, at each start."""
    lines = site.log(worker_of(site)).splitlines()
    return [line.partition(f" {word} ")[2] for line in lines if f" F {word}" in line]
