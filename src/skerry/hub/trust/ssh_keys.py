"""The two keys of the hub's SSH authority: files in `<data_dir>/trust`, made when somebody first needs them.

One signs certificates of people, the other those of nodes' sshd. Hubs that share a database need the same keys: its
rows say which, so that a hub whose files differ refuses to sign instead of handing out what nodes do not trust. A hub
that has its database alone goes on with another key, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)
from sqlalchemy import Connection, select, update

from skerry.hub.store.engine import insert
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.ssh_tables import ssh_authority
from skerry.hub.store.tables import FLEET
from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import Refused
from skerry.kit.ids import random_token

log = logging.getLogger(__name__)

DIRECTORY = "trust"

Kind = Literal["user", "host"]


class SshKeys:
    """The keys by their kind."""

    def __init__(self, data_dir: Path, store: HubStore, clock: Clock, disk: Disk) -> None:
        self._directory = data_dir / DIRECTORY
        self._store = store
        self._clock = clock
        self._disk = disk
        self._keys: dict[Kind, Ed25519PrivateKey] = {}
        self._lock = asyncio.Lock()

    async def key(self, kind: Kind) -> Ed25519PrivateKey:
        """The private key. Raises Refused when it cannot be used, or is not the one that the other hubs have."""
        async with self._lock:
            if kind not in self._keys:
                self._keys[kind] = await self._find(kind)
            return self._keys[kind]

    async def _find(self, kind: Kind) -> Ed25519PrivateKey:
        path = self._directory / f"ssh_{kind}_ca"
        known = await self._store.read(lambda connection: _known(connection, kind))
        if known and self._store.shared and not path.exists():
            raise Refused(
                f"cannot use the SSH authority: this hub lacks {path}. Copy it from the hub that made it, mode 0600."
            )
        key = await asyncio.to_thread(self._load_or_create, path)
        mine = public_line(key)
        agreed = await self._store.write(lambda connection: self._agree(connection, kind, mine))
        if agreed != mine:
            if self._store.shared:
                raise Refused(
                    f"cannot use the SSH authority: {path} is not the key of the other hubs of this database. Copy theirs."
                )
            await self._store.write(lambda connection: self._replace(connection, kind, mine))
            log.warning(
                "the SSH authority has another key for %s certificates than before: %s was lost or replaced. Nodes take it "
                "at their next look; certificates of the old one end then. Where the old file may be in other hands, ask why.",
                kind,
                path,
            )
        return key

    def _agree(self, connection: Connection, kind: Kind, mine: str) -> str:
        """The public key that all hubs have: the first one's."""
        row = {
            "fleet_id": FLEET, "kind": kind, "public_key": mine, "made_at": self._clock.wall_ns(),
        }  # fmt: skip
        connection.execute(insert(connection, ssh_authority).on_conflict_do_nothing(), row)
        return _known(connection, kind)

    def _replace(self, connection: Connection, kind: Kind, mine: str) -> None:
        its = ssh_authority.c
        row = {"public_key": mine, "made_at": self._clock.wall_ns()}
        connection.execute(
            update(ssh_authority).where(its.fleet_id == FLEET, its.kind == kind).values(row)
        )

    def _load_or_create(self, path: Path) -> Ed25519PrivateKey:
        try:
            self._disk.make_directory("ssh-authority.directory", path.parent, 0o700)
            if not path.exists():
                self._create(path)
            for each, most in ((path.parent, 0o700), (path, 0o600)):
                if each.stat().st_mode & 0o777 & ~most:
                    raise Refused(
                        f"cannot use {path}: others may read {each}. Only the hub's user may: chmod {most:o} {each}, and "
                        "think about who may have read it."
                    )
            key = load_ssh_private_key(path.read_bytes(), None)
        except OSError as error:
            raise Refused(
                f"cannot use {path}: {error.strerror}. It must be the hub's user's own file."
            ) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise Refused(
                f"cannot use {path}: it holds no key. Put back the right file from a copy."
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise Refused(f"cannot use {path}: it holds a key that is not ed25519")
        return key

    def _create(self, path: Path) -> None:
        """Another hub process may share the directory: the first one's key is everybody's."""
        written = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
        )
        fresh = path.with_name(f"{path.name}.{random_token(4)}")
        self._disk.write_atomic("ssh-authority.write", fresh, written, mode=0o600)
        try:
            with contextlib.suppress(FileExistsError):
                os.link(fresh, path)
        finally:
            self._disk.unlink("ssh-authority.written", fresh)
        self._disk.sync_directory("ssh-authority.sync", path.parent)


def public_line(key: Ed25519PrivateKey) -> str:
    """The public key as OpenSSH writes it."""
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _known(connection: Connection, kind: Kind) -> str:
    its = ssh_authority.c
    query = select(its.public_key).where(its.fleet_id == FLEET, its.kind == kind)
    return connection.execute(query).scalar() or ""
