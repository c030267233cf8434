"""The hub as the witness of its nodes' audit logs: a real node's log and exchange against each database."""

from __future__ import annotations

import asyncio
import base64
import random
import shutil
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import delete, update
from sqlalchemy.exc import DBAPIError
from tests.audit_rig import rewritten, tampered
from tests.hub_rig import HubRig
from tests.sync_rig import MIGRATIONS

from skerry.core.audit_chain import GENESIS, follow
from skerry.core.audit_entries import Deed
from skerry.core.audit_witness import head_bytes
from skerry.hub.store.audit_tables import node_audit, node_audit_head
from skerry.hub.store.engine import parse_url, writer_engine
from skerry.hub.store.tables import node as node_table
from skerry.hub.trust.audit import AuditLog as HubLog
from skerry.hub.trust.node_logs import MOST_BRANCHES, NodeLogs
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, NotFound, Refused, Transient
from skerry.kit.sqlite import SqliteWriter
from skerry.node.audit.exchange import ANYWAY_AFTER, MANY, TELL_AFTER, Exchange, Sign
from skerry.node.store.audit_log import KEPT_HEADS, AuditLog, hub_heads
from skerry.node.trust.signing import signature_by
from skerry.wire.audit import AuditEntry, AuditHead, AuditPush, AuditRow, SignedHead
from skerry.wire.records import Meta, Value


class Witnessed:
    """A node's audit log, exchanged with a hub."""

    def __init__(self, hub: HubRig, node_id: str, database: Path, sign: Sign | None = None) -> None:
        self.hub_log, self.logs = HubLog(hub.store, hub.clock), NodeLogs(hub.store, hub.clock)
        self.clock, self.database, self.node_id = hub.clock, database, node_id
        self.told: list[str] = []
        self.sign = sign
        self.open()

    def open(self) -> None:
        self.writer = SqliteWriter(self.database, MIGRATIONS, RealDisk())
        self.writer.start()
        self.reader = self.writer.reader()
        self.audit = AuditLog(self.writer, self.clock)
        self.exchange = Exchange(
            self.audit, self.reader, self.node_id, partial(self.logs.take, self.node_id),
            sign=self.sign, tell=self._tell, is_linked=lambda: True, clock=self.clock, chance=random.Random(1),
        )  # fmt: skip

    def close(self) -> None:
        self.reader.close()
        self.writer.stop()

    async def _tell(self, name: str, value: Value, meta: Meta) -> None:
        assert (name, meta) == ("skerry.audit.contradicted", {})
        self.told.append(str(value))

    async def add(self, count: int = 1) -> None:
        await asyncio.gather(
            *(self.audit.add(Deed("ann", "admin", f"act_{n}")) for n in range(count))
        )


@pytest.fixture
async def node(hub: HubRig, tmp_path: Path) -> AsyncIterator[Witnessed]:
    enrolled = await hub.enrol("n1")
    found = Witnessed(hub, enrolled.node_id, tmp_path / "node.db")
    yield found
    found.close()


async def problem_of(hub: HubRig) -> str:
    [view] = await hub.nodes.list()
    return view.problem


async def test_the_hub_has_the_nodes_log_whole_and_every_head(hub: HubRig, node: Witnessed) -> None:
    await node.add(1200)
    await node.exchange.once()
    await node.add(3)
    await node.exchange.once()
    await node.exchange.once()
    first = await node.logs.page("n1", 0, 1000)
    rest = await node.logs.page("n1", 1000, 1000)
    assert follow([*first.entries, *rest.entries], GENESIS, first.head) is None
    view = await node.logs.view("n1")
    assert (view.told.seq, view.have.seq, view.heads, view.unsigned, view.signed) == (
        1203, 1203, 2, 2, False,
    )  # fmt: skip
    assert (view.findings, await problem_of(hub), node.told) == ([], "", [])
    with pytest.raises(NotFound):
        await node.logs.view("n2")


async def test_an_exchange_is_due_by_time_or_by_number(node: Witnessed) -> None:
    await node.exchange.once()
    assert not node.exchange.is_due()
    await node.add()
    assert not node.exchange.is_due()
    node.clock.advance(TELL_AFTER)
    assert node.exchange.is_due()
    await node.exchange.once()
    await node.add(MANY)
    assert node.exchange.is_due()
    await node.exchange.once()
    node.clock.advance(ANYWAY_AFTER)
    assert node.exchange.is_due()


