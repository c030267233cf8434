"""The hub as the witness of its nodes' audit logs, and nodes as the witnesses of the hub's. See ADR 30.

A node's own chain is its outbox: the hub says how far it has it, the node sends what follows. What a node tells is
judged by `core.audit_witness`; what contradicts what is kept stays beside it as another branch.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from sqlalchemy import Connection, delete, func, select

from skerry.core.audit_chain import GENESIS
from skerry.core.audit_witness import head_bytes, is_hash, judge, row_fault
from skerry.hub.store import changes, facts, locks
from skerry.hub.store.audit_tables import (
    hub_witness,
    node_audit,
    node_audit_accepted,
    node_audit_head,
)
from skerry.hub.store.engine import insert
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import FLEET, node
from skerry.hub.trust.audit import MAX_PAGE, head_of
from skerry.hub.trust.certificates import key_hash
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.wire.audit import (
    AuditEntry,
    AuditHead,
    AuditPage,
    AuditPush,
    AuditPushReply,
    AuditRow,
    HubHead,
    NodeLogFinding,
    NodeLogView,
    SignedHead,
    Witness,
    Witnesses,
)

MOST_ENTRIES = 1000
MOST_SEEN = 64
MOST_BRANCHES = 8
"""Branches that nobody has looked into; then a node that contradicts itself again is refused, so that it fills no disk."""

_MOST = 2**62


@dataclass(frozen=True)
class _Known:
    """What is kept of a node's chain: in its newest branch, how far the entries go, and the highest head."""

    branch: int
    have: AuditHead
    told: AuditHead
    n: int
    run: str
    turn: int


