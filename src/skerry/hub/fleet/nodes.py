"""Nodes: enrolment, authentication, liveness, and what they report about themselves.

A node's secret is known to the node alone; the hub keeps its hash, and all hashes in memory, so that
authentication costs no database. When a node was last heard of is kept in memory too and written at
most every 30 seconds.
"""

from __future__ import annotations

import builtins
import hmac
import logging
import re
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import TypeVar

import msgspec
from sqlalchemy import Connection, bindparam, select, update

from skerry.core.credentials import secret_hash
from skerry.core.names import name_fault
from skerry.core.roles import Role
from skerry.hub.fleet.admission import let_in
from skerry.hub.fleet.agents import Agent, Agents
from skerry.hub.fleet.assignments import Assignments, read_labels, read_workloads
from skerry.hub.fleet.controller import Node
from skerry.hub.fleet.covering import covers_nodes, find_node, nodes_for
from skerry.hub.fleet.device_history import note_change
from skerry.hub.fleet.fingerprints import claim, hear, is_unheard
from skerry.hub.fleet.labels import check_labels, read_given, stored_labels
from skerry.hub.fleet.node_keys import Issue, NodeKeys
from skerry.hub.fleet.removal import remove
from skerry.hub.fleet.sight import EVERYTHING, Sight, seen_by
from skerry.hub.fleet.tokens import find_token, forget_uses
from skerry.hub.fleet.views import node_views
from skerry.hub.store import locks
from skerry.hub.store.bodies import Bodies
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.notices import Revoked, tell
from skerry.hub.store.tables import FLEET, node
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput, NotFound, SkerryError
from skerry.kit.ids import uuid7
from skerry.kit.nearest import did_you_mean
from skerry.wire.people import NodeDeleted, NodeRevoked, NodeView
from skerry.wire.sync import Enrol, Enrolled
from skerry.wire.workload import NodeInfo

log = logging.getLogger(__name__)

FLUSH_EVERY = 30.0
"""Seconds between two calls of `Nodes.flush` by the hub's loop."""

FLUSH_FOR_OTHERS_EVERY = 5.0
"""The same where other hub processes read when a node was last heard of, and call it offline after 45 s."""

T = TypeVar("T")

