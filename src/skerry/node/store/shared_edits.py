"""An edited row as the edit that is sent: whole, as a patch against the hub's version, or with what it was made on."""

from __future__ import annotations

import sqlite3

import msgspec

from skerry.core.merging import diff
from skerry.node.store.shared_table import Held, SharedTable
from skerry.wire.shared import Edit

PATCHED = 1024
"""Bytes of a body from which on a patch is tried."""

UNNUMBERED = -1
"""The revision of a base that the hub has never had: an edit of this node on which the hub has put another version."""


def edit_of(table: SharedTable, db: sqlite3.Connection, entity: str, held: Held) -> Edit:
    """The edit that makes the hub's version the row as it is here."""
    if held.deleted:
        return Edit(held.id, held.rev, held.hlc, "delete", settles=held.settles)
    body = table.body(entity, held)
    whole = Edit(held.id, held.rev, held.hlc, "put", msgspec.Raw(body), held.settles)
    told = held.whole or held.rev == UNNUMBERED
    if not held.rev or (len(body) <= PATCHED and not told):
        return whole
    base = table.base(db, entity, held.id)
    if base is None or base.deleted or base.rev != held.rev:
        return whole
    if told:
        return msgspec.structs.replace(whole, base_body=msgspec.Raw(base.body))
    patch = diff(base.body, body)
    if patch is None:
        return whole
    return msgspec.structs.replace(whole, kind="patch", body=msgspec.Raw(patch))
