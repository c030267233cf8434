"""Texts that must be nowhere to be read on a disk, in everything that a node keeps, and how to look for them."""

from __future__ import annotations

import base64
import contextlib
import sqlite3
from pathlib import Path

from tests.files_in_use import contents
from tests.record_rig import values
from tests.sealed_node import SealedNode, edit, publish, upload

from skerry.kit.sealing.format import key_id_of
from skerry.kit.sealing.stream import HEAD, WHOLE
from skerry.node.store.bodies import BODIES
from skerry.node.store.segments import Frame, scan
from skerry.node.store.twin_files import TwinFileStore, WrittenFile
from skerry.node.store.workers import PastRestart, Scripts, WorkerRow, WorkerStore

CANARY = "c4n4ry-in-a-coal-mine"


def everything(directory: Path) -> bytes:
    """All files but SQLite's index of its log, which is made of the log."""
    files = sorted(contents(directory))
    return b"".join(content for path, content in files if not path.name.endswith("-shm"))


def hidden(directory: Path) -> bool:
    """Whether the canary is nowhere in the raw files, in no common form either."""
    found = everything(directory)
    forms = (
        CANARY.encode(),
        CANARY.encode().hex().encode(),
        base64.b64encode(CANARY.encode())[:20],
    )
    return not any(form in found for form in forms)


async def fill(node: SealedNode, count: int = 30) -> None:
    """The canary in values, meta, twins and their files, environments, frozen frames, scripts, reasons and files."""
    for number in range(count):
        await publish(node, 10 * number + 1, text=CANARY)
        await edit(node, number, CANARY)
    await node.store.state.freeze(10)
    workers = WorkerStore(node.store.writer, node.store.reader, node.store.cipher)
    restart = PastRestart(1, "b", 1, "manual", f"because of {CANARY}")
    for _ in range(3):
        await workers.put(WorkerRow("w", 1, Scripts(doubts=[CANARY])), restart, label="test")
    await twin_files(node).put(WrittenFile("t", 1, -1, "", *3 * [CANARY.encode()]))
    await upload(node, f"a file {CANARY}".encode() * 10_000)


def twin_files(node: SealedNode) -> TwinFileStore:
    return TwinFileStore(node.store.writer, node.store.reader, node.store.cipher)


def ids_in_use(directory: Path) -> set[int]:
    found = set()
    for path in directory.glob("records/*/*.seg"):
        found |= {key_id_of(f.payload) for f in scan(path.read_bytes()) if isinstance(f, Frame)}
    for path in directory.glob("records/*/head"):
        found.add(key_id_of(path.read_bytes()))
    with contextlib.closing(sqlite3.connect(directory / "node.db")) as db:
        for body in BODIES:
            column = f"SELECT {body.column} FROM {body.table} WHERE {body.column} IS NOT NULL"  # noqa: S608
            found |= {key_id_of(row[0]) for row in db.execute(column)}
    return found


def keys_of_blobs(directory: Path) -> set[int]:
    """Every key that any segment below files/ names."""
    found = set()
    for path in directory.glob("files/??/*"):
        data = path.read_bytes()
        found |= {key_id_of(data[at : at + 6]) for at in range(HEAD, len(data), WHOLE)}
    return found


async def all_is_there(node: SealedNode) -> None:
    """What `fill` wrote; frames for the hub are frozen anew, in another incarnation."""
    assert values(node.records) == [f"{CANARY}value {n}" for n in range(1, 101)]
    assert len(await node.store.state.rows("twin")) == 10
    envs = {each.assignment.spec.env["TOKEN"] for each in node.instances.load().values()}
    assert envs == {CANARY}
    written = twin_files(node).of("t")
    assert written is not None
    assert {written.row, written.written, written.next} == {CANARY.encode()}
