"""Encryption at rest on real files: what is nowhere to be read, what is noticed, and what refuses the start."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.canary import CANARY, everything, fill, hidden, ids_in_use
from tests.record_rig import held, segment_files, values
from tests.sealed_node import SealedNode, edit, publish, sealed_node

from skerry.kit.disk import RealDisk
from skerry.kit.errors import Corrupt, Refused, Transient
from skerry.node.identity import Identity, read_secret, write_identity
from skerry.node.store.bodies import BODIES
from skerry.node.store.segments import Frame, Header, encode_frame, encode_header, scan
from skerry.node.store.workers import WorkerStore


async def read_all(node: SealedNode, count: int = 30) -> None:
    """Everything that `fill` wrote is there."""
    assert values(node.records) == [f"{CANARY}value {n}" for n in range(1, 10 * count + 1)]
    assert len(await node.store.state.rows("twin")) == count
    assert {each.assignment.spec.env["TOKEN"] for each in node.instances.load().values()} == {
        CANARY
    }
    assert CANARY in str((await node.store.state.frozen(0, 10))[0].body)
    workers = WorkerStore(node.store.writer, node.store.reader, node.store.cipher)
    assert [each.detail for each in workers.past("w")] == [f"because of {CANARY}"] * 3


async def test_a_canary_is_nowhere_in_the_data_directory(tmp_path: Path) -> None:
    identity = Identity("n1", "node", {}, "http://hub", "h")
    write_identity(tmp_path, identity, CANARY, RealDisk())
    async with sealed_node(tmp_path) as node:
        assert node.rotation
        await fill(node)
        await node.rotation.once()
        assert hidden(tmp_path)  # while it runs, with its WAL
        await read_all(node)
        assert read_secret(tmp_path, node.store.cipher) == CANARY
    assert hidden(tmp_path)
    assert (tmp_path / "node.db-wal").exists()
    async with sealed_node(tmp_path) as node:
        assert node.store.rebuilt is None
        await read_all(node)


async def test_switching_on_seals_what_is_there(tmp_path: Path) -> None:
    identity = Identity("n1", "node", {}, "http://hub", "h")
    write_identity(tmp_path, identity, CANARY, RealDisk())
    async with sealed_node(tmp_path, on=False) as node:
        await fill(node, 700)
        for number in range(600, 700):  # what was deleted lies in free pages
            await node.store.state.remove("twin", f"t{number:03}")
    assert not hidden(tmp_path)
    async with sealed_node(tmp_path) as node:
        assert node.rotation
        assert node.rotation.status().plain
        assert values(node.records)[-1] == f"{CANARY}value 7000"
        await publish(node, 7001, text=CANARY)
        await node.rotation.once()
        assert not node.rotation.status().plain
        assert hidden(tmp_path)
        assert values(node.records)[-1] == f"{CANARY}value 7010"
        assert len(held(node.records)) == 7010
    async with sealed_node(tmp_path) as node:
        assert len(held(node.records)) == 7010
        assert node.records.counters.lost == 0
        sizes = [path.stat().st_size for path in segment_files(tmp_path)]
        assert node.records.bytes("keep") == sum(sizes)
        with contextlib.closing(sqlite3.connect(tmp_path / "node.db")) as db:
            db.execute("UPDATE state SET body = '{}' WHERE id = 't001'")
            db.commit()
        with pytest.raises(Corrupt, match="not sealed, as everything here must be"):
            await node.store.state.rows("twin")


async def test_a_database_elsewhere_is_looked_into_too(tmp_path: Path) -> None:
    data, database = tmp_path / "data", tmp_path / "db" / "edge.db"
    async with sealed_node(data, database=database) as node:
        await edit(node, 1)
    assert not (data / "node.db").exists()
    for ring in data.glob("keys*.json"):
        ring.unlink()
    for segment in data.glob("records/*/*.seg"):
        segment.unlink()
    for on in (False, True):
        with pytest.raises(Refused, match="Nothing was touched"):
            async with sealed_node(data, on=on, database=database):
                pass


async def test_switching_off_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with sealed_node(data) as node:
        await fill(node, 2)
    before = everything(data)
    with pytest.raises(Refused, match="encryption switched off: its data is sealed"):
        async with sealed_node(data, on=False):
            pass
    for name in ("keys.json", "keys.copy.json"):
        (data / name).rename(tmp_path / name)
    for on in (False, True):
        with pytest.raises(Refused, match="Nothing was touched"):
            async with sealed_node(data, on=on):
                pass
    for name in ("keys.json", "keys.copy.json"):
        (tmp_path / name).rename(data / name)
    assert everything(data) == before


@pytest.mark.parametrize("loss", ["wrong", "missing"])
async def test_without_its_key_the_node_does_not_start_and_touches_nothing(
    tmp_path: Path, loss: str
) -> None:
    async with sealed_node(tmp_path) as node:
        await fill(node, 2)
    key = tmp_path / "storage.key"
    right = key.read_bytes()
    key.unlink() if loss == "missing" else key.write_text("11" * 32)
    before = everything(tmp_path)
    with pytest.raises(Refused, match="Nothing was touched"):
        async with sealed_node(tmp_path):
            pass
    assert everything(tmp_path) == before
    key.write_bytes(right)
    key.chmod(0o600)
    async with sealed_node(tmp_path) as node:
        await read_all(node, 2)


async def test_an_older_ring_refuses_and_touches_nothing(tmp_path: Path) -> None:
    async with sealed_node(tmp_path) as node:
        await fill(node, 3)
    old = {name: (tmp_path / name).read_bytes() for name in ("keys.json", "keys.copy.json")}
    async with sealed_node(tmp_path) as node:
        assert node.rotation
        node.rotation.ask()
        await node.rotation.once()
    new = {name: (tmp_path / name).read_bytes() for name in old}
    for name, content in old.items():
        (tmp_path / name).write_bytes(content)
    before = everything(tmp_path)
    with pytest.raises(Refused, match="older than the data"):
        async with sealed_node(tmp_path):
            pass
    assert everything(tmp_path) == before
    for name, content in new.items():
        (tmp_path / name).write_bytes(content)
    async with sealed_node(tmp_path) as node:
        await read_all(node, 3)


async def test_rows_that_changed_places_are_set_aside_with_their_database(tmp_path: Path) -> None:
    async with sealed_node(tmp_path) as node:
        await fill(node, 3)
    with contextlib.closing(sqlite3.connect(tmp_path / "node.db")) as db:
        rows = dict(db.execute("SELECT id, body FROM state WHERE entity = 'twin'").fetchall())
        db.execute("UPDATE state SET body = ? WHERE id = 't000'", (rows["t001"],))
        db.execute("UPDATE state SET body = ? WHERE id = 't001'", (rows["t000"],))
        db.commit()
    async with sealed_node(tmp_path) as node:
        assert node.store.rebuilt
        assert node.store.rebuilt.aside.endswith(".damaged")
        assert await node.store.state.rows("twin") == []
        assert len(values(node.records)) == 30
        await edit(node, 1)
    assert hidden(tmp_path)


@pytest.mark.guarantee("G6")
@pytest.mark.parametrize("which", ["twin", "assignment"])
async def test_a_flipped_bit_of_a_row_is_damage_and_nothing_is_lost_of_the_rest(
    tmp_path: Path, which: str
) -> None:
    async with sealed_node(tmp_path) as node:
        assert node.rotation
        await node.rotation.once()
        await fill(node, 3)
    table, column = ("state", "body") if which == "twin" else ("workload", "assignment")
    with contextlib.closing(sqlite3.connect(tmp_path / "node.db")) as db:
        (body,) = db.execute(f"SELECT {column} FROM {table}").fetchone()  # noqa: S608
        flipped = body[:40] + bytes([body[40] ^ 1]) + body[41:]
        db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (flipped, body))  # noqa: S608
        db.commit()
    async with sealed_node(tmp_path) as node:
        assert node.store.rebuilt
        assert len(values(node.records)) == 30
    assert hidden(tmp_path)


async def test_whole_files_of_records_are_not_exchanged(tmp_path: Path) -> None:
    """Whole files in each other's place: what they hold is right, but not there."""
    async with sealed_node(tmp_path) as node:
        assert node.rotation
        await node.rotation.once()
        for number in range(60):
            await publish(node, 10 * number + 1, text="long " * 40)
    first, second = segment_files(tmp_path)[:2]
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    async with sealed_node(tmp_path) as node:
        for _ in range(4):  # an old file is only looked at when it is read
            with contextlib.suppress(Transient):
                values(node.records)
            await node.records.tend_reserve()
        assert len(node.records.damaged_files()) == 2
        found = values(node.records)
        assert found == sorted(found, key=lambda text: int(str(text).split()[-1]))
        assert len(found) + node.records.counters.lost == 600


