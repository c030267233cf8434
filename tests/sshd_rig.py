"""Debian's sshd on a free port of loopback, with a configuration of its own, which `skerry node ssh-setup` changes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tests.installation import Node
from tests.ports import free_port
from tests.shell import Shell

from skerry.testing.waiting import eventually

SSHD = "/usr/sbin/sshd"


class Sshd:
    """One sshd. `prefix` puts it elsewhere, for example into a network namespace."""

    def __init__(self, directory: Path, prefix: Sequence[str] = ()) -> None:
        self.directory = directory
        self.port = free_port()
        self.log = directory / "sshd.log"
        self._prefix = list(prefix)
        self.process: asyncio.subprocess.Process | None = None

    def prepare(self, address: str = "127.0.0.1") -> None:
        self.directory.mkdir()
        (self.directory / "sshd_config.d").mkdir()
        Path("/run/sshd").mkdir(exist_ok=True)
        key = self.directory / "ssh_host_ed25519_key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        (self.directory / "sshd_config").write_text(
            f"Include {self.directory}/sshd_config.d/*.conf\n"
            f"Port {self.port}\nListenAddress {address}\nHostKey {key}\n"
            f"PidFile {self.directory}/sshd.pid\nUsePAM no\nStrictModes no\n"
            "PermitRootLogin yes\nLogLevel VERBOSE\nSubsystem sftp internal-sftp\n"
        )

    async def start(self) -> None:
        words = [*self._prefix, SSHD, "-D", "-e", "-f", str(self.directory / "sshd_config")]
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *words, stdin=asyncio.subprocess.DEVNULL, stderr=log, start_new_session=True
            )
        pid_file = self.directory / "sshd.pid"
        await eventually(pid_file.exists, f"sshd runs; {self.log.read_text()}")

    async def end(self) -> None:
        """It and whoever is logged in."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGTERM)
        await self.process.wait()
        for pid in sessions(self.port):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def sessions(port: int) -> list[int]:
    """Processes of sshd that serve a connection to this port."""
    done = subprocess.run(
        ["ss", "-tnpH", "state", "established", f"( sport = :{port} )"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [int(part.split(",")[0]) for part in done.stdout.split("pid=")[1:]]


@contextlib.asynccontextmanager
async def sshd(
    directory: Path, prefix: Sequence[str] = (), address: str = "127.0.0.1"
) -> AsyncIterator[Sshd]:
    running = Sshd(directory / "ssh", prefix)
    running.prepare(address)
    try:
        await running.start()
        yield running
    finally:
        await running.end()


def configure(node: Node, server: Sshd, more: str = "") -> None:
    """The node's settings name this sshd's directory."""
    text = f"access:\n  ssh_directory: {server.directory}\n{more}"
    (node.directory / "node.yaml").write_text(text)


async def set_up(shell: Shell, node: Node, *words: str) -> None:
    """`skerry node ssh-setup` for root, to the end."""
    options = ["--user", "root", "--data-dir", str(node.directory), *words]
    done = await shell.run("node", "ssh-setup", *options)
    assert done.code == 0, done.err
    assert "sshd trusts the hub" in done.out, done.out
