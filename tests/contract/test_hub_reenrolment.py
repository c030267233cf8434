"""Who may come as a node that the hub has, has had, or waits for: on each database."""

import pytest
from msgspec import structs
from sqlalchemy import update
from tests.hub_rig import HubRig

from skerry.core.credentials import secret_hash
from skerry.hub.fleet.devices import Address
from skerry.hub.fleet.tokens import WrongToken
from skerry.hub.store.tables import node as node_table
from skerry.kit.errors import InvalidInput, Refused
from skerry.wire.sync import Enrol

pytestmark = pytest.mark.guarantee("G9")


def asking(token: str, name: str, own: str = "the secret", **fields: str) -> Enrol:
    asked = Enrol(token, name, {}, "0.1", secret_hash(own), secret=own)
    return structs.replace(asked, **fields)


class TestSpentTokens:
    async def test_a_revoked_node_needs_a_new_one(self, hub: HubRig) -> None:
        token = (await hub.tokens.create(60.0)).token
        node = await hub.nodes.enrol(asking(token, "n1"))
        await hub.nodes.revoke("n1")
        with pytest.raises(WrongToken):
            await hub.nodes.enrol(asking(token, "n1"))
        new = (await hub.tokens.create(60.0)).token
        assert (await hub.nodes.enrol(asking(new, "n1"))).node_id == node.node_id
        with pytest.raises(WrongToken):
            await hub.nodes.enrol(asking(token, "n1"))

    async def test_a_deleted_node_needs_a_new_one(self, hub: HubRig) -> None:
        token = (await hub.tokens.create(60.0)).token
        node = await hub.nodes.enrol(asking(token, "n1"))
        await hub.nodes.delete("n1")
        for secret in ("the secret", "another"):
            with pytest.raises(WrongToken):
                await hub.nodes.enrol(asking(token, "n2", secret, former_id=node.node_id))

    async def test_a_revoked_nodes_return_is_another_use(self, hub: HubRig) -> None:
        token = (await hub.tokens.create(60.0, uses=2)).token
        await hub.nodes.enrol(asking(token, "n1"))
        await hub.nodes.revoke("n1")
        await hub.nodes.enrol(asking(token, "n1"))
        with pytest.raises(WrongToken):
            await hub.nodes.enrol(asking(token, "n2", "another"))

    async def test_its_terms_hold_for_who_asks_again(self, hub: HubRig) -> None:
        first = (await hub.tokens.create(60.0, hardware="serial-7")).token
        await hub.nodes.enrol(asking(first, "n1", hardware="serial-7"))
        with pytest.raises(Refused, match="hardware id"):
            await hub.nodes.enrol(asking(first, "n1", hardware="serial-8"))
        other = (await hub.tokens.create(60.0, name_prefix="cam-")).token
        with pytest.raises(Refused, match="names that begin with «cam-»"):
            await hub.nodes.enrol(asking(other, "cam-1"))


class TestLostSecrets:
    async def test_a_revoked_node_has_its_place_by_a_token_made_since(self, hub: HubRig) -> None:
        """As after a restore from a backup that was not sealed."""
        node = await hub.nodes.enrol(asking((await hub.tokens.create(60.0)).token, "n1"))
        before = (await hub.tokens.create(60.0)).token
        lost = {"former_id": node.node_id}
        with pytest.raises(Refused, match="the hub still has it.*skerry revoke node n1"):
            await hub.nodes.enrol(asking(before, "n1", "new", **lost))
        hub.clock.advance(1.0)
        await hub.nodes.revoke("n1")
        hub.clock.advance(1.0)
        many = (await hub.tokens.create(60.0, uses=2)).token
        for token in (before, many):
            with pytest.raises(Refused, match="the hub still has it"):
                await hub.nodes.enrol(asking(token, "n1", "new", **lost))
        since = (await hub.tokens.create(60.0)).token
        with pytest.raises(Refused, match="the hub still has it"):
            await hub.nodes.enrol(asking(since, "n1", "new", secret="x", **lost))
        for _ in range(2):
            again = await hub.nodes.enrol(asking(since, "other", "new", **lost))
            assert (again.node_id, again.name) == (node.node_id, "n1")
        assert hub.nodes.authenticate(f"{node.node_id}.new") == node.node_id
        assert hub.nodes.authenticate(f"{node.node_id}.the secret") is None

    async def test_the_place_is_not_for_a_secret_that_is_another_nodes(self, hub: HubRig) -> None:
        lost = await hub.nodes.enrol(asking((await hub.tokens.create(60.0)).token, "n1"))
        other = asking((await hub.tokens.create(60.0)).token, "n2", "its own")
        node = await hub.nodes.enrol(other)
        await hub.nodes.revoke("n1")
        since = (await hub.tokens.create(60.0)).token
        asked = structs.replace(other, token=since, former_id=lost.node_id)
        assert (await hub.nodes.enrol(asked)).node_id == node.node_id


