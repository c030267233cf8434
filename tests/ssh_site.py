"""A hub, a node whose sshd trusts it, and a person who logs in: by `skerry` and by OpenSSH's own client."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.installation import Installation, Node
from tests.shell import Ended, Shell
from tests.sshd_rig import Sshd


@dataclass
class Site:
    """A hub, a node with its sshd, and a person."""

    installation: Installation
    node: Node
    sshd: Sshd
    shell: Shell

    async def ssh(self, *command: str, token: Path | None = None) -> Ended:
        words = ["--token-file", str(token)] if token else []
        return await self.shell.run("ssh", self.node.name, *words, "--", *command)

    async def token(self, name: str, role: str) -> Path:
        made = await self.shell.run("access", "token", "create", name, "--role", role)
        path = self.shell.home / f"{name}.token"
        path.write_text(made.out)
        return path

    async def kept(self, name: str, *words: str, node: str = "") -> Path:
        """A certificate kept as files, for the sshd itself."""
        out = self.shell.home / name
        direct = f"127.0.0.1:{self.sshd.port}"
        done = await self.shell.run(
            "ssh-cert", node or self.node.name, "--out", str(out), "--direct", direct, *words
        )
        assert done.code == 0, done.err
        return out

    def client(self, directory: Path, *command: str, name: str = "") -> Ended:
        """OpenSSH's client with kept files."""
        words = ["ssh", "-F", str(directory / "config"), name or self.node.name, *command]
        done = subprocess.run(
            words, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=60
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def lets_in(self, directory: Path, name: str = "") -> bool:
        return self.client(directory, "echo", "in", name=name).out == "in\n"