def swap(data: bytes) -> bytes:
    """Two frames of equal size with their payloads exchanged; checksums right, as an attacker would leave them."""
    first, second = (item for item in list(scan(data))[1:3] if isinstance(item, Frame))
    return b"".join(
        (
            data[: first.offset],
            encode_frame(first.mark, first.first, first.count, first.previous, second.payload),
            encode_frame(second.mark, second.first, second.count, second.previous, first.payload),
            data[second.end :],
        )
    )


def cut(data: bytes) -> bytes:
    """Without its last frame: nothing in the file itself tells."""
    return data[: list(scan(data))[-1].offset]


def forge_header(data: bytes) -> bytes:
    """A header of our own, in plain."""
    header = next(iter(scan(data)))
    assert isinstance(header, Frame)
    forged = encode_header(Header(1, "keep", "boot", []), header.first, header.previous)
    return forged + data[header.end :]


@pytest.mark.parametrize("which", ["oldest", "newest"])
@pytest.mark.parametrize(
    ("change", "lost"), [(swap, 20), (cut, 10), (forge_header, 0)], ids=["swap", "cut", "header"]
)
async def test_changed_segment_files_are_damage(
    tmp_path: Path, which: str, change: Callable[[bytes], bytes], lost: int
) -> None:
    async with sealed_node(tmp_path) as node:
        assert node.rotation
        await node.rotation.once()
        for number in range(43):
            await publish(node, 10 * number + 1)
    files = [file for file in segment_files(tmp_path) if len(list(scan(file.read_bytes()))) > 3]
    path = files[0 if which == "oldest" else -1]
    path.write_bytes(change(path.read_bytes()))
    async with sealed_node(tmp_path) as node:
        with contextlib.suppress(Exception):
            values(node.records)  # an old file is only looked at when it is read
        await node.records.tend_reserve()
        assert node.records.counters.lost == lost
        assert len(node.records.damaged_files()) == 1
        assert node.records.head("keep").n == 430
        await publish(node, 431)
        assert len(values(node.records)) == 440 - lost
    async with sealed_node(tmp_path) as node:
        assert values(node.records)[-1] == "value 440"
        assert node.records.counters.lost == 0


