"""Whether and how this device's sshd trusts the hub: what `skerry node ssh-setup` has left in the data directory."""

from __future__ import annotations

from pathlib import Path

import msgspec

from skerry.kit.disk import Disk
from skerry.kit.errors import InvalidInput
from skerry.wire.codec import decode, encode

FILE_NAME = "ssh.json"


class SetUp(msgspec.Struct, frozen=True):
    """`user` is the account that certificates open, `directory` where sshd finds what the agent keeps for it.

    `host_key` is the public key of sshd, `limited` the command that people get who may only look.
    """

    user: str
    directory: str
    drop_in: str
    host_key: str
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
        return decode(data, SetUp, str(path))
    except InvalidInput as error:
        raise InvalidInput(f"{error}. Run «skerry node ssh-setup» again.") from error


def write_set_up(data_dir: Path, set_up: SetUp, disk: Disk) -> None:
    """Keeps it; the agent goes by it from now on."""
    disk.write_atomic("ssh-set-up.write", data_dir / FILE_NAME, encode(set_up), mode=0o644)
