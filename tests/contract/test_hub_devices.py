"""Devices on the hub: registered, enrolled with their own token, listed, restarted, taken out of service for ever."""

import hashlib
import hmac

import pytest
from msgspec import structs
from tests.hub_rig import HubRig, node_info, spec, status
from tests.speaking_node import Speaking, info

from skerry.core.credentials import random_secret, secret_hash
from skerry.hub.fleet.devices import Address, Wanted
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.testing.running_hub import EnrolledNode
from skerry.wire.codec import encode
from skerry.wire.devices import Erasure, ErasureReport, WipeOrder
from skerry.wire.inventory import Differing, Inventory
from skerry.wire.sync import Enrol, StateRow

HOUR = 3600.0


async def provision(hub: HubRig, name: str, **address: str) -> str:
    return (await hub.devices.provision(name, Address(**address), HOUR, "ann")).token


async def enrol(hub: HubRig, token: str, name: str = "whatever", former: str = "") -> EnrolledNode:
    secret = random_secret()
    asked = Enrol(token, name, {}, "0.1", secret_hash(secret), former)
    found = await hub.nodes.enrol(asked)
    return EnrolledNode(found.node_id, found.name, found.hub_id, secret=secret)


def report(order: WipeOrder, *, node_id: str | None = None, receipt: str = "") -> ErasureReport:
    erased = Erasure(
        node_id or order.node_id, order.name, order.hub_id, 1, 2, ["node.secret"], False, 3, 400, ["/d"], [], "0.1",
    )  # fmt: skip
    text = encode(erased).decode()
    mac = hmac.new((receipt or order.receipt).encode(), text.encode(), "sha256").hexdigest()
    return ErasureReport(order.node_id, text, mac)


class TestRegistration:
    async def test_a_registered_device_becomes_that_node_by_its_token(self, hub: HubRig) -> None:
        token = await provision(hub, "gate", ip_address="10.0.0.7", ssh_user="pi")
        before = await hub.devices.get("gate")
        assert (before.state, before.ip_address, before.ssh_user) == (
            "registered",
            "10.0.0.7",
            "pi",
        )
        assert (before.online, before.age, before.enrolled_at) == (False, None, 0)
        node = await enrol(hub, token)
        assert (node.node_id, node.name) == (before.id, "gate")
        after = await hub.devices.get(before.id)
        assert (after.state, after.ip_address, after.online) == ("authenticated", "10.0.0.7", True)
        with pytest.raises(Refused, match="unknown, used or expired"):
            await enrol(hub, token)

    async def test_asked_again_it_is_one_device_with_one_good_token(self, hub: HubRig) -> None:
        first, second = await provision(hub, "gate", ssh_user="pi"), await provision(hub, "gate")
        assert (await hub.devices.list(Wanted())).total == 1
        assert (await hub.devices.get("gate")).ssh_user == "pi"
        with pytest.raises(Refused, match="unknown, used or expired"):
            await enrol(hub, first, "other")
        assert (await enrol(hub, second)).name == "gate"
        again = await hub.devices.provision("gate", Address(ssh_user="root"), HOUR, "ann")
        assert (again.token, again.state) == ("", "authenticated")
        assert (await hub.devices.get("gate")).ssh_user == "root"

    @pytest.mark.guarantee("G9")
    async def test_the_name_is_kept_for_it(self, hub: HubRig) -> None:
        await provision(hub, "gate")
        token = (await hub.tokens.create(60.0)).token
        with pytest.raises(Refused, match="kept for a device that is registered"):
            await enrol(hub, token, "gate")
        assert (await enrol(hub, token, "other")).name == "other"

    async def test_a_node_that_was_never_registered_is_a_device_too(self, hub: HubRig) -> None:
        node = await hub.enrol("n1")
        asked = await hub.devices.provision("n1", Address("10.0.0.9", "pi"), HOUR, "ann")
        assert (asked.id, asked.token) == (node.node_id, "")
        assert (await hub.devices.get(node.node_id)).ip_address == "10.0.0.9"
        await hub.nodes.delete("n1")
        assert (await hub.devices.list(Wanted())).total == 0

    async def test_what_is_no_name_and_no_device_is_refused(self, hub: HubRig) -> None:
        for wrong in ("", "../x", "A b", "x" * 64):
            with pytest.raises(InvalidInput):
                await provision(hub, wrong)
        with pytest.raises(InvalidInput, match="one line"):
            await provision(hub, "gate", ssh_user="a\nb")
        with pytest.raises(NotFound, match="none of this id"):
            await provision(hub, "01890000-0000-7000-8000-000000000000")
        with pytest.raises(NotFound, match="there are none yet"):
            await hub.devices.get("gate")
        await provision(hub, "gate")
        with pytest.raises(NotFound, match="did you mean «gate»"):
            await hub.devices.get("gates")
        with pytest.raises(Refused, match="distributes no releases yet"):
            await hub.devices.update("gate")
        with pytest.raises(NotFound):
            await hub.devices.update("other")


