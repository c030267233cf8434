"""Secrets at the hub, on SQLite and PostgreSQL: what is kept, what nodes are given, and when."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Connection, inspect, text
from tests.hub_rig import HubRig, Lanes, PullingNode, spec
from tests.sealing_rig import wanted, where

from skerry.core.secrets import bound_to, key_id
from skerry.hub.fleet.safe import Safe
from skerry.hub.store.keys import Wish
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Corrupt, InvalidInput, NotFound, Refused
from skerry.kit.sealing.envelopes import new_key, public_of, unseal
from skerry.testing.manual_clock import ManualClock
from skerry.testing.running_hub import EnrolledNode
from skerry.wire.codec import encode
from skerry.wire.secret_views import MAX_VALUE, SecretPut, SecretView
from skerry.wire.secrets import SealedSecret, SecretUse
from skerry.wire.sync import StateFrame, StateRow
from skerry.wire.workload import NodeInfo, Selector, Update, WorkloadSpec

VALUE = b"c4n4ry-of-the-hub"


@pytest.fixture
def safe(tmp_path: Path) -> Safe:
    return Safe(tmp_path / "trust" / "secrets.key", RealDisk())


@pytest.fixture(params=["plain", "sealed"])
async def hub(
    request: pytest.FixtureRequest,
    database_url: str,
    tmp_path: Path,
    manual_clock: ManualClock,
    safe: Safe,
) -> AsyncIterator[HubRig]:
    encryption = Wish(wanted(), where(tmp_path)) if request.param == "sealed" else None
    rig = HubRig(database_url, manual_clock, encryption, safe=safe)
    await rig.start()
    yield rig
    rig.stop()


class Device:
    """A node with a key of its own, which tells and pulls as nodes do."""

    def __init__(self, hub: HubRig, enrolled: EnrolledNode, labels: dict[str, str]) -> None:
        self.id = enrolled.node_id
        self._hub = hub
        self._labels = labels
        self._lanes = Lanes()
        self._hlc = 1
        self._pulling = PullingNode(hub, self.id)
        self.private = b""

    async def tell(self, private: bytes | None = None) -> None:
        self.private = private or new_key()
        info = NodeInfo(
            name="n", labels=self._labels, version="1", machine="", system="", python="", boot_id="b", started_at=1,
            secrets_key=public_of(self.private),
        )  # fmt: skip
        self._hlc += 1
        row = StateRow("node", self.id, 0, self._hlc, self.id, deleted=False, body=raw(info))
        await self._hub.push(self.id, self._lanes.unit("state", [StateFrame([row])]))

    async def sent(self, workload: str = "w") -> list[SealedSecret]:
        await self._pulling.pull()
        return self._pulling.assignments()[workload].secrets

    async def values(self, workload: str = "w") -> list[bytes]:
        found = await self.sent(workload)
        return [unseal(each.sealed, self.private, bound_to(each, self.id)) for each in found]


def raw(info: NodeInfo) -> msgspec.Raw:
    return msgspec.Raw(encode(info))


async def device(hub: HubRig, name: str = "n1", **labels: str) -> Device:
    return Device(hub, await hub.enrol(name, **labels), labels)


def using(*names: str, workload: str = "w", **fields: object) -> WorkloadSpec:
    return spec(workload, secrets=[SecretUse(name=name) for name in names], **fields)


async def put(hub: HubRig, name: str = "db", value: bytes = VALUE) -> SecretView:
    return await hub.secrets.set(name, SecretPut(value), "ann")


async def test_a_node_is_sealed_its_secrets_once_it_has_told_its_key(hub: HubRig) -> None:
    node = await device(hub)
    await hub.apply(using("db"))
    [waiting] = await node.sent()
    assert waiting.why == "it does not exist: skerry secret set db --from-file FILE"
    view = await put(hub)
    assert (view.version, view.used_by, view.nodes, view.set_by) == (1, ["w"], [], "ann")
    [unsealed] = await node.sent()
    assert (unsealed.version, unsealed.to, unsealed.sealed, unsealed.why) == (1, "", b"", "")
    hub.news.clear()
    await node.tell()
    assert hub.news == [node.id]
    [sealed] = await node.sent()
    assert sealed.to == key_id(public_of(node.private))
    assert await node.values() == [VALUE]
    assert (await hub.secrets.list())[0].nodes == ["n1"]


async def test_an_envelope_opens_for_its_node_name_and_version_only(hub: HubRig) -> None:
    node = await device(hub)
    await node.tell()
    await hub.apply(using("db"))
    await put(hub)
    [sealed] = await node.sent()
    wrong = [
        (bound_to(sealed, "another-node"), node.private),
        (bound_to(msgspec.structs.replace(sealed, name="api"), node.id), node.private),
        (bound_to(msgspec.structs.replace(sealed, version=2), node.id), node.private),
        (bound_to(msgspec.structs.replace(sealed, id="0"), node.id), node.private),
        (bound_to(sealed, node.id), new_key()),
    ]
    for purpose, private in wrong:
        with pytest.raises(Corrupt):
            unseal(sealed.sealed, private, purpose)


@pytest.mark.guarantee("G10")
async def test_no_table_holds_a_value(hub: HubRig) -> None:
    node = await device(hub)
    await node.tell()
    await hub.apply(using("db"))
    await put(hub)
    assert await node.values() == [VALUE]

    def dump(connection: Connection) -> str:
        names = inspect(connection).get_table_names()
        rows = [connection.execute(text(f'SELECT * FROM "{name}"')).all() for name in names]  # noqa: S608
        return str(rows)

    found = await hub.store.read(dump)
    assert "c4n4ry" not in found
    assert base64.b64encode(VALUE).decode()[:16] not in found
    assert VALUE.hex() not in found


async def test_a_new_value_is_sent_to_those_who_name_it_and_to_nobody_else(hub: HubRig) -> None:
    node, other = await device(hub), await device(hub, "n2")
    await node.tell()
    await other.tell()
    await hub.apply(using("db", on=Selector(node="n1")), using("api", workload="x"))
    await put(hub)
    await put(hub, "api")
    before = (await node.sent("x"))[0]
    assert [each.name for each in await other.sent("x")] == ["api"]
    hub.news.clear()
    assert (await put(hub, "db", b"another")).version == 2
    assert set(hub.news) == {node.id}
    assert await node.values() == [b"another"]
    assert (await node.sent("x"))[0] == before


async def test_a_node_that_waits_for_its_wave_keeps_the_value_that_it_has(hub: HubRig) -> None:
    nodes = [await device(hub, f"n{number}") for number in range(2)]
    for each in nodes:
        await each.tell()
    await put(hub)
    await hub.apply(using("db", update=Update(max_unavailable=1)))
    assert [await each.values() for each in nodes] == [[VALUE], [VALUE]]
    await put(hub, "db", b"another")
    assert [await each.values() for each in nodes] == [[VALUE], [VALUE]]
    await nodes[1].tell()
    assert (await nodes[1].sent())[0].to == key_id(public_of(nodes[1].private))


async def test_another_key_changes_no_generation_and_what_is_sealed_stays(hub: HubRig) -> None:
    node = await device(hub)
    await node.tell()
    await put(hub)
    await hub.apply(using("db"))
    [before] = await node.sent()
    await hub.workloads.restart("w")
    assert (await node.sent())[0] == before
    await node.tell(node.private)
    assert (await node.sent())[0] == before
    await node.tell()
    assert (await node.sent())[0] != before
    assert await node.values() == [VALUE]


async def test_a_secret_is_for_the_nodes_that_may_have_it(hub: HubRig) -> None:
    here, there = await device(hub, "n1", site="lab"), await device(hub, "n2", site="office")
    await here.tell()
    await there.tell()
    await hub.secrets.set("db", SecretPut(VALUE, Selector(labels={"site": "lab"})), "ann")
    await hub.apply(using("db"))
    assert await here.values() == [VALUE]
    assert (await there.sent())[0].why == "it is not for this node"
    await put(hub, "db", b"another")
    assert await here.values() == [b"another"]
    assert (await there.sent())[0].sealed == b""
    await hub.secrets.set("db", SecretPut(VALUE, Selector()), "ann")
    assert await there.values() == [VALUE]


async def test_what_cannot_be_set_or_deleted_is_refused(hub: HubRig) -> None:
    with pytest.raises(InvalidInput, match="is not a name"):
        await put(hub, "Db")
    with pytest.raises(InvalidInput, match="it is empty"):
        await put(hub, "db", b"")
    with pytest.raises(InvalidInput, match=f"at most {MAX_VALUE} are kept"):
        await put(hub, "db", bytes(MAX_VALUE + 1))
    await put(hub, "db", bytes(range(256)))
    await hub.apply(using("db"))
    with pytest.raises(Refused, match="cannot delete secret «db»: w need it"):
        await hub.secrets.delete("db")
    with pytest.raises(NotFound, match="cannot delete secret «dv»: it does not exist"):
        await hub.secrets.delete("dv")
    await hub.workloads.delete("w", "ann")
    await hub.secrets.delete("db")
    assert await hub.secrets.list() == []


async def test_a_secret_that_is_made_anew_is_another_value(hub: HubRig) -> None:
    node = await device(hub)
    await node.tell()
    await hub.apply(using("db"))
    await put(hub)
    [before] = await node.sent()
    await hub.workloads.delete("w", "ann")
    await hub.secrets.delete("db")
    await put(hub)
    await hub.apply(using("db"))
    [after] = await node.sent()
    assert (before.version, after.version) == (1, 1)
    assert before.id != after.id


async def test_a_hub_without_its_key_says_so_and_takes_nothing_away(
    database_url: str, manual_clock: ManualClock, tmp_path: Path, safe: Safe
) -> None:
    rig = HubRig(database_url, manual_clock, safe=safe)
    await rig.start()
    node = await device(rig)
    await node.tell()
    await put(rig)
    await rig.apply(using("db"))
    assert await node.values() == [VALUE]
    (tmp_path / "trust" / "secrets.key").unlink()
    [view] = await rig.secrets.list()
    assert "locked with another key" in view.problem
    await rig.workloads.restart("w")
    assert await node.values() == [VALUE]
    await rig.apply(using("db", workload="x"))
    assert "set it again" in (await node.sent("x"))[0].why
    await put(rig)
    assert await node.values("x") == [VALUE]
    assert (tmp_path / "trust" / "secrets.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "trust" / "secrets.key").chmod(0o644)
    with pytest.raises(Refused, match="may be read by others"):
        await put(rig)
    rig.stop()


async def test_a_value_that_was_locked_is_read_once_the_hub_encrypts(
    database_url: str, manual_clock: ManualClock, tmp_path: Path, safe: Safe
) -> None:
    first = HubRig(database_url, manual_clock, safe=safe)
    await first.start()
    await put(first)
    first.stop()
    second = HubRig(database_url, manual_clock, Wish(wanted(), where(tmp_path)), safe=safe)
    await second.start()
    node = await device(second)
    await node.tell()
    await second.apply(using("db"))
    assert await node.values() == [VALUE]
    await put(second, "db", b"another")
    (tmp_path / "trust" / "secrets.key").unlink()
    assert await node.values() == [b"another"]
    second.stop()
