"""Encryption at rest of the hub's store, on each database: what is readable, rotation, other keys, swapped rows."""

from __future__ import annotations

import base64
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, LargeBinary, Row, Text, delete, select, update
from tests.hub_rig import NO_SAFE, HubRig, Lanes, batch
from tests.sealed_hub import CANARY, everything, fill, key_ids, raw, rotation, stored, wish
from tests.sealing_rig import wanted, where
from tests.software_tpm import software_tpm

import skerry.hub.store.people_tables  # noqa: F401 - its tables are looked at too
from skerry.hub.data.export import RecordExport
from skerry.hub.data.query import Wanted
from skerry.hub.fleet.safe import Safe
from skerry.hub.store import resealing
from skerry.hub.store.bodies import SEALED, SMALL, TEXT, Body
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.keys import RingGone, Wish
from skerry.hub.store.tables import (
    VALUE_SEALED,
    VALUE_TEXT,
    key_ring,
    meta,
    metadata,
    record,
    workload,
)
from skerry.hub.store.tables import batch as batch_table
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Corrupt, Refused, Transient
from skerry.kit.sealing.keys import Rule
from skerry.testing.manual_clock import ManualClock
from skerry.wire.records import Row as RecordRow
from skerry.wire.secret_views import SecretPut

READABLE = {
    "backup.id", "backup.path", "backup_point.backup_id", "backup_point.incarnation", "backup_point.lane", "backup_point.node_id", "retention_removed.rule",
    "batch.boot_id", "batch.kind", "batch.quality", "change.entity", "change.fleet_id", "change.id", "change.origin",
    "change.scope", "change.tag", "enrolment_token.fleet_id", "enrolment_token.hash", "enrolment_token.used_by",
    "fact.name", "file.fleet_id", "file.name", "file.node_id", "file.sha256", "file.source", "file_chunk.content",
    "file_chunk.fleet_id", "file_chunk.sha256", "file_content.fleet_id", "file_content.sha256", "hub_process.address",
    "hub_process.id", "hub_process.token_hash", "key_ring.fleet_id", "key_ring.written", "lane.chain",
    "lane.incarnation", "lane.lane", "lane.node_id", "lease.holder", "lease.name", "live_link.hub",
    "live_link.node_id", "log.fleet_id", "login_code.hash", "meta.hash", "model.fleet_id", "model.name",
    "node.fleet_id", "node.id", "node.name", "node.secret_hash", "node.version", "rollout.fleet_id", "rollout.name",
    "series.fleet_id", "series.kind", "series.name", "series.node_id", "series.source", "session.node_id",
    "session.token", "state.entity", "state.fleet_id", "state.id", "state.origin", "state.scope", "workload.fleet_id",
    "workload.name", "workload_version.change", "workload_version.fleet_id", "workload_version.name",
    "workload_version.who", "blob_key.place", "blob_key.sha256",
    "shared_row.fleet_id", "shared_row.entity", "shared_row.id", "shared_row.origin", "shared_version.fleet_id",
    "shared_version.entity", "shared_version.id", "shared_version.origin", "shared_version.why",
    "shared_conflict.fleet_id", "shared_conflict.entity", "shared_conflict.id", "shared_conflict.node_id",
    "shared_entity.fleet_id", "shared_entity.entity", "shared_entity.sums", "shared_commit.fleet_id",
    "shared_commit.tag", "shared_answer.node_id", "shared_answer.incarnation", "shared_answer.lane",
    "shared_answer.answer", "shared_decision.fleet_id", "shared_decision.entity", "shared_decision.id",
    "shared_decision.node_id", "shared_decision.who", "login_code.who", "api_token.fleet_id", "api_token.name",
    "api_token.hash", "api_token.role", "api_token.created_by", "audit.fleet_id", "audit.actor", "audit.role",
    "hub_process.nodes_address", "enrolment_token.hardware", "enrolment_token.name_prefix", "node.key_hash", "node.revoked_key_hash", "node.fingerprint", "node.certificate_serial",
    "token_use.hash", "token_use.node_id", "trust_root.fleet_id", "trust_root.pem",
    "account.fleet_id", "account.name", "account.role", "account.password", "account.created_by", "sign_in.hash",
    "sign_in.fleet_id", "sign_in.kind", "sign_in.who", "login_failure.fleet_id", "login_failure.subject",
    "access_role.fleet_id", "access_role.name", "access_role.permissions", "access_role.labels",
    "access_role.created_by", "secret.fleet_id", "secret.name", "secret.id", "secret.set_by",
    "command.action", "command.fleet_id", "command.id", "command.issuer", "command.message", "command.node_id",
    "command.state", "device.decided_by", "device.decision", "device.fleet_id", "device.id", "device.ip_address",
    "device.key_hash", "device.name", "device.reason", "device.registered_by", "device.secret_hash",
    "device.ssh_user", "device.token_hash", "device.version", "device_change.fleet_id", "device_change.node_id",
    "hub_witness.hash", "hub_witness.hub_id", "hub_witness.node_id", "node_audit.action", "node_audit.actor",
    "node_audit.detail", "node_audit.hash", "node_audit.node_id", "node_audit.object", "node_audit.origin",
    "node_audit.outcome", "node_audit.prev", "node_audit.role", "node_audit_accepted.node_id",
    "node_audit_accepted.who", "node_audit_head.finding", "node_audit_head.hash", "node_audit_head.key",
    "node_audit_head.node_id", "node_audit_head.run", "node_audit_head.signature", "ssh_authority.fleet_id",
    "ssh_authority.kind", "ssh_authority.public_key", "ssh_certificate.fingerprint", "ssh_certificate.fleet_id",
    "ssh_certificate.node", "ssh_certificate.node_id", "ssh_certificate.revoked_by", "ssh_certificate.role",
    "ssh_certificate.who", "ssh_node.account", "ssh_node.fleet_id", "ssh_node.host_key", "ssh_node.limited",
    "ssh_node.node_id",
    "login_code.parent", "sign_in.parent",
    "audit.action", "audit.object", "audit.origin", "audit.outcome", "audit.detail", "audit.prev", "audit.hash",
}  # fmt: skip