class TestStates:
    async def test_it_goes_from_one_to_the_next_and_a_restarted_hub_knows(
        self, hub: HubRig
    ) -> None:
        async def state() -> str:
            return (await hub.devices.get("gate")).state

        token = await provision(hub, "gate")
        await hub.apply(spec("cam"))
        assert await state() == "registered"
        node = Speaking(hub, (await enrol(hub, token)).node_id)
        assert await state() == "authenticated"
        await node.tell(node_info(node.node_id))
        assert await state() == "configured"
        await node.pulling.pull()
        n = node.pulling.assignments()["cam"].generation.n
        await node.tell(status("cam", "starting", n=n))
        assert await state() == "deployed"
        await node.tell(status("cam", "running", n=n, hlc=2))
        assert await state() == "active"
        found = await hub.devices.get("gate")
        assert (found.workloads, found.running) == (1, 1)
        again = HubRig(hub.url, hub.clock, hub.encryption)
        await again.start()
        assert (await again.devices.get("gate")).state == "active"
        again.stop()


class TestListing:
    async def test_by_labels_state_order_and_page(self, hub: HubRig) -> None:
        for name in ("c", "a", "b"):
            await hub.enrol(name, site="lab" if name != "b" else "field")
        await provision(hub, "d")
        page = await hub.devices.list(Wanted(sort="-name", limit=2, offset=1))
        assert ([view.name for view in page.devices], page.total) == (["c", "b"], 4)
        lab = await hub.devices.list(Wanted(labels={"site": "lab"}))
        assert [view.name for view in lab.devices] == ["a", "c"]
        new = await hub.devices.list(Wanted(state="registered"))
        assert [view.name for view in new.devices] == ["d"]
        for wrong in (Wanted(sort="nam"), Wanted(state="gone"), Wanted(limit=0), Wanted(offset=-1)):
            with pytest.raises(InvalidInput):
                await hub.devices.list(wrong)


class TestRestart:
    async def test_an_order_stands_once_until_its_node_has_told(self, hub: HubRig) -> None:
        node = Speaking(hub, (await hub.enrol("n1")).node_id)
        given = await hub.devices.restart("n1", HOUR, "ann")
        assert await hub.devices.restart("n1", HOUR, "bob") == given
        assert hub.news == [node.node_id, node.node_id]
        assert await node.orders() == [given.id]
        await node.answer(given.id, "started")
        [shown] = (await hub.devices.get("n1")).commands
        assert (shown.state, shown.issuer) == ("started", "ann")
        hub.clock.advance(1.0)
        await node.answer(given.id, "done")
        await hub.retiring.settle()
        [shown] = (await hub.devices.get("n1")).commands
        assert shown.state == "done"
        assert await node.orders() == []
        assert not await hub.retiring.settle()
        assert (await hub.devices.restart("n1", HOUR, "ann")).id != given.id

    async def test_one_that_nobody_began_expires(self, hub: HubRig) -> None:
        node = Speaking(hub, (await hub.enrol("n1")).node_id)
        given = await hub.devices.restart("n1", 60.0, "ann")
        hub.clock.advance(60.0 + 299.0)
        await hub.retiring.settle()
        assert await node.orders() == [given.id]
        hub.clock.advance(2.0)
        await hub.retiring.settle()
        [shown] = (await hub.devices.get("n1")).commands
        assert (shown.state, shown.message[:24]) == ("expired", "the device was not heard")
        assert await node.orders() == []

    async def test_not_for_one_that_is_no_node(self, hub: HubRig) -> None:
        await provision(hub, "gate")
        with pytest.raises(Refused, match="registered"):
            await hub.devices.restart("gate", HOUR, "ann")
        await hub.enrol("n1")
        for ttl in (0.0, float("nan"), 1e9):
            with pytest.raises(InvalidInput):
                await hub.devices.restart("n1", ttl, "ann")

    @pytest.mark.guarantee("G9")
    async def test_a_node_gives_no_orders(self, hub: HubRig) -> None:
        node = Speaking(hub, (await hub.enrol("n1")).node_id)
        with pytest.raises(Refused, match="may not write «command»"):
            await node.tell(StateRow("command", "x", 0, 1, "n"))