class NodeLogs:
    """What the hub keeps of its nodes' chains."""

    def __init__(self, store: HubStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def take(self, node_id: str, push: AuditPush) -> AuditPushReply:
        """Keeps what a node tells of its log. Raises InvalidInput, and Refused when too much is to be looked into first."""
        _check(push)
        signer, now = signed_by(node_id, push.head), self._clock.wall_ns()

        def work(connection: Connection) -> AuditPushReply:
            _check_signer(connection, node_id, signer)
            return _take(connection, node_id, push, now)

        return await self._store.write(work)

    async def page(self, name: str, after: int, limit: int) -> AuditPage:
        """Up to `limit` entries of the newest branch after number `after`. Raises NotFound, InvalidInput."""
        if after < 0 or not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(
                f"cannot read a node's log: «after» is a number from 0, «limit» one from 1 to {MAX_PAGE}"
            )
        return await self._store.read(lambda connection: _page(connection, name, after, limit))

    async def view(self, name: str) -> NodeLogView:
        """What is kept, and what was found. Raises NotFound."""
        return await self._store.read(lambda connection: _view(connection, name))

    async def accept(self, name: str, branch: int, who: str) -> NodeLogView:
        """What was found before `branch`, which must be the newest, is no problem any more. Raises NotFound, Refused."""
        now = self._clock.wall_ns()

        def work(connection: Connection) -> NodeLogView:
            node_id = _id_of(connection, name)
            locks.of_node(connection, node_id)
            newest = _known(connection, node_id).branch
            if branch != newest:
                raise Refused(
                    f"cannot accept branch {branch} of the log of node «{name:.80}»: by now branch {newest} is the newest. "
                    "Verify it again."
                )
            row = {"node_id": node_id, "branch": branch, "at": now, "who": who}
            connection.execute(
                insert(connection, node_audit_accepted).on_conflict_do_nothing(), row
            )
            return _view(connection, name)

        return await self._store.write(work)

    async def witnesses(self) -> Witnesses:
        """The heads of this hub's own chain that nodes keep, as they showed them last."""

        def work(connection: Connection) -> Witnesses:
            its = hub_witness.c
            query = select(hub_witness, node.c.name).join_from(
                hub_witness, node, its.node_id == node.c.id
            )
            heads = [
                Witness(row.name, row.at, HubHead(row.hub_id, row.epoch, row.seq, row.hash))
                for row in connection.execute(query.order_by(its.epoch, its.seq, node.c.name))
            ]
            return Witnesses(facts.hub_id(connection), changes.read_log(connection).epoch, heads)

        return await self._store.read(work)


def signed_by(node_id: str, head: SignedHead) -> str:
    """The hash of the key that the head is signed by; empty: by none. Raises InvalidInput when the signature is no good."""
    if not head.key and not head.signature:
        return ""
    try:
        key = load_der_public_key(base64.b64decode(head.key, validate=True))
        signature = base64.b64decode(head.signature, validate=True)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise InvalidInput("cannot take a head of an audit log: its key is no elliptic one")
        key.verify(signature, head_bytes(node_id, head), ec.ECDSA(hashes.SHA256()))
    except (ValueError, binascii.Error, InvalidSignature, UnsupportedAlgorithm) as error:
        raise InvalidInput(
            "cannot take a head of an audit log: it is not signed by the key that came with it"
        ) from error
    return key_hash(key)


def _check(push: AuditPush) -> None:
    head = push.head
    numbers = (
        head.seq,
        push.turn,
        *(each.seq for each in push.seen),
        *(each.epoch for each in push.seen),
    )
    texts = (push.run, *(each.hub_id for each in push.seen))
    if (
        not all(0 <= number < _MOST for number in numbers)
        or not -_MOST <= head.at < _MOST
        or not all(map(is_hash, (head.hash, *(each.hash for each in push.seen))))
        or any(len(text) > 64 or not text.isprintable() for text in texts)
        or len(head.key) > 1000
        or len(head.signature) > 1000
    ):
        raise InvalidInput("cannot take a head of an audit log: a field is out of range")
    if len(push.entries) > MOST_ENTRIES or len(push.seen) > MOST_SEEN:
        raise InvalidInput(
            f"cannot take so much of an audit log: at most {MOST_ENTRIES} entries and {MOST_SEEN} heads at a time"
        )
    for row in push.entries:
        if fault := row_fault(row):
            raise InvalidInput(f"cannot take an audit log: {fault}")


def _check_signer(connection: Connection, node_id: str, signer: str) -> None:
    """A node that has a certificate signs by its key, and by no other one."""
    query = select(node.c.key_hash).where(node.c.id == node_id)
    wanted = connection.execute(query).scalar()
    if wanted and signer != wanted:
        raise InvalidInput(
            f"cannot take a head of the audit log of node {node_id}: it is not signed by the key of the node's certificate"
        )


def _take(connection: Connection, node_id: str, push: AuditPush, now: int) -> AuditPushReply:
    locks.of_node(connection, node_id)
    known = _known(connection, node_id)
    _keep_seen(connection, node_id, push.seen, now)
    hub = HubHead(
        facts.hub_id(connection),
        changes.read_log(connection).epoch,
        *msgspec.structs.astuple(head_of(connection)),
    )
    if push.run == known.run and push.turn <= known.turn:
        return AuditPushReply(known.have, hub)
    rows = push.entries
    if rows and rows[0].entry.seq != known.have.seq + 1:
        rows = []
    head = AuditHead(push.head.seq, push.head.hash)
    finding = judge(
        head, rows, have=known.have, told=known.told,
        kept=lambda seq: _hash_at(connection, node_id, known.branch, seq),
    )  # fmt: skip
    if finding is not None:
        _refuse_too_many(connection, node_id, known.branch)
        _put_head(connection, node_id, known, push, now, f"{finding.words} ({finding.fault})")
        return AuditPushReply(GENESIS, hub, f"{finding.words} ({finding.fault})")
    if head != known.told:
        _put_head(connection, node_id, known, push, now, "")
    have = known.have
    if rows:
        values = [
            msgspec.structs.asdict(row.entry)
            | {"node_id": node_id, "branch": known.branch, "hash": row.hash}
            for row in rows
        ]
        connection.execute(node_audit.insert(), values)
        have = AuditHead(rows[-1].entry.seq, rows[-1].hash)
    return AuditPushReply(have, hub)


def _known(connection: Connection, node_id: str) -> _Known:
    heads, entries = node_audit_head.c, node_audit.c
    query = (
        select(node_audit_head).where(heads.node_id == node_id).order_by(heads.n.desc()).limit(1)
    )
    last = connection.execute(query).one_or_none()
    if last is None:
        return _Known(0, GENESIS, GENESIS, 0, "", 0)
    if last.finding:
        return _Known(last.branch + 1, GENESIS, GENESIS, last.n, last.run, last.turn)
    query = (
        select(entries.seq, entries.hash)
        .where(entries.node_id == node_id, entries.branch == last.branch)
        .order_by(entries.seq.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    have = GENESIS if row is None else AuditHead(row.seq, row.hash)
    told = AuditHead(last.seq, last.hash)
    return _Known(last.branch, have, told, last.n, last.run, last.turn)


def _put_head(
    connection: Connection, node_id: str, known: _Known, push: AuditPush, now: int, finding: str
) -> None:
    row = msgspec.structs.asdict(push.head) | {
        "node_id": node_id, "n": known.n + 1, "branch": known.branch, "received_at": now,
        "run": push.run, "turn": push.turn, "finding": finding,
    }  # fmt: skip
    connection.execute(node_audit_head.insert(), row)


def _refuse_too_many(connection: Connection, node_id: str, branch: int) -> None:
    if branch - _accepted(connection, node_id) >= MOST_BRANCHES:
        raise Refused(
            f"cannot take the audit log of node {node_id}: it has contradicted what was kept of it {MOST_BRANCHES} times. "
            "Look into it first: skerry audit verify --node, and --anew when all is explained."
        )


def _keep_seen(connection: Connection, node_id: str, seen: list[HubHead], now: int) -> None:
    """As the node shows them now: what it has forgotten, it says no more."""
    connection.execute(delete(hub_witness).where(hub_witness.c.node_id == node_id))
    rows = [msgspec.structs.asdict(each) | {"node_id": node_id, "at": now} for each in set(seen)]
    if rows:
        connection.execute(hub_witness.insert(), rows)


def _hash_at(connection: Connection, node_id: str, branch: int, seq: int) -> str | None:
    its = node_audit.c
    query = select(its.hash).where(its.node_id == node_id, its.branch == branch, its.seq == seq)
    return GENESIS.hash if seq == 0 else connection.execute(query).scalar()


def _accepted(connection: Connection, node_id: str) -> int:
    its = node_audit_accepted.c
    query = select(func.coalesce(func.max(its.branch), 0)).where(its.node_id == node_id)
    return int(connection.execute(query).scalar_one())


def _id_of(connection: Connection, name: str) -> str:
    query = select(node.c.id).where(node.c.fleet_id == FLEET, node.c.name == name)
    found = connection.execute(query).scalar()
    if found is None:
        raise NotFound(f"cannot show the audit log of node «{name:.80}»: there is no such node")
    return str(found)


def _page(connection: Connection, name: str, after: int, limit: int) -> AuditPage:
    node_id = _id_of(connection, name)
    known, its = _known(connection, node_id), node_audit.c
    query = select(node_audit).where(
        its.node_id == node_id, its.branch == known.branch, its.seq > after
    )
    rows = connection.execute(query.order_by(its.seq).limit(limit)).mappings()
    names = AuditEntry.__struct_fields__
    entries = [
        AuditRow(AuditEntry(**{each: row[each] for each in names}), row["hash"]) for row in rows
    ]
    return AuditPage(node_id, known.have, entries)


def _view(connection: Connection, name: str) -> NodeLogView:
    node_id = _id_of(connection, name)
    known, accepted, its = (
        _known(connection, node_id),
        _accepted(connection, node_id),
        node_audit_head.c,
    )
    mine = its.node_id == node_id
    counts = select(func.count(), func.count().filter(its.key == "")).where(mine)
    heads, unsigned = connection.execute(counts).one()
    last = select(its.key).where(mine, its.n == known.n)
    found = select(node_audit_head).where(mine, its.finding != "").order_by(its.n)
    return NodeLogView(
        node_id=node_id,
        branch=known.branch,
        told=known.told,
        have=known.have,
        signed=bool(connection.execute(last).scalar()),
        heads=heads,
        unsigned=unsigned,
        findings=[
            NodeLogFinding(row.received_at, row.branch, row.finding, row.branch < accepted)
            for row in connection.execute(found)
        ],
    )