@asynccontextmanager
async def running(
    url: str, clock: ManualClock, encryption: Wish | None, safe: Safe = NO_SAFE
) -> AsyncIterator[HubRig]:
    hub = HubRig(url, clock, encryption, safe=safe)
    await hub.start()
    try:
        yield hub
    finally:
        hub.stop()


def test_every_column_of_text_is_sealed_or_known_to_be_readable() -> None:
    bodies = {str(body.column) for body in (*SMALL, TEXT)}
    held = {
        str(column)
        for table in metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary | Text)
    }
    assert held == bodies | READABLE
    assert not bodies & READABLE


@pytest.mark.guarantee("G10")
async def test_nothing_that_was_put_in_is_readable(
    database_url: str, manual_clock: ManualClock, tmp_path: Path
) -> None:
    safe = Safe(tmp_path / "secrets.key", RealDisk())
    async with running(database_url, manual_clock, None, safe) as hub:
        await fill(hub)
        await hub.secrets.set("db", SecretPut(CANARY.encode()), "ann")
        plain = await everything(hub)
        bodies = {place for place, _ in await hub.store.read(lambda c: list(stored(c)))}
    assert {place.split(" of ")[0] for place in bodies} == {
        str(body.column) for body in (*SMALL, TEXT) if str(body.column) != "blob_key.key"
    }
    assert CANARY.encode() in raw(database_url)

    async with running(database_url, manual_clock, wish(tmp_path)) as hub:
        assert hub.store.keys is not None
        assert hub.store.keys.status().plain
        assert await everything(hub) == plain
        await rotation(hub).once()
        assert not hub.store.keys.status().plain
        assert await everything(hub) == plain
        assert 0 not in await hub.store.read(key_ids)
        await fill_again(hub)
        held = await everything(hub)
        assert CANARY.encode() not in raw(database_url)
        assert CANARY.encode().hex().encode() not in raw(database_url)
    assert CANARY.encode() not in raw(database_url)
    async with running(database_url, manual_clock, wish(tmp_path)) as hub:
        assert await everything(hub) == held