class TestDecommissioning:
    async def test_one_that_is_online_drains_first(self, hub: HubRig) -> None:
        enrolled = await hub.enrol("n1")
        node = Speaking(hub, enrolled.node_id)
        await hub.apply(spec("cam"))
        await node.pulling.pull()
        assert set(node.pulling.assignments()) == {"cam"}
        await hub.retiring.decommission("n1", "sold", "ann", now=False)
        assert await hub.retiring.decommission("n1", "again", "bob", now=False) == enrolled.node_id
        [order] = await node.orders()
        assert {entity for entity, _ in node.pulling.rows} == {"command"}
        await hub.apply(spec("cam2"))
        await node.pulling.pull()
        assert {entity for entity, _ in node.pulling.rows} == {"command"}
        await node.answer(order, "started", keep=7)
        found = await hub.devices.get("n1")
        assert (found.state, found.reason, found.decided_by) == ("draining", "sold", "ann")
        assert found.commands[0].left == {"keep": 7}
        await hub.retiring.settle()
        assert hub.nodes.authenticate(f"{enrolled.node_id}.{enrolled.secret}") is not None
        hub.clock.advance(1.0)
        await node.answer(order, "done")
        await hub.retiring.settle()
        assert hub.nodes.authenticate(f"{enrolled.node_id}.{enrolled.secret}") is None
        assert hub.ended == [enrolled.node_id]
        after = await hub.devices.get("n1")
        assert (after.state, after.reason, after.decided_by) == ("decommissioned", "sold", "ann")
        assert (after.commands[0].state, after.ended_at) == ("done", hub.clock.wall_ns())

    @pytest.mark.guarantee("G9")
    async def test_one_that_is_offline_is_refused_at_once_and_told_to_erase_itself(
        self, hub: HubRig
    ) -> None:
        enrolled = await hub.enrol("n1")
        bearer = f"{enrolled.node_id}.{enrolled.secret}"
        hub.clock.advance(60.0)
        assert await hub.retiring.order_for(bearer) is None
        await hub.retiring.decommission("n1", "lost", "ann", now=False)
        again = HubRig(hub.url, hub.clock, hub.encryption)
        await again.start()
        assert again.nodes.authenticate(bearer) is None
        order = await again.retiring.order_for(bearer)
        again.stop()
        assert order == await hub.retiring.order_for(bearer)
        assert order is not None
        assert (order.node_id, order.hub_id) == (enrolled.node_id, enrolled.hub_id)
        for wrong in ("", ".", f"{enrolled.node_id}.x", f"x.{enrolled.secret}", enrolled.node_id):
            assert await hub.retiring.order_for(wrong) is None

    async def test_now_waits_for_nothing_and_a_registered_one_just_ends(self, hub: HubRig) -> None:
        enrolled, token = await hub.enrol("n1"), await provision(hub, "gate")
        await hub.retiring.decommission("n1", "", "ann", now=True)
        assert hub.nodes.authenticate(f"{enrolled.node_id}.{enrolled.secret}") is None
        await hub.retiring.decommission("gate", "", "ann", now=False)
        assert (await hub.devices.get("gate")).state == "decommissioned"
        with pytest.raises(Refused, match="unknown, used or expired"):
            await enrol(hub, token)
        with pytest.raises(NotFound):
            await hub.retiring.decommission("nobody", "", "ann", now=False)

    async def test_its_name_is_free_and_its_id_is_not(self, hub: HubRig) -> None:
        first = await hub.enrol("n1")
        await hub.retiring.decommission("n1", "", "ann", now=True)
        token = (await hub.tokens.create(60.0)).token
        with pytest.raises(Refused, match="which is for ever"):
            await enrol(hub, token, "n1", first.node_id)
        second = await enrol(hub, token, "n1")
        assert second.node_id != first.node_id
        assert (await hub.devices.get("n1")).id == second.node_id
        assert (await hub.devices.get(first.node_id)).state == "decommissioned"
        assert (await hub.devices.list(Wanted())).total == 2
        with pytest.raises(Refused, match="it is decommissioned"):
            await provision(hub, first.node_id)
        assert await hub.retiring.decommission(first.node_id, "", "ann", now=True) == first.node_id

    async def test_a_drain_that_was_lost_is_ordered_again(self, hub: HubRig) -> None:
        node = Speaking(hub, (await hub.enrol("n1")).node_id)
        await hub.retiring.decommission("n1", "", "ann", now=False)
        [order] = await node.orders()
        await node.answer(order, "failed")
        await hub.retiring.settle()
        [second] = await node.orders()
        assert second != order


