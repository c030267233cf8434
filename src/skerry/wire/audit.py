"""The audit log over HTTP: `skerry audit list|verify`. What an entry means, and how they are chained: `core.audit_chain`."""

from __future__ import annotations

import msgspec


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what, when, from where, and what came of it. Nothing in it is secret.

    `outcome` is «begun», «done», «refused» or «failed»; `of` is the number of the entry that says that it was begun, and
    `count` how many equal ones this stands for. `at` is in nanoseconds since 1970. `version` says which fields are hashed.
    """

    version: int = 1
    seq: int
    at: int
    actor: str
    role: str = ""
    action: str
    object: str = ""
    origin: str = ""
    outcome: str
    status: int = 0
    of: int = 0
    count: int = 1
    detail: str = ""
    prev: str


class AuditRow(msgspec.Struct, frozen=True):
    """An entry with the hash that the next one begins with, in hexadecimal digits."""

    entry: AuditEntry
    hash: str


class AuditHead(msgspec.Struct, frozen=True):
    """How long a chain is, and the hash of its last entry: whoever keeps one sees later whether it was cut or rewritten."""

    seq: int
    hash: str


class AuditHeadReply(msgspec.Struct, frozen=True):
    """The head of a hub's chain.

    `epoch`, where a person keeps it: heads that nodes keep of earlier epochs of the hub's history are explained.
    """

    hub_id: str
    head: AuditHead
    epoch: int = 0


class AuditPage(msgspec.Struct, frozen=True):
    """Entries in their order, and the head at the same moment."""

    hub_id: str
    head: AuditHead
    entries: list[AuditRow]


class SignedHead(msgspec.Struct, frozen=True):
    """The head of a node's chain at `at` (ns since 1970), as the node says it.

    `signature` (base64, ECDSA with SHA-256 over `core.audit_witness.head_bytes`) is by the key whose SubjectPublicKeyInfo
    is `key` (base64 of DER); a node without a certificate leaves both empty.
    """

    seq: int
    hash: str
    at: int
    key: str = ""
    signature: str = ""


class HubHead(msgspec.Struct, frozen=True):
    """The head that a hub's own chain had, by the hub and the epoch of its history (`core.cursors`)."""

    hub_id: str
    epoch: int
    seq: int
    hash: str


class AuditPush(msgspec.Struct, frozen=True):
    """A node's head, entries of its chain behind what the hub has, and the heads of the hub's own that the node keeps.

    `turn` counts the pushes of one `run` of the agent: one that comes late says nothing about the log as it is.
    """

    head: SignedHead
    run: str
    turn: int
    entries: list[AuditRow] = []
    seen: list[HubHead] = []


class AuditPushReply(msgspec.Struct, frozen=True):
    """What the hub has of the node's chain now: the node goes on behind it. `hub` is the hub's own head, to be kept.

    `finding` says what the hub finds wrong with what it was sent; it has begun a new branch then, from nothing.
    """

    have: AuditHead
    hub: HubHead
    finding: str = ""


class NodeLogFinding(msgspec.Struct, frozen=True):
    """What contradicted what the hub had of a node's chain: when (ns since 1970), in which branch, in words."""

    at: int
    branch: int
    words: str
    accepted: bool


class NodeLogView(msgspec.Struct, frozen=True):
    """What the hub keeps of a node's chain. `told` is the highest head that the node has told, `signed` whether by its key.

    `have` is how far its entries go. `heads` counts the heads that are kept, `unsigned` those without a signature.
    """

    node_id: str
    branch: int
    told: AuditHead
    have: AuditHead
    signed: bool
    heads: int
    unsigned: int
    findings: list[NodeLogFinding] = []


class Witness(msgspec.Struct, frozen=True):
    """A head of the hub's chain that a node keeps, when it showed it last (ns since 1970)."""

    node: str
    at: int
    head: HubHead


class Witnesses(msgspec.Struct, frozen=True):
    """What nodes keep of the hub's chain; `epoch` is that of the hub's history now."""

    hub_id: str
    epoch: int
    heads: list[Witness]


class AcceptNodeLog(msgspec.Struct, frozen=True):
    """A person has looked into what was found wrong: what the hub has now of this branch holds from now on."""

    branch: int
