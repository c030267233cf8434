"""Rows of models that stay on their node: in its store, sealed where that is, and in its backups."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from tests.backup_rig import kek, maker, restored
from tests.canary import CANARY
from tests.entity_rig import entities
from tests.sealed_node import sealed_node

from skerry.node.backups.restoring import Keeping
from skerry.wire.entities import Change, Changes, Declare, Find
from skerry.wire.shared import Declaration


@pytest.mark.parametrize("on", [False, True])
async def test_rows_that_stay_on_a_node_are_in_its_backup(tmp_path: Path, on: bool) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    body = msgspec.Raw(msgspec.json.encode({"text": CANARY}))
    async with sealed_node(old, on=on) as node:
        rows = entities(node)
        await rows.declare("draft", Declare(Declaration(keys={"parts": "no"}), local=True))
        await rows.change(
            "draft", Changes([Change("create", "a", body), Change("create", "b", body)])
        )
        await rows.change("draft", Changes([Change("delete", "b")]))
        assert not node.store.state.shares_rows()
        made = maker(old).to_file(tmp_path / "b.skb")
        assert (
            CANARY.encode() in (old / "node.db").read_bytes() + (old / "node.db-wal").read_bytes()
        ) is not on
    shutil.rmtree(old) if not on else None
    restored(made, new, on=on, keeping=kek(old) if on else Keeping())
    async with sealed_node(new, on=on) as node:
        rows = entities(node)
        assert rows.declared("draft").local
        assert rows.declared("draft").declaration.keys == {"parts": "no"}
        [row] = (await rows.find("draft", Find())).rows
        assert (row.id, bytes(row.body), row.status) == ("a", bytes(body), "local_only")
