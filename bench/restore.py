"""How long a backup of 1 GB takes, how long its restore, and how much memory: plain and encrypted, beside a plain copy."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.backup_rig import maker, restored, settings
from tests.sealed_node import edit, sealed_node

from bench.figures import Figure
from skerry.node.backups.restoring import Keeping

SEGMENT = 4 * 1024 * 1024
SEGMENTS = 256
KINDS = 4
"""Different contents: the same one comes again farther away than the compression looks back."""

GB = SEGMENT * SEGMENTS / 1e9


async def run(place: Path) -> list[Figure]:
    """Each step in a process of its own, so that its memory is its own."""
    found = []
    for name, on in (("plain", False), ("encrypted", True)):
        home = place / name
        async with sealed_node(home, on=on) as node:
            for number in range(50):
                await edit(node, number)
        await asyncio.to_thread(_fill, home / "records" / "keep", on)
        file, other = place / f"{name}.skb", place / f"{name}-restored"
        backup = await asyncio.to_thread(_child, "backup", home, file, on)
        restore = await asyncio.to_thread(_child, "restore", home, file, on, other)
        copied = await asyncio.to_thread(_copy, home, place / "copy")
        note = f"{GB:.2f} GB of records, archive {file.stat().st_size / 1e9:.2f} GB"
        found += [
            Figure("restore", f"backup of 1 GB, {name}", backup["seconds"] / GB, "s", peers={"cp -r, synced": copied / GB}, note=note),
            Figure("restore", f"restore of 1 GB, {name}", restore["seconds"] / GB, "s", peers={"cp -r, synced": copied / GB}, note=note),
            Figure("restore", f"memory of that restore above the interpreter with its modules, {name}", restore["megabytes"], "MB", 20.0),
            Figure("restore", f"memory of that backup above the interpreter with its modules, {name}", backup["megabytes"], "MB", 20.0),
        ]  # fmt: skip
        for path in (home, other, file):
            await asyncio.to_thread(_remove, path)
    return found


def _fill(lane: Path, on: bool) -> None:
    """What segments are like: JSON that compresses about five times, or what cannot be told from noise."""
    chance = random.Random(1)
    for path in lane.glob("*.seg"):
        path.unlink()
    kinds = [chance.randbytes(SEGMENT) if on else _batches(chance) for _ in range(KINDS)]
    for number in range(SEGMENTS):
        data = kinds[number % KINDS]
        (lane / f"{number * 1000 + 1:020d}.seg").write_bytes(data)


def _batches(chance: random.Random) -> bytes:
    lines = bytearray()
    at = 1_760_000_000_000_000_000
    while len(lines) < SEGMENT:
        at += chance.randrange(10**9)
        value = {"name": "env.temperature", "at": at, "value": round(chance.gauss(20, 3), 3)}
        lines += json.dumps(value).encode()
    return bytes(lines[:SEGMENT])


def _child(what: str, home: Path, file: Path, on: bool, other: Path | None = None) -> dict[str, float]:  # fmt: skip
    words = [sys.executable, "-m", "bench.restore", what, str(home), str(file), str(int(on)), str(other or "")]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _copy(home: Path, target: Path) -> float:
    began = time.perf_counter()
    shutil.copytree(home, target, ignore=shutil.ignore_patterns("run"))
    os.sync()
    seconds = time.perf_counter() - began
    shutil.rmtree(target)
    return seconds


def _remove(path: Path) -> None:
    path.unlink() if path.is_file() else shutil.rmtree(path)


def main() -> None:
    """One step, alone in its process: prints seconds, and megabytes above those at the beginning."""
    what, home, file, on, other = sys.argv[1:]
    settings(Path(home), on=on == "1")
    if on == "1":
        from cryptography.hazmat.primitives.ciphers import aead  # noqa: F401, PLC0415

    before = _peak()
    began = time.perf_counter()
    if what == "backup":
        maker(Path(home)).to_file(Path(file))
    else:
        key = Path(home, "storage.key")
        keeping = Keeping(kek=bytes.fromhex(key.read_text())) if on == "1" else Keeping()
        restored(Path(file), Path(other), on=on == "1", keeping=keeping)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "megabytes": _peak() - before}))


def _peak() -> float:
    """Megabytes. Not from getrusage, which counts what the process was before it became this program."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


if __name__ == "__main__":
    main()
