"""`skerry node ssh-setup`: makes this device's sshd trust the hub's SSH authority. See docs/operate/developer-access.md."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.output import Form, FormOption, Screen, standard_screen
from skerry.core.ssh_krl import revocation_list
from skerry.kit.disk import DiskOf, RealDisk
from skerry.kit.errors import InvalidInput, Refused
from skerry.node.access.set_up import FILE_NAME, SetUp, read_set_up, write_set_up
from skerry.node.access.ssh_trust import AUTHORITY, HOST_CERTIFICATE, REVOKED, reload_sshd
from skerry.node.access.sshd import (
    Effective,
    Places,
    Sshd,
    drop_in,
    limited_command,
    read_effective,
)
from skerry.node.identity import Identity, read_identity
from skerry.node.node_settings import NodeSettings
from skerry.node.settings import find_settings, node_settings

DataDir = Annotated[Path | None, typer.Option(help="The node's data directory.")]
Configs = Annotated[
    list[Path] | None, typer.Option("--config", help="The settings file; else node.yaml in there.")
]

WAIT_SECONDS = 20.0
"""For the agent to bring what the hub says."""


def register(group: typer.Typer) -> None:
    """Adds the command."""
    group.command("ssh-setup")(ssh_setup)


def ssh_setup(  # noqa: PLR0913 - one argument for each option
    *,
    user: Annotated[
        str | None, typer.Option(help="The account of this device that certificates open.")
    ] = None,
    keep_passwords: Annotated[
        bool, typer.Option("--keep-passwords", help="Leave passwords of that account on.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be written.")
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take everything back: sshd forgets the hub.")
    ] = False,
    data_dir: DataDir = None,
    config: Configs = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Make sshd of this device trust the hub's short-lived SSH certificates. Needs root."""
    options = {"data_dir": str(data_dir.absolute())} if data_dir else {}
    settings = node_settings(find_settings(config or [], options=options))
    places, screen = Places(settings.access.ssh_directory), standard_screen(output)
    if undo:
        _undo(settings, places)
        screen.tell("sshd does not trust the hub any more", {"set_up": False})
        return
    if user is None:
        raise InvalidInput(
            "cannot set up SSH: say which account certificates open, with --user NAME. Whoever may do everything at the "
            "hub gets its shell."
        )
    identity = _checked(settings, user)
    sshd = Sshd(places.config, _program())
    effective = read_effective(sshd.effective(), places.config)
    text = drop_in(places, user, passwords=keep_passwords)
    if dry_run:
        screen.say(
            f"{places.drop_in}:\n{text}\n{places.principals(user)}:\nnode:{identity.node_id}"
        )
        return
    _must_be_root()
    before = places.drop_in.read_bytes() if places.drop_in.exists() else None
    _write(settings, places, user, identity, text)
    _prove(sshd, places, user, before)
    _remember(settings, places, user, effective)
    _tell(screen, settings, places, user)


def _checked(settings: NodeSettings, user: str) -> Identity:
    identity = read_identity(settings.data_dir)
    if identity is None:
        raise Refused(
            f"cannot set up SSH: the node in {settings.data_dir} belongs to no hub. First: skerry node enroll --hub URL"
        )
    try:
        pwd.getpwnam(user)
    except KeyError as error:
        raise InvalidInput(
            f"cannot set up SSH: this device has no account «{user}». Make it, or name another."
        ) from error
    return identity


def _program() -> Path | None:
    found = shutil.which("sshd")
    return Path(found) if found else None


def _must_be_root() -> None:
    if os.geteuid() != 0:
        raise Refused("cannot set up SSH: only root may write sshd's configuration. Use sudo.")


def _owner(settings: NodeSettings) -> tuple[int, int]:
    found = settings.data_dir.stat()
    return found.st_uid, found.st_gid


def _write(
    settings: NodeSettings, places: Places, user: str, identity: Identity, text: str
) -> None:
    """The agent's own files belong to who owns its data; until it has asked the hub, they let nobody in."""
    owner = _owner(settings)
    disk, agents = RealDisk(), DiskOf(owner)
    for directory in (places.own, places.principals(user).parent, places.kept):
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        directory.chmod(0o755)  # whatever the umask: sshd's own account looks, too
    os.chown(places.kept, *owner)
    nothing = revocation_list("", [], number=0, made_at=0)
    for name, content in ((REVOKED, nothing), (AUTHORITY, b"")):
        path = places.kept / name
        if not path.exists():
            agents.write_atomic(f"ssh-setup.{name}", path, content, mode=0o644)
    principals = f"node:{identity.node_id}\n".encode()
    disk.write_atomic("ssh-setup.principals", places.principals(user), principals, mode=0o644)
    places.drop_in.parent.mkdir(mode=0o755, exist_ok=True)
    disk.write_atomic("ssh-setup.drop-in", places.drop_in, text.encode(), mode=0o644)


def _prove(sshd: Sshd, places: Places, user: str, before: bytes | None) -> None:
    """That sshd takes the drop-in and goes by it; else there is again what was there before."""
    try:
        sshd.check()
        sshd.check_includes(places, user)
    except Refused:
        if before is None:
            places.drop_in.unlink()
        else:
            RealDisk().write_atomic("ssh-setup.drop-in", places.drop_in, before, mode=0o644)
        raise


def _remember(settings: NodeSettings, places: Places, user: str, effective: Effective) -> None:
    try:
        host_key = effective.host_key.read_text().strip()
    except OSError as error:
        raise Refused(
            f"cannot set up SSH: cannot read sshd's host key {effective.host_key}: {error.strerror}"
        ) from error
    owner = _owner(settings)
    set_up = SetUp(
        user=user,
        port=effective.port,
        directory=places.kept,
        host_key=" ".join(host_key.split()[:2]),
        pid_file=effective.pid_file,
        limited=limited_command(sys.executable, settings.data_dir.absolute()),
    )
    write_set_up(settings.data_dir, set_up, DiskOf(owner))
    reload_sshd(effective.pid_file)


def _tell(screen: Screen, settings: NodeSettings, places: Places, user: str) -> None:
    certificate = places.kept / HOST_CERTIFICATE
    give_up = time.monotonic() + WAIT_SECONDS
    while not certificate.exists() and time.monotonic() < give_up:
        time.sleep(0.1)
    ready = certificate.exists()
    words = f"sshd trusts the hub: its certificates for this node open the account «{user}»"
    if not ready:
        words = (
            f"sshd is set up, but the agent has brought nothing of the hub's yet, so nobody gets in. Is it running, and "
            f"linked? skerry node status --data-dir {settings.data_dir}"
        )
    screen.tell(words, {"set_up": True, "user": user, "ready": ready, "file": str(places.drop_in)})


def _undo(settings: NodeSettings, places: Places) -> None:
    _must_be_root()
    set_up = read_set_up(settings.data_dir)
    (settings.data_dir / FILE_NAME).unlink(missing_ok=True)
    places.drop_in.unlink(missing_ok=True)
    if places.own.exists():
        shutil.rmtree(places.own)
    if set_up is not None:
        reload_sshd(set_up.pid_file)
