"""sshd's configuration as `skerry node ssh-setup` reads and writes it. Pure but for `Sshd`, which runs the program."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from skerry.kit.errors import Refused
from skerry.node.access.ssh_trust import AUTHORITY, HOST_CERTIFICATE, REVOKED

_USUAL = Path("/usr/sbin/sshd")
_SECONDS = 20.0


class Places(msgspec.Struct, frozen=True):
    """Where everything lies below sshd's own directory."""

    directory: Path

    @property
    def config(self) -> Path:
        """Sshd's main file."""
        return self.directory / "sshd_config"

    @property
    def drop_in(self) -> Path:
        """The file that makes sshd trust the hub."""
        return self.directory / "sshd_config.d" / "50-skerry.conf"

    @property
    def own(self) -> Path:
        """What is ours besides."""
        return self.directory / "skerry"

    @property
    def kept(self) -> Path:
        """What the agent keeps up to date."""
        return self.own / "hub"

    def principals(self, user: str) -> Path:
        """What certificates open an account."""
        return self.own / "principals" / user


class Effective(msgspec.Struct, frozen=True):
    """What sshd says about its configuration."""

    port: int
    host_key: Path
    pid_file: Path


def drop_in(places: Places, user: str, *, passwords: bool) -> str:
    """The text of the drop-in. Without `passwords`, keys and certificates alone open the account."""
    only_keys = (
        ""
        if passwords
        else "".join(
            f"    {line}\n"
            for line in (
                "AuthenticationMethods publickey",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
            )
        )
    )
    return (
        "# Written by «skerry node ssh-setup»; «skerry node ssh-setup --undo» removes it.\n"
        f"HostCertificate {places.kept / HOST_CERTIFICATE}\n"
        f"Match User {user}\n"
        f"    TrustedUserCAKeys {places.kept / AUTHORITY}\n"
        f"    AuthorizedPrincipalsFile {places.principals('%u')}\n"
        f"    RevokedKeys {places.kept / REVOKED}\n"
        f"{only_keys}"
        "Match all\n"
    )


def read_effective(text: str, config: Path) -> Effective:
    """What `sshd -T` prints. Raises Refused when something that is needed is not there."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key.lower(), []).append(value)
    keys = found.get("hostkey", [])
    if not keys or not found.get("port"):
        raise Refused(f"cannot set up SSH: sshd names no host key or port in {config}")
    host_key = next((key for key in keys if "ed25519" in key), keys[0])
    pid_file = found.get("pidfile", ["/run/sshd.pid"])[0]
    return Effective(int(found["port"][0]), Path(f"{host_key}.pub"), Path(pid_file))


def includes(text: str, places: Places) -> bool:
    """Whether sshd goes by the drop-in, by what `sshd -T -C user=…` prints."""
    wanted = f"trustedusercakeys {places.kept / AUTHORITY}"
    return any(line.lower() == wanted.lower() for line in text.splitlines())


def limited_command(python: str, data_dir: Path) -> str:
    """What people run who may only look."""
    words = [python, "-P", "-m", "skerry.cli.main", "node", "limited", "--data-dir", str(data_dir)]
    return shlex.join(words)


class Sshd:
    """The program. Every call raises Refused with sshd's own words."""

    def __init__(self, config: Path, program: Path | None) -> None:
        self._config = config
        self._program = program or _USUAL
        if not self._program.exists():
            raise Refused(
                "cannot set up SSH: there is no sshd on this device. Install it: apt-get install openssh-server"
            )

    def effective(self, of: Mapping[str, str] | None = None) -> str:
        """The configuration as it holds, for connections of this kind."""
        words = ["-C", ",".join(f"{key}={value}" for key, value in of.items())] if of else []
        return self._run(["-T", *words])

    def check(self) -> None:
        """That it would start with this configuration."""
        _ = self._run(["-t"])

    def check_includes(self, places: Places, user: str) -> None:
        """That it goes by the drop-in when this account logs in."""
        of = {"user": user, "host": "localhost", "addr": "127.0.0.1"}
        if not includes(self.effective(of), places):
            raise Refused(
                f"cannot set up SSH: {places.config} does not include {places.drop_in.parent}. Add at its top: Include "
                f"{places.drop_in.parent}/*.conf"
            )

    def _run(self, words: Sequence[str]) -> str:
        try:
            done = subprocess.run(
                [str(self._program), *words, "-f", str(self._config)],
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Refused(f"cannot ask sshd about {self._config}: {error}") from error
        if done.returncode != 0:
            said = " ".join(done.stderr.split()) or f"code {done.returncode}"
            raise Refused(f"cannot use {self._config}: sshd says «{said}»")
        return done.stdout