class TestErasure:
    async def test_its_certificate_is_kept(self, hub: HubRig) -> None:
        order = await retired(hub)
        told = report(order)
        taken = await hub.retiring.take_erasure(told)
        found = await hub.devices.get("n1")
        assert found.erased
        assert found.erasure is not None
        assert found.erasure.statement == told.statement
        assert hashlib.sha256(told.statement.encode()).hexdigest() == taken.answer.sha256
        assert (taken.is_new, found.erasure.erased.files) == (True, 3)
        assert not (await hub.retiring.take_erasure(told)).is_new

    @pytest.mark.guarantee("G9")
    async def test_nobody_else_makes_one(self, hub: HubRig) -> None:
        order = await retired(hub)
        other = await hub.enrol("n2")
        wrong = [
            report(order, receipt="0" * 64),
            report(order, node_id=other.node_id),
            structs.replace(report(order), statement="{}"),
            structs.replace(report(order), node_id=other.node_id),
            structs.replace(report(order), mac="é"),
        ]
        for each in wrong:
            with pytest.raises((Refused, InvalidInput)):
                await hub.retiring.take_erasure(each)
        assert not (await hub.devices.get("n1")).erased


async def retired(hub: HubRig) -> WipeOrder:
    enrolled = await hub.enrol("n1")
    await hub.retiring.decommission("n1", "", "ann", now=True)
    order = await hub.retiring.order_for(f"{enrolled.node_id}.{enrolled.secret}")
    assert order is not None
    return order


class TestInventory:
    async def test_what_a_device_tells_is_shown_and_its_changes_are_kept(self, hub: HubRig) -> None:
        token = await provision(hub, "gate", ip_address="10.9.9.9")
        node = Speaking(hub, (await enrol(hub, token)).node_id)
        first = Inventory(
            model="Box", cpus=2, address="10.0.0.7", user="pi", capabilities=["orders"]
        )
        await node.tell(info(node.node_id, 1, first))
        found = await hub.devices.get("gate")
        assert found.inventory == first
        assert (found.ip_address, found.ssh_user, found.history) == ("10.9.9.9", "pi", [])
        hub.clock.advance(60.0)
        await node.tell(info(node.node_id, 2, structs.replace(first, cpus=4)))
        found = await hub.devices.get("gate")
        assert [(each.at, each.fields) for each in found.history] == [
            (hub.clock.wall_ns(), [Differing("cpus", "2", "4")])
        ]
        await hub.retiring.decommission("gate", "", "ann", now=True)
        assert len((await hub.devices.get("gate")).history) == 1

    async def test_the_newest_hundred_changes_are_kept(self, hub: HubRig) -> None:
        node = Speaking(hub, (await hub.enrol("n1")).node_id)
        for count in range(105):
            hub.clock.advance(1.0)
            await node.tell(info(node.node_id, count + 1, Inventory(cpus=count + 1)))
        history = (await hub.devices.get("n1")).history
        assert (len(history), history[0].fields[0].new) == (100, "105")

    async def test_an_agent_that_takes_no_orders_gets_none(self, hub: HubRig) -> None:
        node = Speaking(hub, (await hub.enrol("n1")).node_id)
        await node.tell(info(node.node_id, 1, Inventory()))
        with pytest.raises(Refused, match="takes no orders"):
            await hub.devices.restart("n1", HOUR, "ann")
        with pytest.raises(Refused, match="with --now"):
            await hub.retiring.decommission("n1", "", "ann", now=False)
        await hub.retiring.decommission("n1", "", "ann", now=True)
