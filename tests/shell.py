"""The `skerry` command as people run it: processes in a home of their own, beside a real hub and real nodes."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.installation import Installation

from skerry.cli.contexts import Context, Contexts, contexts_file, write_contexts
from skerry.kit.disk import RealDisk


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> object:
        return json.loads(self.out)


class Shell:
    """Runs `skerry` in a home of its own, whose current context is the installation."""

    def __init__(self, site: Installation, home: Path) -> None:
        self.site = site
        self.home = home
        self.node_dir = site.directory / "n1"
        target = Context(site.hub.url, site.hub.directory / "admin.token", self.node_dir)
        write_contexts(contexts_file(home), Contexts().with_context("test", target), RealDisk())

    async def start(
        self, *words: str, stdin: int = asyncio.subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "skerry.cli.main",
            *words,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "HOME": str(self.home)},
        )

    async def run(self, *words: str, stdin: str | None = None) -> Ended:
        process = await self.start(
            *words, stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE
        )
        out, err = await process.communicate(None if stdin is None else stdin.encode())
        assert "Traceback" not in err.decode(), err.decode()
        return Ended(process.returncode or 0, out.decode(), err.decode())
