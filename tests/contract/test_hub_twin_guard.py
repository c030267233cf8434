"""A node that was taken over changes its own twins only, and never whom they belong to or what runs for them."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import structs
from tests.hub_rig import HubRig, Lanes, node_info
from tests.shared_rows import RowNode, delete, outcomes, patch, put
from tests.twin_bodies import ARM, ARM_ASSET, DEVICE, ENTITY, ENVIRONMENT, FOREIGN, Json, arm

from skerry.hub.store import changes
from skerry.kit.errors import InvalidInput, Refused
from skerry.wire.codec import encode
from skerry.wire.devices import DeviceDetail
from skerry.wire.rows import RowPut
from skerry.wire.shared import Edit
from skerry.wire.sync import StateFrame
from skerry.wire.workload import NodeInfo

OTHER = "crane-2-ba9876543210"
ALERTS = f"alerts_{ENTITY.partition('_')[2]}"
PRESENCE = f"presence_{ENTITY.partition('_')[2]}"
EVIL: Json = {"default": {"docker_image": "evil/image"}}

pytestmark = pytest.mark.guarantee("G9")


class Site:
    """A fleet with a twin of the boat's and one of the crane's; the boat was taken over."""

    def __init__(self, hub: HubRig) -> None:
        self.hub = hub

    async def start(self) -> None:
        boat, crane = await self.hub.enrol("boat"), await self.hub.enrol("crane")
        self.boat, self.crane = RowNode(self.hub, boat.node_id), RowNode(self.hub, crane.node_id)
        self._lanes = {boat.node_id: Lanes(), crane.node_id: Lanes()}
        self._clock = 0
        await self.tell(self.boat, DEVICE)
        await self.tell(self.crane, OTHER)
        await self.put(ARM, arm())
        await self.put(FOREIGN, arm(metadata={"edge_fingerprint": OTHER}))
        await self.put(ARM_ASSET, {"name": "Arm"}, "assets")

    async def tell(self, node: RowNode, fingerprint: str) -> None:
        """The node says who it is."""
        self._clock += 1
        row = node_info(node.node_id, hlc=self._clock)
        told = msgspec.json.decode(row.body, type=NodeInfo)
        body = msgspec.Raw(encode(structs.replace(told, fingerprint=fingerprint)))
        frame = StateFrame([structs.replace(row, body=body)])
        await self.hub.push(node.node_id, self._lanes[node.node_id].unit("state", [frame]))

    async def put(self, row_id: str, body: Json, entity: str = ENTITY) -> int:
        written = await self.hub.shared_rows.put(entity, row_id, RowPut(msgspec.Raw(encode(body))))
        return written.rev

    async def row(self, row_id: str, entity: str = ENTITY) -> tuple[int, Json]:
        view = await self.hub.shared_rows.get(entity, row_id)
        return view.rev, msgspec.json.decode(view.body)

    async def edit(self, row_id: str, entity: str = ENTITY, **fields: object) -> Edit:
        """An edit of the row as it is."""
        rev, body = await self.row(row_id, entity)
        return put(row_id, body | fields, rev, hlc=10)

    async def refused(self, edit: Edit, entity: str = ENTITY, node: RowNode | None = None) -> None:
        """The edit is answered as lost, changes nothing and stays in the history."""
        before = await self.hub.shared_rows.list(entity)
        reply = await (node or self.boat).push(entity, edit)
        assert outcomes(reply) == [(0, "lost")]
        assert await self.hub.shared_rows.list(entity) == before
        history = await self.hub.shared_rows.history(entity, edit.id)
        assert any(each.state == "lost" for each in history)

    async def taken(self, edit: Edit, entity: str = ENTITY, node: RowNode | None = None) -> None:
        assert outcomes(await (node or self.boat).push(entity, edit)) == []

    async def device(self, name: str) -> DeviceDetail:
        return await self.hub.devices.get(name)


@pytest.fixture
async def site(hub: HubRig) -> Site:
    found = Site(hub)
    await found.start()
    return found


class TestTwins:
    async def test_a_node_edits_its_own(self, site: Site) -> None:
        await site.taken(await site.edit(ARM, position_x=4.5))
        rev, body = await site.row(ARM)
        assert body["position_x"] == 4.5
        await site.taken(patch(ARM, rev, b'[[["name"],"elbow"]]', hlc=11))
        assert (await site.row(ARM))[1]["name"] == "elbow"

    async def test_nobody_elses(self, site: Site) -> None:
        rev, body = await site.row(FOREIGN)
        await site.refused(put(FOREIGN, body | {"name": "mine"}, rev, hlc=10))
        await site.refused(put(FOREIGN, arm(), 0, hlc=11))
        await site.refused(patch(FOREIGN, rev, b'[[["name"],"mine"]]', hlc=12))
        await site.refused(delete(FOREIGN, rev, hlc=13))
        stolen = body | {"metadata": {"edge_fingerprint": DEVICE}}
        await site.refused(put(FOREIGN, stolen, rev, hlc=14))

    async def test_two_edits_in_a_unit_do_not_help_each_other(self, site: Site) -> None:
        rev, body = await site.row(FOREIGN)
        stolen = body | {"metadata": {"edge_fingerprint": DEVICE}}
        reply = await site.boat.push(
            ENTITY, put(FOREIGN, stolen, rev, 10), put(FOREIGN, stolen | {"name": "x"}, rev, 11)
        )
        assert outcomes(reply) == [(0, "lost"), (1, "lost")]
        assert await site.row(FOREIGN) == (rev, body)

    @pytest.mark.parametrize(
        "metadata",
        [
            {"edge_fingerprint": OTHER},
            {"edge_fingerprint": OTHER, "drivers": EVIL},
            {"edge_fingerprint": DEVICE, "drivers": EVIL},
            {"edge_configs": {DEVICE: {}, OTHER: {}}},
            {"edge_configs": {"edge_fingerprint": OTHER}},
            {},
        ],
    )
    async def test_nor_whom_it_belongs_to_and_what_runs_for_it(
        self, site: Site, metadata: Json
    ) -> None:
        await site.refused(await site.edit(ARM, metadata=metadata))

    async def test_nor_another_model(self, site: Site) -> None:
        await site.refused(await site.edit(ARM, asset_uuid=FOREIGN))

    async def test_an_older_shape_gets_no_further_device(self, site: Site) -> None:
        await site.put(ARM, arm(metadata={"edge_configs": {DEVICE: {"fps": 1}}}))
        both = {"edge_configs": {DEVICE: {"fps": 1}, OTHER: {}}}
        await site.refused(await site.edit(ARM, metadata=both))
        await site.taken(await site.edit(ARM, metadata={"edge_configs": {DEVICE: {"fps": 5}}}))

    async def test_it_adds_and_deletes_none(self, site: Site) -> None:
        new = "6f1f0c1e-0000-4000-8000-000000000009"
        reply = await site.boat.push(ENTITY, put(new, arm()))
        assert outcomes(reply) == [(0, "lost")]
        history = await site.hub.shared_rows.history(ENTITY, new)
        assert [each.state for each in history] == ["lost"]
        rev, _ = await site.row(ARM)
        await site.refused(delete(ARM, rev, hlc=10))

    async def test_an_edit_that_meets_another_keeps_to_it(self, site: Site) -> None:
        """Made while the twin was its own: what the merge would be is judged, not what was sent."""
        rev, body = await site.row(ARM)
        moved = arm(metadata={"edge_fingerprint": OTHER})
        await site.put(ARM, moved)
        await site.refused(put(ARM, body | {"position_x": 9.0}, rev, hlc=10))

    async def test_a_repeat_is_answered_the_same(self, site: Site) -> None:
        unit = site.boat.unit(ENTITY, [put(FOREIGN, arm(), 0, 10), put("none", arm(), 0, 10)])
        first = await site.hub.push(site.boat.node_id, unit)
        again = await site.hub.push(site.boat.node_id, unit)
        assert outcomes(again) == outcomes(first) == [(0, "lost"), (1, "lost")]

    async def test_assets_and_environments_are_peoples(self, site: Site) -> None:
        await site.refused(
            await site.edit(ARM_ASSET, "assets", metadata={"drivers": EVIL}), "assets"
        )
        for entity in ("environments", f"workflows_{ENTITY.partition('_')[2]}"):
            reply = await site.boat.push(entity, put(ENVIRONMENT, {"name": "mine"}))
            assert outcomes(reply) == [(0, "lost")]

    async def test_what_a_hub_lost_that_was_put_back_nodes_tell_again(self, site: Site) -> None:
        new = "6f1f0c1e-0000-4000-8000-000000000009"
        again = structs.replace(put(new, arm(), -1), again=True)
        assert outcomes(await site.boat.push(ENTITY, again)) == [(0, "lost")]
        await site.hub.store.write(lambda c: changes.raise_epoch(c, above=1))
        await site.taken(structs.replace(again, hlc=2))
        await site.refused(structs.replace(put(FOREIGN, arm(), -1, 12), again=True))


async def test_other_fleets_may_call_rows_assets(hub: HubRig) -> None:
    node = RowNode(hub, (await hub.enrol("n1")).node_id)
    assert outcomes(await node.push("assets", put("a1", {"price": 1}))) == []


class TestAlerts:
    async def test_a_node_tells_of_its_own_twins(self, site: Site) -> None:
        await site.taken(put("a1", {"twin_uuid": ARM, "status": "active"}), ALERTS)
        await site.taken(await site.edit("a1", ALERTS, status="resolved"), ALERTS)

    async def test_one_that_names_no_twin_is_every_devices(self, site: Site) -> None:
        await site.taken(put("e1", {"twin_uuid": None, "status": "active"}), ALERTS)
        stranger = RowNode(site.hub, (await site.hub.enrol("stranger")).node_id)
        await site.refused(await site.edit("e1", ALERTS, status="resolved"), ALERTS, stranger)

    async def test_and_of_no_others(self, site: Site) -> None:
        reply = await site.boat.push(ALERTS, put("a1", {"twin_uuid": FOREIGN, "status": "active"}))
        assert outcomes(reply) == [(0, "lost")]
        await site.taken(put("a2", {"twin_uuid": FOREIGN}), ALERTS, site.crane)
        await site.refused(await site.edit("a2", ALERTS, status="resolved"), ALERTS)
        await site.refused(await site.edit("a2", ALERTS, twin_uuid=ARM), ALERTS)
        rev, _ = await site.row("a2", ALERTS)
        await site.refused(delete("a2", rev, hlc=10), ALERTS)
        await site.taken(put("a3", {"twin_uuid": ARM}), ALERTS)
        await site.refused(await site.edit("a3", ALERTS, twin_uuid=FOREIGN), ALERTS)


class TestPresence:
    async def test_a_node_says_it_of_its_own_twins_only(self, site: Site) -> None:
        await site.taken(put(ARM, {"twin_uuid": ARM, "online": True}), PRESENCE)
        await site.refused(await site.edit(ARM, PRESENCE, online=False), PRESENCE, node=site.crane)
        reply = await site.boat.push(PRESENCE, put(FOREIGN, {"twin_uuid": ARM, "online": False}))
        assert outcomes(reply) == [(0, "lost")]


class TestFingerprints:
    async def test_the_first_one_is_kept(self, site: Site) -> None:
        await site.tell(site.boat, "boat-8-000000000000")
        found = await site.device("boat")
        assert (found.fingerprint, found.told_fingerprint) == (DEVICE, "boat-8-000000000000")
        await site.taken(await site.edit(ARM, position_x=2.0))

    async def test_a_node_is_not_another_device_because_it_says_so(self, site: Site) -> None:
        await site.tell(site.boat, OTHER)
        await site.refused(await site.edit(FOREIGN, name="mine"))
        late = RowNode(site.hub, (await site.hub.enrol("late")).node_id)
        site._lanes[late.node_id] = Lanes()
        await site.tell(late, OTHER)
        assert (await site.device("late")).fingerprint == ""
        await site.refused(await site.edit(FOREIGN, name="mine"), node=late)

    async def test_one_that_tells_none_changes_none(self, site: Site) -> None:
        late = RowNode(site.hub, (await site.hub.enrol("late")).node_id)
        await site.put(ARM, arm(metadata={"edge_fingerprint": ""}))
        await site.refused(await site.edit(ARM, name="mine"), node=late)

    async def test_an_administrator_says_which_it_is(self, site: Site) -> None:
        await site.tell(site.boat, "boat-8-000000000000")
        found = await site.hub.devices.know_as("boat", None)
        assert found.fingerprint == "boat-8-000000000000"
        await site.refused(await site.edit(ARM, position_x=2.0))
        with pytest.raises(Refused, match="that is device «crane»"):
            await site.hub.devices.know_as("boat", OTHER)
        with pytest.raises(InvalidInput):
            await site.hub.devices.know_as("boat", "a b")
        await site.hub.devices.know_as("crane", "")
        found = await site.hub.devices.know_as("boat", OTHER)
        assert found.fingerprint == OTHER

    async def test_a_word_that_is_no_fingerprint_is_none(self, site: Site) -> None:
        late = RowNode(site.hub, (await site.hub.enrol("late")).node_id)
        site._lanes[late.node_id] = Lanes()
        await site.tell(late, "../evil\n")
        assert (await site.device("late")).fingerprint == ""