async def test_a_device_that_is_about_to_go_tells_at_once(node: Witnessed) -> None:
    await node.exchange.once()
    await node.add(2)
    assert (node.exchange.untold(), node.exchange.is_due()) == (2, False)
    node.exchange.hurry()
    assert node.exchange.is_due()
    await node.exchange.once()
    assert (node.exchange.untold(), node.exchange.is_due()) == (0, False)


@pytest.mark.guarantee("G9")
async def test_a_log_that_lost_its_end_is_found_by_what_the_hub_has(
    hub: HubRig, node: Witnessed
) -> None:
    await node.add(10)
    await node.exchange.once()
    tampered(node.database, "DELETE FROM audit WHERE seq > 6")
    await node.exchange.once()
    assert "it ends with entry 6, and had 10" in node.told[0]
    assert node.told[0] in await problem_of(hub)
    view = await node.logs.view("n1")
    assert (view.branch, view.have.seq) == (1, 6)
    assert [(each.branch, each.accepted) for each in view.findings] == [(0, False)]
    await node.add(2)
    await node.exchange.once()
    assert len(node.told) == 1
    with pytest.raises(Refused, match="by now branch 1 is the newest"):
        await node.logs.accept("n1", 0, "ann")
    view = await node.logs.accept("n1", 1, "ann")
    assert [each.accepted for each in view.findings] == [True]
    assert await problem_of(hub) == ""
    node.close()
    tampered(node.database, "DELETE FROM audit WHERE seq > 7")
    node.open()
    await node.exchange.once()
    assert "had 8" in await problem_of(hub)


@pytest.mark.guarantee("G9")
async def test_a_restored_copy_that_goes_on_is_a_fork(hub: HubRig, node: Witnessed) -> None:
    await node.add(10)
    copy = node.database.with_name("copy.db")
    node.reader.execute("VACUUM INTO ?", (str(copy),))
    await node.add(5)
    await node.exchange.once()
    node.close()
    for suffix in ("-wal", "-shm"):
        node.database.with_name(f"node.db{suffix}").unlink(missing_ok=True)
    shutil.copy(copy, node.database)
    node.open()
    await node.audit.add(Deed("mallory", "admin", "something_else"))
    await node.add(9)  # it is longer than what the hub knows
    await node.exchange.once()
    [told] = node.told
    assert "forked" in told
    view = await node.logs.view("n1")
    assert (view.branch, view.have.seq, view.told.seq) == (1, 20, 20)


@pytest.mark.guarantee("G9")
async def test_a_log_that_was_written_anew_is_found(hub: HubRig, node: Witnessed) -> None:
    await node.add(10)
    await node.exchange.once()
    rewritten(node.database, 4)
    await node.exchange.once()
    assert node.told == ["entry 10 is another one now than the one that was told before (forked)"]
    assert (await node.logs.page("n1", 3, 1)).entries[0].entry.actor == "mallory"


async def test_an_altered_line_is_never_taken_and_fills_no_disk(
    hub: HubRig, node: Witnessed
) -> None:
    await node.add(5)
    tampered(node.database, "UPDATE audit SET actor = 'bob' WHERE seq = 3")
    for turn in range(MOST_BRANCHES):
        with pytest.raises(Transient, match="stays at entry 0"):
            await node.exchange.once()
        assert len(node.told) == turn + 1
    assert "(changed)" in node.told[0]
    with pytest.raises(Refused, match="Look into it first"):
        await node.exchange.once()
    assert (await node.logs.view("n1")).have == GENESIS


async def test_a_push_that_comes_late_or_twice_says_nothing(hub: HubRig, node: Witnessed) -> None:
    sent: list[AuditPush] = []
    take = node.logs.take

    async def asked(push: AuditPush) -> object:
        sent.append(push)
        return await take(node.node_id, push)

    node.exchange._ask = asked  # type: ignore[assignment]
    await node.add(5)
    await node.exchange.once()
    await node.add(5)
    await node.exchange.once()
    for push in sent:
        reply = await take(node.node_id, push)
        assert (reply.have.seq, reply.finding) == (10, "")
    assert await problem_of(hub) == ""