async def fill_again(hub: HubRig) -> None:
    """What comes when all is sealed already."""
    [node] = [view.id for view in await hub.nodes.list() if view.name == "n1"]
    values = [f"{CANARY} {number}" for number in range(50)]
    unit = Lanes("22" * 16).unit("keep", [batch(*values, counter=100, note=CANARY)])
    assert (await hub.push(node, unit)).outcome == "ok"
    await hub.enrol("n2", site=CANARY)


async def test_everything_is_sealed_only_when_the_log_is_empty_too(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    url = f"sqlite:///{tmp_path / 'hub.db'}"
    async with running(url, manual_clock, None) as hub:
        await fill(hub)
    async with running(url, manual_clock, wish(tmp_path)) as hub:
        await hub.store.write(lambda c: c.exec_driver_sql("PRAGMA busy_timeout = 20").all())
        with contextlib.closing(sqlite3.connect(tmp_path / "hub.db")) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM record").fetchall()
            with pytest.raises(Transient, match="somebody still reads from it"):
                await rotation(hub).once()
            assert hub.store.keys is not None
            assert hub.store.keys.status().plain
        await rotation(hub).once()
        assert not hub.store.keys.status().plain
        assert CANARY.encode() not in raw(url)


async def test_a_rotation_takes_no_longer_for_a_long_life(
    database_url: str, manual_clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = []
    find = resealing.stale_rows

    def counted(connection: Connection, body: Body, **where: Any) -> Sequence[Row[Any]]:
        if body is TEXT:
            searched.append(where["batches"])
        return find(connection, body, **where)

    async with running(database_url, manual_clock, wish(tmp_path)) as hub:
        await fill(hub)
        for table, column in ((batch_table, batch_table.c.id), (record, record.c.batch_id)):
            moved = update(table).values({column.name: column + 50_000})
            await hub.store.write(partial(Connection.execute, statement=moved))
        one = delete(batch_table).where(batch_table.c.kind == "measurement")
        await hub.store.write(lambda c: c.execute(one))  # as PostgreSQL's retention may
        await rotation(hub).once()
        monkeypatch.setattr(resealing, "stale_rows", counted)
        await rotation(hub).rotate()
        await rotation(hub).once()
        assert hub.store.keys is not None
        assert await hub.store.read(key_ids) == {key.id for key in hub.store.keys.keys.keys}
    assert 1 < len(searched) < 10


def without_ages(seen: list[object]) -> list[object]:
    return [seen[0], *seen[2:4], seen[5:]]


async def test_a_rotation_leaves_nothing_under_the_old_key(
    database_url: str, manual_clock: ManualClock, tmp_path: Path
) -> None:
    encryption = wish(tmp_path, rule=Rule(86_400.0, "AES-256-GCM"))
    async with running(database_url, manual_clock, encryption) as hub:
        await fill(hub)
        held = await everything(hub)
        await rotation(hub).once()
        old = await hub.store.read(key_ids)
        await rotation(hub).once()
        assert await hub.store.read(key_ids) == old
        manual_clock.advance(86_400.0)
        await rotation(hub).once()
        new = await hub.store.read(key_ids)
        assert len(new) == 1
        assert not new & old
        assert hub.store.keys is not None
        assert {key.id for key in hub.store.keys.keys.keys} == new
        await rotation(hub).rotate()
        assert len(hub.store.keys.keys.keys) == 2
        await rotation(hub).once()
        assert not await hub.store.read(key_ids) & (new | old)
        assert without_ages(await everything(hub)) == without_ages(held)
    async with running(database_url, manual_clock, encryption) as hub:
        assert without_ages(await everything(hub)) == without_ages(held)


async def test_a_body_opens_only_in_its_row(
    database_url: str, manual_clock: ManualClock, tmp_path: Path
) -> None:
    async with running(database_url, manual_clock, wish(tmp_path)) as hub:
        await fill(hub)
        await rotation(hub).once()
        whole = (await hub.query.records()).rows
        await hub.store.write(swap)
        assert await left_out(hub, whole) == 2
        plain = (
            update(record)
            .where(record.c.type == VALUE_SEALED)
            .values(type=VALUE_TEXT, text="forged")
        )
        await hub.store.write(lambda c: c.execute(plain))
        assert await left_out(hub, whole) == 3
        await hub.store.write(lambda c: c.execute(update(workload).values(name="b")))
        with pytest.raises(Corrupt, match="workload.spec of b: it is not what was sealed there"):
            await hub.workloads.list()


async def left_out(hub: HubRig, whole: list[RecordRow]) -> int:
    """How many records are not in any form of an answer, which all say so; the others are, as they were."""
    rows = await hub.query.records()
    assert [row for row in rows.rows if row not in whole] == []
    assert len(rows.rows) + rows.damaged == len(whole)
    columns = await hub.query.columns()
    assert sum(len(one.at) for one in columns.series) == len(rows.rows)
    exported = [line async for line in RecordExport(hub.store, hub.query).lines(Wanted())]
    assert sum(len(line.rows) for line in exported) == exported[-1].end == len(rows.rows)
    assert columns.damaged == exported[-1].damaged == rows.damaged
    assert {row.value for row in await hub.query.latest()} <= {row.value for row in rows.rows}
    assert "left out of answers" in hub.query.damage.problem
    return rows.damaged


@pytest.mark.guarantee("G6")
async def test_one_damaged_record_or_meta_spoils_no_answer_but_its_own(
    database_url: str, manual_clock: ManualClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(database_url, manual_clock, wish(tmp_path)) as hub:
        lanes = Lanes()
        await hub.push("n", lanes.unit("keep", [batch("a", "b", 3, "d", note="x")]))
        other = batch(5, "f", counter=5, at=2_000_000_000_000_000_000, note="y")
        await hub.push("n", lanes.unit("keep", [other]))
        whole = (await hub.query.records()).rows
        assert (len(whole), hub.query.damage.problem) == (6, "")
        spoilt = update(record).where(record.c.counter == 2).values(text=SEALED + "AAAA")
        await hub.store.write(lambda c: c.execute(spoilt))
        assert await left_out(hub, whole) == 1
        assert [row.value for row in (await hub.query.records(limit=4)).rows] == [3, "d", 5, "f"]
        few = await hub.query.records(limit=5)
        assert (len(few.rows), few.damaged, few.truncated) == (5, 1, True)
        metas = select(record.c.meta_id).where(record.c.counter == 6)
        moved = update(meta).where(meta.c.id.in_(metas)).values(hash="moved")
        await hub.store.write(lambda c: c.execute(moved))
        assert await left_out(hub, whole) == 3
        assert [
            each.message.partition(": ")[0] for each in caplog.records if each.levelname == "ERROR"
        ] == ["a record is left out of answers"] * 2
        await hub.store.write(lambda c: c.execute(delete(key_ring)))
        hub.store.keys._cipher.now.opening.clear()  # as in a process that has another ring
        with pytest.raises(RingGone):
            await hub.query.records()


def swap(connection: Connection) -> None:
    its = record.c.type == VALUE_SEALED
    (one, other) = connection.execute(select(record.c.counter, record.c.text).where(its).limit(2))
    for row, body in ((one, other), (other, one)):
        change = update(record).where(its, record.c.counter == row.counter)
        connection.execute(change.values(text=body.text))


async def test_a_setting_decrypts_nothing(
    database_url: str, manual_clock: ManualClock, tmp_path: Path
) -> None:
    async with running(database_url, manual_clock, wish(tmp_path)) as hub:
        await fill(hub)
        held = await everything(hub)
    with pytest.raises(Refused, match="encryption switched off: its data is sealed"):
        HubStore(database_url, manual_clock).start()
    key = tmp_path / "storage.key"
    right = key.read_bytes()
    key.write_bytes(base64.b16encode(bytes(32)))
    with pytest.raises(Refused, match="sealed with another key-encryption key"):
        HubStore(database_url, manual_clock, encryption=wish(tmp_path)).start()
    key.unlink()
    with pytest.raises(Refused, match=r"Nothing was touched: put it back"):
        HubStore(database_url, manual_clock, encryption=wish(tmp_path)).start()
    key.write_bytes(right)
    key.chmod(0o600)
    async with running(database_url, manual_clock, wish(tmp_path)) as hub:
        assert await everything(hub) == held


async def test_a_ring_that_is_gone_is_not_made_anew(
    database_url: str, manual_clock: ManualClock, tmp_path: Path
) -> None:
    async with running(database_url, manual_clock, wish(tmp_path)) as hub:
        await hub.store.write(lambda c: c.execute(delete(key_ring)))
    for encryption in (None, wish(tmp_path)):
        with pytest.raises(Refused, match="keys are gone"):
            HubStore(database_url, manual_clock, encryption=encryption).start()


async def test_another_source_of_the_key(
    database_url: str, manual_clock: ManualClock, tmp_path: Path
) -> None:
    async with running(database_url, manual_clock, wish(tmp_path)) as hub:
        await fill(hub)
        held = await everything(hub)
    phrase = tmp_path / "phrase"
    phrase.write_text("correct horse battery staple")
    phrase.chmod(0o600)
    async with running(database_url, manual_clock, wish(tmp_path, f"passphrase:{phrase}")) as hub:
        assert await everything(hub) == held
        assert hub.store.keys is not None
        assert "passphrase" in str(hub.store.keys.status())
    (tmp_path / "storage.key").unlink()
    async with running(database_url, manual_clock, wish(tmp_path, f"passphrase:{phrase}")) as hub:
        assert await everything(hub) == held


async def test_a_credential_of_systemd_is_the_key(
    database_url: str, manual_clock: ManualClock, tmp_path: Path
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "hub").write_bytes(bytes(range(32)))
    given = Wish(wanted("credential:hub"), where(tmp_path, credentials))
    async with running(database_url, manual_clock, given) as hub:
        await fill(hub)
        held = await everything(hub)
    async with running(database_url, manual_clock, given) as hub:
        assert await everything(hub) == held
        assert hub.store.keys is not None
        assert "credential" in str(hub.store.keys.status())
    with pytest.raises(Refused, match="credential"):
        HubStore(database_url, manual_clock, encryption=wish(tmp_path, "credential:hub")).start()


async def test_a_tpm_releases_the_key_to_the_one_hub_beside_it(
    database_url: str, manual_clock: ManualClock, tmp_path: Path
) -> None:
    if database_url.startswith("postgresql"):
        with pytest.raises(Refused, match="the other hubs of the database could not open them"):
            HubStore(database_url, manual_clock, encryption=wish(tmp_path, "tpm")).start()
        return
    state = tmp_path / "tpm"
    state.mkdir()
    with software_tpm(state):
        async with running(database_url, manual_clock, wish(tmp_path, "tpm")) as hub:
            await fill(hub)
            held = await everything(hub)
        async with running(database_url, manual_clock, wish(tmp_path, "tpm")) as hub:
            assert await everything(hub) == held
            assert hub.store.keys is not None
            assert "TPM 2.0" in str(hub.store.keys.status())
    with pytest.raises(Refused, match="cannot use the TPM"):
        HubStore(database_url, manual_clock, encryption=wish(tmp_path, "tpm")).start()
