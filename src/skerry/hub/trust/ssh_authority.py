"""SSH certificates of people and nodes: issued, listed and revoked here. `api.ssh` asks.

A person's certificate opens one node for at most MOST_SECONDS. Who may not change and configure everything gets one that
runs a single command of the node's, which only shows things. Nodes ask for what their sshd goes by (`wire.ssh`).
"""

from __future__ import annotations

import builtins
import hashlib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from skerry.core.roles import Role, may
from skerry.core.ssh_krl import revocation_list
from skerry.hub.store import locks
from skerry.hub.store.engine import insert
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.notices import tell_news
from skerry.hub.store.ssh_tables import ssh_certificate, ssh_node
from skerry.hub.store.tables import FLEET
from skerry.hub.trust.ssh_keys import SshKeys, public_line
from skerry.hub.trust.ssh_signing import (
    fingerprint,
    host_certificate,
    read_public_key,
    read_source,
    user_certificate,
)
from skerry.hub.trust.standing import Judge
from skerry.kit.clock import NS, Clock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.wire.ssh import (
    MOST_SECONDS,
    SshCertificate,
    SshCertificateRequest,
    SshCertificateView,
    SshNode,
    SshRevoke,
    SshRevoked,
    SshState,
    SshTrust,
)

HOST_LIFE = 30 * 86_400 * NS
LISTED_AFTER_END = 30 * 86_400 * NS
"""For so long after its end a certificate may be of use, and a revoked one stays on nodes' lists: sessions outlast their
certificate, and the clock of a device may be behind."""

MOST_SHOWN = 1000

_ACCOUNT = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
"""People's ssh is told this name: nothing that it could take for an option."""

_LONGEST_COMMAND = 1000


@dataclass(frozen=True)
class Asking:
    """Who asks for a certificate, and for which node."""

    who: str
    role: Role
    node_id: str
    node: str
    until: int = 0
    """When the session ends that asks; 0: it is none."""