_NOBODY = "0" * 64
_HASH = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Nodes:
    """`notify` is called in the event loop with a node's id, after the commit, when it has news to pull."""

    def __init__(
        self,
        store: HubStore,
        assignments: Assignments,
        clock: Clock,
        notify: Callable[[str], None],
    ) -> None:
        self._store = store
        self._assignments = assignments
        self._clock = clock
        self._notify = notify
        self._hashes: dict[str, str] = {}
        self.keys = NodeKeys(store, self._read)
        """Of nodes with certificates. As the hashes of secrets: here for authentication, and the database decides."""
        self._seen: dict[str, int] = {}
        self._unwritten: set[str] = set()
        self._agents = Agents()
        self._deletions = 0

    async def start(self) -> None:
        """Reads the secrets' hashes, again too. After HubStore.start()."""
        query = select(node.c.id, node.c.secret_hash, node.c.key_hash, node.c.trust_number)
        query = query.where(node.c.revoked_at.is_(None))
        rows = await self._read(lambda connection: connection.execute(query).all())
        self._hashes = {row.id: row.secret_hash for row in rows}
        self.keys.known = {row.id: row.key_hash for row in rows}
        self.keys.trust = {row.id: row.trust_number for row in rows}

    async def enrol(self, request: Enrol, issue: Issue | None = None) -> Enrolled:
        """A node that asks again, with the same secret, gets the same answer, and what `issue` makes for its key.

        Raises InvalidInput (name, labels, hash) or Refused (token unknown, used, expired; name taken).
        """
        fault = name_fault(request.name)
        if fault is not None:
            raise InvalidInput(f"cannot enrol the node: {fault}")
        if _ID.fullmatch(request.name):
            raise InvalidInput(
                f"cannot enrol the node: «{request.name}» is what an id looks like, and ids are given. Choose a name."
            )
        if _HASH.fullmatch(request.secret_hash) is None:
            raise InvalidInput(
                "cannot enrol the node: its secret's hash is not 64 hexadecimal digits"
            )
        if request.former_id and _ID.fullmatch(request.former_id) is None:
            raise InvalidInput("cannot enrol the node: its former id is none")
        check_labels(request.labels)
        known = await self._store.write(
            lambda connection: let_in(
                connection,
                self._assignments,
                request,
                issue,
                uuid7(self._clock),
                self._clock.wall_ns(),
            )
        )
        self._hashes[known.id] = request.secret_hash
        self.keys.known[known.id] = known.issued.key_hash if known.issued else ""
        self.keys.trust[known.id] = known.issued.trust if known.issued else 0
        for each in known.news:
            self._notify(each)
        certificate = known.issued.certificate if known.issued else ""
        return Enrolled(known.id, known.name, self._store.facts.hub_id, certificate=certificate)

    async def check_token(self, token: str) -> None:
        """Raises WrongToken for one that is unknown or expired: whoever has none is told nothing else."""
        now = self._clock.wall_ns()
        _ = await self._store.read(lambda connection: find_token(connection, token, now))

    def authenticate(self, bearer: str) -> str | None:
        """The node id of «<node_id>.<secret>», or None."""
        node_id, _, secret = bearer.partition(".")
        right = hmac.compare_digest(self._hashes.get(node_id, _NOBODY), secret_hash(secret))
        return node_id if right else None

    async def recall(self, bearer: str) -> str | None:
        """As `authenticate`, for a node that another hub process may have enrolled: looks into the database."""
        node_id, _, secret = bearer.partition(".")
        if not self._store.shared or _ID.fullmatch(node_id) is None:
            return None
        query = select(node.c.secret_hash).where(node.c.id == node_id, node.c.revoked_at.is_(None))
        found = await self._read(lambda connection: connection.execute(query).scalar())
        if found is None or not hmac.compare_digest(found, secret_hash(secret)):
            return None
        self._hashes[node_id] = found
        return node_id

    def knows(self, node_id: str) -> bool:
        """Whether it is a node of this fleet, as far as this process has read."""
        return node_id in self._hashes

    async def list(self) -> builtins.list[NodeView]:
        """Every node, by name."""
        seen = dict(self._seen)
        now = self._clock.wall_ns()
        views = await self._store.read(lambda connection: node_views(connection, seen, now))
        return [
            msgspec.structs.replace(view, problem=self._problem(view.id) or view.problem)
            for view in views
        ]

    async def sight(self, role: Role | None) -> Sight:
        """What of the nodes somebody of this role sees now; labels change."""
        if role is None or not role.scoped:
            return EVERYTHING
        return seen_by(role, await self._store.read(lambda connection: nodes_for(connection, role)))

    async def find(self, name: str, role: Role | None = None) -> str | None:
        """The id of the node of this name or id, if it is one that the role is for; or None."""
        return await self._store.read(lambda connection: find_node(connection, name, role))

    async def covered(self, role: Role | None, ids: Collection[str]) -> bool:
        """Whether the role is for all of these nodes now."""
        return await self._store.read(lambda connection: covers_nodes(connection, role, ids))

    async def delete(self, name: str) -> NodeDeleted:
        """Forgets a node with its assignments and statuses: its secret no longer works. Raises NotFound.

        Its records stay. What it runs goes on there, as in an outage, until somebody ends it on the device.
        """
        deleted = await self._store.write(lambda connection: _delete(connection, name))
        self.forget(deleted.id)
        return deleted

    async def revoke(self, name: str) -> NodeRevoked:
        """Withdraws a node's key and secret; it may enrol again, in its place, with a new token. Raises NotFound."""
        now = self._clock.wall_ns()
        revoked = await self._store.write(lambda connection: _revoke(connection, name, now))
        self.withdraw(revoked.id)
        return revoked

    def withdraw(self, node_id: str) -> None:
        """The node's key and secret are not believed any more, here or at another hub process."""
        self._deletions += 1
        self._hashes.pop(node_id, None)
        self.keys.known.pop(node_id, None)

    def forget(self, node_id: str) -> None:
        """The node is deleted, here or by another hub process: its secret no longer works."""
        self.withdraw(node_id)
        self._seen.pop(node_id, None)
        self._unwritten.discard(node_id)
        self._agents.forget(node_id)

    @property
    def last_seen(self) -> Mapping[str, int]:
        """When each node was last heard of (ns since 1970), by its id, as far as `seen` was told; always up to date."""
        return MappingProxyType(self._seen)

    def seen(self, node_id: str, wall_ns: int, agent: Agent | None = None) -> None:
        """Notes in memory that something was heard of the node, and from which agent where that is known.

        Logs a warning when a second agent with the node's identity comes to light, once until it is silent.
        """
        self._unwritten.add(node_id)
        self.seen_elsewhere(node_id, wall_ns, agent)

    def seen_elsewhere(self, node_id: str, wall_ns: int, agent: Agent | None) -> None:
        """As `seen`, when another hub process tells: that one writes it."""
        self._seen[node_id] = wall_ns
        if agent is not None and self._agents.heard(node_id, agent, self._clock.monotonic_ns()):
            log.warning("node %s: %s", node_id, self._problem(node_id))

    def double_of(self, node_id: str, run: str) -> str:
        """Where another agent speaks as this node than the one of this run; empty when there is none."""
        doubles = self._agents.doubles(node_id, self._clock.monotonic_ns())
        return next((other.place for other in doubles if other.run != run), "")

    def _problem(self, node_id: str) -> str:
        doubles = self._agents.doubles(node_id, self._clock.monotonic_ns())
        if not doubles:
            return ""
        return (
            f"two agents use this node's identity, from {' and from '.join(each.place for each in doubles)}. "
            "If its data directory was copied, stop one of them and enrol that one anew, in an empty directory."
        )

    async def _read(self, work: Callable[[Connection], T]) -> T:
        """What the database has, as of no time before a deletion that came to be known meanwhile."""
        while True:
            deletions = self._deletions
            found = await self._store.read(work)
            if deletions == self._deletions:
                return found

    async def flush(self) -> None:
        """Writes what `seen` noted since the last flush."""
        written, self._unwritten = self._unwritten, set()
        rows = [{"node": node_id, "at": self._seen[node_id]} for node_id in sorted(written)]
        if not rows:
            return
        # Never backwards: it may have been heard of later by another process.
        its = (node.c.id == bindparam("node"), node.c.last_seen < bindparam("at"))
        statement = update(node).where(*its).values(last_seen=bindparam("at"))
        try:
            await self._store.write(lambda connection: connection.execute(statement, rows))
        except SkerryError:
            self._unwritten |= written  # the next flush tries again
            raise

    async def introduced(self, node_id: str, fingerprint: str) -> None:
        """A node says hello as this device of Cyberwave's twins, before any row that is judged by it (`fingerprints`)."""
        if not fingerprint:
            return
        if await self._store.read(lambda db: is_unheard(db, node_id)):
            await self._store.write(lambda db: hear(db, node_id, fingerprint))

    def learn(
        self, connection: Connection, node_id: str, info: NodeInfo, before: NodeInfo | None
    ) -> bool:
        """Takes version and labels from the node's own report; True when its assignments changed.

        What it says otherwise than `before` goes into the history of the device. Its name does not change: it was given at enrolment. Raises InvalidInput for impossible labels.
        """
        check_labels(info.labels)
        note_change(connection, node_id, before, info, self._clock.wall_ns())
        held = connection.execute(
            select(
                node.c.name,
                node.c.labels,
                node.c.given_labels,
                node.c.version,
                node.c.fingerprint,
            ).where(node.c.id == node_id)
        ).one_or_none()
        if held is None:
            return False
        claim(connection, node_id, held.name, held.fingerprint, info.fingerprint)
        bodies = Bodies.of(connection)
        its = info.labels | read_given(bodies, node_id, held.given_labels)
        are_the_same = read_labels(bodies, node_id, held.labels) == its
        target = Node(node_id, held.name, its)
        sealed = info.secrets_key and self._seal_again(connection, target, info.secrets_key)
        if are_the_same and held.version == info.version:
            return bool(sealed)
        labels = stored_labels(bodies, node_id, its)
        connection.execute(
            update(node).where(node.c.id == node_id).values(labels=labels, version=info.version)
        )
        if are_the_same:
            return bool(sealed)
        locks.of_fleet(connection)
        return bool(self._assignments.place_node(connection, target) or sealed)

    def _seal_again(self, connection: Connection, target: Node, public: bytes) -> bool:
        """A key that the node has always had costs one look at its assignments."""
        locks.of_fleet(connection)
        return bool(self._assignments.seal_again(connection, target, public))


