"""Whether and how this device's sshd trusts the hub: what `skerry node ssh-setup` has left in the data directory."""

from __future__ import annotations

from pathlib import Path

import msgspec

from skerry.kit.disk import Disk
from skerry.kit.errors import InvalidInput

FILE_NAME = "ssh.json"

SET_UP_SEEN_EVERY = 3.0
"""Seconds after which a running agent notices a set-up, or that it was undone."""


class SetUp(msgspec.Struct, frozen=True):
    """`user` is the account that certificates open, `directory` where sshd finds what the agent keeps for it.

    `port` and `pid_file` are sshd's, `host_key` is its public key, `limited` the command that people get who may only look.
    """

    user: str
    port: int
    directory: Path
    host_key: str
    pid_file: Path
    limited: str


def is_set_up(data_dir: Path) -> bool:
    """Whether `skerry node ssh-setup` has run for this node."""
    return (data_dir / FILE_NAME).exists()


def read_set_up(data_dir: Path) -> SetUp | None:
    """What it has left, or None. Raises InvalidInput when the file is damaged."""
    path = data_dir / FILE_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(data, type=SetUp, dec_hook=lambda kind, text: kind(text))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"cannot read {path}: {error}. Run «skerry node ssh-setup» again."
        ) from error


def write_set_up(data_dir: Path, set_up: SetUp, disk: Disk) -> None:
    """Keeps it; the agent goes by it from now on."""
    disk.write_atomic(
        "ssh-set-up.write",
        data_dir / FILE_NAME,
        msgspec.json.encode(set_up, enc_hook=str),
        mode=0o644,
    )