class SshAuthority:
    """The authority of one fleet. `notify` tells a node that there is something to ask for."""

    def __init__(
        self, store: HubStore, keys: SshKeys, clock: Clock, notify: Callable[[str], None]
    ) -> None:
        self._store = store
        self._keys = keys
        self._clock = clock
        self._notify = notify

    @classmethod
    def of(
        cls, data_dir: Path, store: HubStore, clock: Clock, notify: Callable[[str], None]
    ) -> SshAuthority:
        """With the keys in a hub's data directory."""
        return cls(store, SshKeys(data_dir, store, clock, RealDisk()), clock, notify)

    async def issue(self, asked: SshCertificateRequest, asking: Asking) -> SshCertificate:
        """A certificate. Raises InvalidInput, and Refused when the node's sshd does not trust this hub."""
        key = read_public_key(asked.public_key)
        source = read_source(asked.source) if asked.source else ""
        if not 1 <= asked.ttl <= MOST_SECONDS:
            raise InvalidInput(
                f"cannot issue a certificate for {asked.ttl} s: write 1 to {MOST_SECONDS:.0f} seconds"
            )
        user_ca, host_ca = await self._keys.key("user"), await self._keys.key("host")
        now = self._clock.wall_ns()
        until = min(now + int(asked.ttl * NS), asking.until or sys.maxsize)
        limited = not has_shell(asking.role)
        row = {
            "fleet_id": FLEET, "who": asking.who, "role": asking.role.name, "node_id": asking.node_id,
            "node": asking.node, "limited": limited, "fingerprint": fingerprint(asked.public_key),
            "issued_at": now, "expires_at": until,
        }  # fmt: skip

        def work(connection: Connection) -> tuple[int, Any]:
            there = connection.execute(_node(asking.node_id)).one_or_none()
            if there is None:
                raise Refused(
                    f"cannot issue a certificate for node «{asking.node}»: its sshd does not trust this hub. On the "
                    "device, as root: skerry node ssh-setup --user NAME"
                )
            locks.of_ssh(connection)
            its = ssh_certificate.c
            last = select(func.max(its.serial)).where(its.fleet_id == FLEET)
            serial = (connection.execute(last).scalar() or 0) + 1
            connection.execute(ssh_certificate.insert(), row | {"serial": serial})
            return serial, there

        serial, there = await self._store.write(work)
        key_id = f"{asking.who} {serial}"
        line = user_certificate(
            user_ca, key, serial=serial, key_id=key_id, node_id=asking.node_id, now=now, until=until,
            command=there.limited if limited else "", source=source,
        )  # fmt: skip
        return SshCertificate(
            certificate=line, serial=serial, key_id=key_id, node_id=asking.node_id, node=asking.node,
            user=there.account, port=there.port, host_ca=public_line(host_ca), expires_at=until, limited=limited,
        )  # fmt: skip

    async def trust(self, node_id: str, told: SshNode) -> SshTrust:
        """What a node's sshd goes by from now on. Raises InvalidInput when what it tells is no set-up."""
        host_key = read_public_key(told.host_key)
        if not (_ACCOUNT.fullmatch(told.user) and 1 <= told.port <= 65535):
            raise InvalidInput("cannot take the node's set-up: its account or port is none")
        if not (told.limited.isprintable() and 0 < len(told.limited) <= _LONGEST_COMMAND):
            raise InvalidInput("cannot take the node's set-up: its command is none")
        host_ca = await self._keys.key("host")
        authority = public_line(await self._keys.key("user"))
        now = self._clock.wall_ns()
        row = {
            "account": told.user, "port": told.port, "host_key": told.host_key, "limited": told.limited,
            "told_at": now,
        }  # fmt: skip

        def work(connection: Connection) -> builtins.list[int]:
            statement = insert(connection, ssh_node).values(fleet_id=FLEET, node_id=node_id, **row)
            connection.execute(
                statement.on_conflict_do_update(index_elements=["fleet_id", "node_id"], set_=row)
            )
            its = ssh_certificate.c
            revoked = select(its.serial).where(
                its.fleet_id == FLEET,
                its.node_id == node_id,
                its.revoked_at.is_not(None),
                its.expires_at > now - LISTED_AFTER_END,
            )
            return list(connection.execute(revoked.order_by(its.serial)).scalars())

        serials = await self._store.write(work)
        name = _list_name(authority, serials)
        certificate, until = "", 0
        if told.host_certificate:
            until = now + HOST_LIFE
            certificate = host_certificate(host_ca, host_key, node_id=node_id, now=now, until=until)
        krl = None
        if name != told.revoked:
            krl = revocation_list(
                authority,
                serials,
                number=len(serials),
                made_at=now // NS,
                comment=f"node {node_id}",
            )
        since = now if certificate else 0
        return SshTrust(authority, public_line(host_ca), name, krl, certificate, until, since)

    async def list(self) -> builtins.list[SshCertificateView]:
        """The newest certificates, the last first."""
        its, now = ssh_certificate.c, self._clock.wall_ns()
        query = select(ssh_certificate).where(its.fleet_id == FLEET).order_by(its.serial.desc())
        return await self._store.read(
            lambda connection: [
                _view(row, now) for row in connection.execute(query.limit(MOST_SHOWN))
            ]
        )

    async def revoke(self, asked: SshRevoke, by: str) -> SshRevoked:
        """Nodes refuse it as soon as they have heard. Raises InvalidInput and NotFound."""
        its = ssh_certificate.c
        if bool(asked.serial) == bool(asked.who):
            raise InvalidInput("cannot revoke: name one serial number, or a person")
        if asked.who:
            return await self.revoke_all_of(asked.who, by)
        revoked = await self._revoke(its.serial == asked.serial, by)
        if not revoked.serials:
            raise NotFound(
                f"cannot revoke SSH certificate {asked.serial}: there is none of this number. skerry access ssh list "
                "shows them."
            )
        return revoked

    async def revoke_all_of(self, who: str, by: str) -> SshRevoked:
        """Every certificate of a person that is good, or by which somebody may still be logged in."""
        its = ssh_certificate.c
        of_use = (its.who == who) & (its.expires_at > self._clock.wall_ns() - LISTED_AFTER_END)
        return await self._revoke(of_use & its.revoked_at.is_(None), by)

    async def login(self, who: str, node_id: str, port: int) -> Judge:
        """For a tunnel of a person to a port of a node that is about to open: whether it may go on.

        Not when it leads to sshd, and a certificate of that person for that node was revoked since. Which one it carries
        nobody here can see; with another that is good one logs in again.
        """
        its = ssh_certificate.c
        revoked = select(func.count()).where(
            its.fleet_id == FLEET,
            its.node_id == node_id,
            its.revoked_at.is_not(None),
            its.who == who,
        )

        def count(connection: Connection) -> int:
            return int(connection.execute(revoked).scalar_one())

        def begin(connection: Connection) -> tuple[bool, int]:
            there = connection.execute(_node(node_id)).one_or_none()
            return there is not None and there.port == port, count(connection)

        is_sshd, before = await self._store.read(begin)

        async def judge() -> None:
            # Counted, because the clocks of two hub processes need not agree about what came first.
            if is_sshd and await self._store.read(count) > before:
                raise Refused(
                    f"the tunnel has ended: an SSH certificate of «{who}» for this node was revoked"
                )

        return judge

    async def _revoke(self, which: ColumnElement[bool], by: str) -> SshRevoked:
        its, now = ssh_certificate.c, self._clock.wall_ns()
        statement = (
            update(ssh_certificate)
            .where(its.fleet_id == FLEET, which)
            .values(revoked_at=func.coalesce(its.revoked_at, now), revoked_by=by)
            .returning(its.serial, its.node_id)
        )

        def work(connection: Connection) -> tuple[builtins.list[int], set[str]]:
            rows = connection.execute(statement).all()
            nodes = {row.node_id for row in rows}
            if nodes:
                tell_news(connection, nodes)
            return sorted(row.serial for row in rows), nodes

        serials, nodes = await self._store.write(work)
        for node_id in nodes:
            self._notify(node_id)
        return SshRevoked(serials, len(nodes))


def has_shell(role: Role) -> bool:
    """Whether a certificate opens a shell: only for who may do everything at the hub anyway."""
    return may(role, "write") and may(role, "configure")


def _node(node_id: str) -> Any:  # noqa: ANN401 - a query
    its = ssh_node.c
    return select(ssh_node).where(its.fleet_id == FLEET, its.node_id == node_id)


def _list_name(authority: str, serials: builtins.list[int]) -> str:
    return hashlib.sha256(f"{authority} {serials}".encode()).hexdigest()[:16]


def _view(row: Any, now: int) -> SshCertificateView:  # noqa: ANN401 - a row of the table
    state: SshState = "valid" if now < row.expires_at else "expired"
    if row.revoked_at is not None:
        state = "revoked"
    return SshCertificateView(
        serial=row.serial, who=row.who, role=row.role, node_id=row.node_id, node=row.node, state=state,
        issued_at=row.issued_at, expires_at=row.expires_at, limited=row.limited, fingerprint=row.fingerprint,
        revoked_at=row.revoked_at, revoked_by=row.revoked_by,
    )  # fmt: skip
