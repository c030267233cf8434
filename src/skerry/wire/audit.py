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
    """The head of a hub's chain."""

    hub_id: str
    head: AuditHead


class AuditPage(msgspec.Struct, frozen=True):
    """Entries in their order, and the head at the same moment."""

    hub_id: str
    head: AuditHead
    entries: list[AuditRow]
