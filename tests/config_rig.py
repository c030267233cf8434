"""A configuration directory on a real disk, and what a device remembers of it."""

from __future__ import annotations

import json
from pathlib import Path

from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Transient
from skerry.node.twins.config_dir import ConfigDirectory, Host, Own

HOST = Host("My Robot.lan", 0x0242AC110002, "Linux", "x86_64")
ENVIRONMENT = "11111111-2222-4333-8444-555555555555"
TWIN, OTHER = "aaaaaaaa-0000-4000-8000-000000000001", "aaaaaaaa-0000-4000-8000-000000000002"


class Kept:
    """What outlives an agent; implements `config_dir.KnownStore`."""

    def __init__(self) -> None:
        self.body: bytes | None = None
        self.full = False

    def read(self) -> bytes | None:
        return self.body

    async def keep(self, body: bytes) -> None:
        if self.full:
            raise Transient("cannot write node.db: the disk is full")
        self.body = body


def config_in(
    path: Path, environment: str = "", kept: Kept | None = None, **own: str
) -> ConfigDirectory:
    said = Own(own, environment)
    return ConfigDirectory(path, said, HOST, RealDisk(), SystemClock(), kept or Kept())


def put(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path
