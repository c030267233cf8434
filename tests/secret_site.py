"""Secrets in whole installations: ways to set them, workloads that show that they have them, and where to look for them."""

from __future__ import annotations

import base64
from pathlib import Path

from tests.files_in_use import contents
from tests.installation import Hub, Installation, Node

from skerry.wire.secret_views import SecretPut, SecretView
from skerry.wire.secrets import SecretUse
from skerry.wire.workload import ProcessSpec, Selector, WorkloadSpec

CANARY = "c4n4ry-of-secrets-0123"

SHOWS = """
import os, pathlib, signal, urllib.parse, base64
at = pathlib.Path(os.environ["SKERRY_SECRETS"], "db")
def show(*_):
    value = at.read_text()
    basic = base64.b64encode(b"user:" + value.encode()).decode()
    print("file", oct(at.stat().st_mode & 0o777), at.stat().st_uid == os.geteuid(), value, flush=True)
    print("env", os.environ.get("DB"), basic, urllib.parse.quote(value + "/?"), flush=True)
signal.signal(signal.SIGUSR1, show)
show()
value = at.read_text()
pathlib.Path(os.environ["HOME"], "seen").write_text(str(len(value)) + " " + value[-1])
while True:
    signal.pause()
"""
"""Prints its secret in several forms, again at SIGUSR1, and keeps its length and last character."""


async def put(hub: Hub, name: str, value: str, on: Selector | None = None) -> SecretView:
    async with hub.api() as api:
        body = SecretPut(value.encode(), on)
        return await api.send("PUT", f"/api/v1/secrets/{name}", body, SecretView)


async def started(at: Installation, name: str = "n1", **labels: str) -> Node:
    """A node that is enrolled and runs."""
    node = at.node(name)
    await node.enrol(at.hub, labels)
    await node.start()
    await node.ready()
    return node


def shows(name: str = "shows", **fields: object) -> WorkloadSpec:
    """Has the secret «db» as a file and as a variable."""
    return WorkloadSpec(
        name=name,
        process=ProcessSpec(command=["python", "-c", SHOWS]),
        secrets=[SecretUse(name="db"), SecretUse(name="db", env="DB")],
        **fields,  # type: ignore[arg-type]  # a test's keywords
    )


def seen(node: Node, workload: str = "shows") -> str:
    """What `SHOWS` has kept."""
    path = node.directory / "workloads" / workload / "seen"
    return path.read_text() if path.exists() else ""


def log_of(node: Node, workload: str = "shows") -> str:
    """What it has printed, as far as that is in its log."""
    path = node.directory / "logs" / workload / "current.log"
    return path.read_text() if path.exists() else ""


async def message(node: Node, workload: str = "shows") -> str:
    """The workload's status in words."""
    status = await node.status()
    found = [] if status is None else [w for w in status.workloads if w.workload == workload]
    return found[0].message if found else ""


def forms() -> list[bytes]:
    """In which the canary might stand somewhere."""
    raw = CANARY.encode()
    basic = base64.b64encode(b"user:" + raw)[8:24]
    return [raw, raw.hex().encode(), base64.b64encode(raw)[:20], basic]


def found_below(directory: Path) -> list[str]:
    """Files with the canary in some form."""
    return [str(path) for path, content in contents(directory) if holds(content)]


def holds(data: bytes) -> bool:
    """Whether the canary is in it in some form."""
    return any(form in data for form in forms())


def words_of(path: Path) -> bytes:
    """A file of /proc; empty when the process has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