def _id_of(connection: Connection, name: str, deed: str) -> str:
    query = select(node.c.name, node.c.id).where(node.c.fleet_id == FLEET)
    ids: dict[str, str] = {row.name: row.id for row in connection.execute(query)}
    if name not in ids:
        hint = did_you_mean(name, ids) if ids else "there are none yet"
        raise NotFound(f"cannot {deed} node «{name}»: it does not exist; {hint}")
    return ids[name]


def _revoke(connection: Connection, name: str, now: int) -> NodeRevoked:
    locks.of_fleet(connection)
    node_id = _id_of(connection, name, "revoke")
    its = update(node).where(node.c.id == node_id)
    withdrawn = its.where(node.c.key_hash != "").values(revoked_key_hash=node.c.key_hash)
    connection.execute(withdrawn)
    connection.execute(its.values(key_hash="", revoked_at=now))
    forget_uses(connection, node_id)
    tell(connection, Revoked(node_id))
    return NodeRevoked(node_id, name)


def _delete(connection: Connection, name: str) -> NodeDeleted:
    locks.of_fleet(connection)
    node_id = _id_of(connection, name, "delete")
    remove(connection, node_id)
    desired = read_workloads(connection)
    pinned = [each for each, item in desired.items() if item.spec.on.node == name]
    return NodeDeleted(node_id, name, pinned)