class TestProof:
    async def test_the_hash_of_its_secret_makes_nobody_a_node(self, hub: HubRig) -> None:
        many = (await hub.tokens.create(60.0, uses=3)).token
        await hub.nodes.enrol(asking(many, "n1"))
        for token in (many, (await hub.tokens.create(60.0)).token):
            for shown in ("", "another", secret_hash("the secret")):
                with pytest.raises(Refused, match="does not show its secret"):
                    await hub.nodes.enrol(asking(token, "n1", secret=shown))
        assert (await hub.nodes.enrol(asking(many, "n1"))).name == "n1"

    async def test_an_older_nodes_answer_may_be_lost(self, hub: HubRig) -> None:
        token = (await hub.tokens.create(60.0)).token
        asked = structs.replace(asking(token, "n1"), secret="")
        assert await hub.nodes.enrol(asked) == await hub.nodes.enrol(asked)


class TestReservations:
    async def test_a_registered_devices_id_is_no_former_one(self, hub: HubRig) -> None:
        device = await hub.devices.provision("gate", Address(), 60.0, "ann")
        other = (await hub.tokens.create(60.0)).token
        with pytest.raises(Refused, match="id is kept for a device that is registered"):
            await hub.nodes.enrol(asking(other, "n1", "another", former_id=device.id))
        assert (await hub.nodes.enrol(asking(device.token, "n1"))).node_id == device.id

    async def test_a_registered_devices_token_gives_no_other_node_its_place(
        self, hub: HubRig
    ) -> None:
        """Neither to whoever names a node that was revoked, nor to that node itself."""
        node = await hub.nodes.enrol(asking((await hub.tokens.create(60.0)).token, "n1"))
        await hub.nodes.revoke("n1")
        hub.clock.advance(1.0)
        device = await hub.devices.provision("gate", Address(), 60.0, "ann")
        with pytest.raises(Refused, match=f"the token is for device {device.id}"):
            await hub.nodes.enrol(asking(device.token, "n1"))
        asked = asking(device.token, "n1", "new", former_id=node.node_id)
        assert (await hub.nodes.enrol(asked)).node_id == device.id
        assert hub.nodes.authenticate(f"{node.node_id}.new") is None

    async def test_who_has_no_token_is_told_no_names(self, hub: HubRig) -> None:
        device = await hub.devices.provision("gate", Address(), 60.0, "ann")
        for asked in (asking("none", "gate"), asking("none", "n1", former_id=device.id)):
            with pytest.raises(WrongToken):
                await hub.nodes.enrol(asked)


class TestNames:
    async def test_no_name_stands_before_another_nodes_id(self, hub: HubRig) -> None:
        first, second = await hub.enrol("n1"), await hub.enrol("n2")
        token = (await hub.tokens.create(60.0)).token
        with pytest.raises(InvalidInput, match="is what an id looks like"):
            await hub.nodes.enrol(asking(token, first.node_id))
        by_an_older_hub = update(node_table).where(node_table.c.id == second.node_id)
        called = by_an_older_hub.values(name=first.node_id)
        await hub.store.write(lambda connection: connection.execute(called))
        assert await hub.nodes.find(first.node_id) == first.node_id
        assert await hub.nodes.find(second.node_id) == second.node_id