@pytest.mark.guarantee("G9")
async def test_heads_are_signed_by_the_nodes_key_and_by_nobody_elses(
    hub: HubRig, tmp_path: Path
) -> None:
    enrolled = await hub.enrol("n1")
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    node = Witnessed(hub, enrolled.node_id, tmp_path / "node.db", partial(signature_by, pem))
    try:
        await node.add(2)
        await node.exchange.once()
        view = await node.logs.view("n1")
        assert (view.signed, view.unsigned, view.heads) == (True, 0, 1)
        head = SignedHead(3, "ab" * 32, 1)
        public, signature = await signature_by(pem, head_bytes("another node", head))
        for wrong in (
            msgspec.structs.replace(head, key=public, signature=signature),
            msgspec.structs.replace(head, key=public),
            msgspec.structs.replace(head, key="x", signature="y"),
            msgspec.structs.replace(head, key=of_another_curve(public), signature=signature),
        ):
            with pytest.raises(InvalidInput, match="not signed by the key"):
                await node.logs.take(enrolled.node_id, AuditPush(wrong, "r", 1))
        its_key = update(node_table).values(key_hash="ab" * 32)
        await hub.store.write(lambda connection: connection.execute(its_key))
        await node.add()
        with pytest.raises(InvalidInput, match="not signed by the key of the node's certificate"):
            await node.exchange.once()
        with pytest.raises(InvalidInput, match="not signed by the key of the node's certificate"):
            await node.logs.take(enrolled.node_id, AuditPush(head, "r", 1))
        with pytest.raises(Refused, match="cannot sign by this node's key"):
            await signature_by(b"no key", b"")
    finally:
        node.close()


def of_another_curve(key: str) -> str:
    """The key with an object identifier in it that no library knows."""
    known, unknown = bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030102")
    return base64.b64encode(base64.b64decode(key).replace(known, unknown)).decode()


async def test_what_no_honest_node_tells_is_refused(hub: HubRig, node: Witnessed) -> None:
    good = SignedHead(1, "ab" * 32, 1)
    entry = AuditEntry(seq=1, at=1, actor="a", action="b", outcome="done", prev="0" * 64)
    change = msgspec.structs.replace
    for wrong in (
        AuditPush(change(good, seq=-1), "r", 1),
        AuditPush(change(good, hash="x"), "r", 1),
        AuditPush(change(good, at=2**70), "r", 1),
        AuditPush(good, "r\n", 1),
        AuditPush(good, "r", 1, [AuditRow(change(entry, actor="a\0"), "ab" * 32)]),
        AuditPush(good, "r", 1, [AuditRow(change(entry, actor="a" * 3000), "ab" * 32)]),
        AuditPush(good, "r", 1, [AuditRow(change(entry, version=9), "ab" * 32)]),
        AuditPush(good, "r", 1, [AuditRow(change(entry, count=2**70), "ab" * 32)]),
        AuditPush(good, "r", 1, [AuditRow(entry, "ab")]),
        AuditPush(good, "r", 1, [AuditRow(entry, "ab" * 32)] * 1001),
    ):
        with pytest.raises(InvalidInput):
            await node.logs.take(node.node_id, wrong)
    assert (await node.logs.view("n1")).heads == 0


@pytest.mark.parametrize("table", [node_audit, node_audit_head])
async def test_the_database_refuses_to_change_evidence(
    hub: HubRig, node: Witnessed, table: object
) -> None:
    await node.add(3)
    await node.exchange.once()
    engine = writer_engine(parse_url(hub.url))
    try:
        for statement in (update(table).values(hash="0"), delete(table)):  # type: ignore[arg-type]
            with (
                pytest.raises(DBAPIError, match="append-only"),
                engine.begin() as connection,
            ):
                connection.execute(statement)
    finally:
        engine.dispose()


@pytest.mark.guarantee("G9")
async def test_nodes_keep_heads_of_the_hubs_own_log_and_show_them(
    hub: HubRig, node: Witnessed
) -> None:
    for number in range(KEPT_HEADS + 5):
        await node.hub_log.add(Deed("ann", "admin", f"act_{number}"))
        await node.exchange.once()
    kept = hub_heads(node.reader)
    assert [each.seq for each in kept] == list(range(6, KEPT_HEADS + 6))
    await node.exchange.once()
    found = await node.logs.witnesses()
    assert [each.head for each in found.heads] == kept
    assert {each.node for each in found.heads} == {"n1"}
    page = await node.hub_log.page(0, 1000)
    hashes = {row.entry.seq: row.hash for row in page.entries}
    assert all(hashes[each.head.seq] == each.head.hash for each in found.heads)
    assert AuditHead(kept[-1].seq, kept[-1].hash) == page.head
