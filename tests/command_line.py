"""`skerry` as a person at a shell has it: a home directory, words, and what comes back."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.installation import Installation

from skerry.cli.contexts import Context, Contexts, contexts_file, write_contexts
from skerry.kit.disk import RealDisk


@dataclass(frozen=True)
class Ended:
    """One command that has ended."""

    code: int
    out: str
    err: str


class CommandLine:
    """Runs `skerry` with `site` as its current context. A traceback is never an answer."""

    def __init__(self, site: Installation) -> None:
        self.home = site.directory / "home"
        self.home.mkdir()
        target = Context(site.hub.url, site.hub.directory / "admin.token", site.directory / "n1")
        write_contexts(
            contexts_file(self.home), Contexts().with_context("test", target), RealDisk()
        )

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.home)}

    async def begin(
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
            env=self.environment,
        )

    async def run(self, *words: str, stdin: bytes | None = None) -> Ended:
        process = await self.begin(
            *words, stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE
        )
        out, err = await process.communicate(stdin)
        assert b"Traceback" not in err, err.decode()
        return Ended(process.returncode or 0, out.decode(errors="replace"), err.decode())

    def file(self, name: str, content: str | bytes) -> Path:
        """A file in the home directory."""
        path = self.home / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path