async def test_after_a_crash_changed_frames_are_damage_and_no_torn_tail(tmp_path: Path) -> None:
    async with sealed_node(tmp_path) as node:
        for number in range(2):
            await publish(node, 10 * number + 1)
    (tmp_path / "records" / "keep" / "head").unlink()  # it is left by a clean stop
    [path] = segment_files(tmp_path)
    path.write_bytes(swap(path.read_bytes()))
    async with sealed_node(tmp_path) as node:
        assert node.records.counters.lost == 20
        assert len(node.records.damaged_files()) == 1


async def test_rotation_leaves_nothing_under_the_old_keys(tmp_path: Path) -> None:
    async with sealed_node(tmp_path) as node:
        assert node.rotation
        assert node.store.encryption.ring
        await fill(node)
        await node.rotation.once()
        for _ in range(3):
            old = {key.id for key in node.store.encryption.ring.keys.keys}
            node.rotation.ask()
            await node.rotation.once()
            new = {key.id for key in node.store.encryption.ring.keys.keys}
            assert not old & new
            assert ids_in_use(tmp_path) <= new
            await read_all(node)
    async with sealed_node(tmp_path) as node:
        await read_all(node)
        assert node.records.counters.lost == 0


async def test_every_column_of_bytes_is_a_body(tmp_path: Path) -> None:
    async with sealed_node(tmp_path):
        with contextlib.closing(sqlite3.connect(tmp_path / "node.db")) as db:
            tables = [
                row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            ]
            found = {
                (table, row[1]): tuple(
                    other[1]
                    for other in sorted(
                        db.execute(f"PRAGMA table_info({table})"), key=lambda r: r[5]
                    )
                    if other[5]
                )
                for table in tables
                for row in db.execute(f"PRAGMA table_info({table})")
                if row[2] == "BLOB"
            }
    assert found == {(body.table, body.column): body.key for body in BODIES}
