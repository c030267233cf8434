"""The history of a workload and the way back to an earlier version, on every database."""

import pytest
from tests.hub_rig import HubRig, PullingNode, spec

from skerry.hub.fleet.versions import KEPT, KEPT_DELETED
from skerry.kit.errors import NotFound, Refused
from skerry.wire.people import Rollback


async def numbers(hub: HubRig, name: str) -> list[tuple[int, str]]:
    return [(each.number, each.change) for each in await hub.workloads.history(name)]


async def back(hub: HubRig, name: str, to: int | None = None, *, dry_run: bool = False) -> int:
    return (await hub.workloads.rollback(name, Rollback(to, dry_run), "ben")).to


async def test_a_history_tells_who_changed_what_and_when(hub: HubRig) -> None:
    await hub.apply(spec("a"))
    hub.clock.advance(60.0)
    await hub.apply(spec("a", env={"X": "1"}))
    await hub.apply(spec("a", env={"X": "1"}))
    await hub.workloads.restart("a")
    first, second = await hub.workloads.history("a")
    assert (first.change, first.by, first.spec) == ("create", "ann", spec("a"))
    assert [field.path for field in second.fields] == ["env.X"]
    assert second.at - first.at == 60 * 10**9
    assert second.generation > first.generation


async def test_rolling_back_is_a_new_version_on_every_node(hub: HubRig) -> None:
    node = PullingNode(hub, (await hub.enrol("n1")).node_id)
    await hub.apply(spec("a"))
    await hub.apply(spec("a", env={"X": "1"}))
    await node.pull()
    before = node.assignments()["a"]
    hub.news.clear()
    reply = await hub.workloads.rollback("a", Rollback(), "ben")
    assert (reply.to, reply.workload.change, reply.workload.nodes) == (1, "change", ["n1"])
    assert [(field.path, field.old, field.new) for field in reply.workload.fields] == [
        ("env.X", "1", None)
    ]
    assert hub.news == [node.node_id]
    await node.pull()
    after = node.assignments()["a"]
    assert after.spec == spec("a")
    assert after.generation > before.generation
    newest = (await hub.workloads.history("a"))[-1]
    assert (newest.number, newest.change, newest.to, newest.by) == (3, "rollback", 1, "ben")
    assert await back(hub, "a") == 2  # and forth


async def test_a_chosen_version_and_a_dry_run(hub: HubRig) -> None:
    for value in "123":
        await hub.apply(spec("a", env={"X": value}))
    hub.news.clear()
    reply = await hub.workloads.rollback("a", Rollback(1, dry_run=True), "ben")
    assert [(field.old, field.new) for field in reply.workload.fields] == [("3", "1")]
    assert (hub.news, len(await hub.workloads.history("a"))) == ([], 3)
    assert await back(hub, "a", 1) == 1
    [view] = await hub.workloads.list("a")
    assert view.spec.env == {"X": "1"}
    reply = await hub.workloads.rollback("a", Rollback(1), "ben")
    assert reply.workload.change == "unchanged"
    assert len(await hub.workloads.history("a")) == 4


async def test_a_deleted_workload_comes_back(hub: HubRig) -> None:
    await hub.enrol("n1")
    await hub.apply(spec("a", env={"X": "1"}))
    await hub.workloads.delete("a", "ann")
    assert await numbers(hub, "a") == [(1, "create"), (2, "delete")]
    assert await back(hub, "a") == 1
    [view] = await hub.workloads.list("a")
    assert (view.spec.env, list(view.nodes)) == ({"X": "1"}, ["n1"])
    await hub.apply(prune=True)
    assert (await numbers(hub, "a"))[-1] == (4, "delete")
    assert await back(hub, "a") == 3


async def test_what_cannot_be_gone_back_to_is_refused(hub: HubRig) -> None:
    with pytest.raises(NotFound, match="cannot roll back workload «a»: it does not exist"):
        await back(hub, "a")
    with pytest.raises(NotFound, match="cannot show the versions of workload «a»: it does not"):
        await hub.workloads.history("a")
    await hub.apply(spec("db"), spec("a", depends_on={"db": "running"}))
    with pytest.raises(Refused, match="knows no earlier version"):
        await back(hub, "a")
    with pytest.raises(NotFound, match=r"no version 7; the hub keeps 1 to 1\. See: skerry history"):
        await back(hub, "a", 7)
    await hub.apply(spec("a"))
    await hub.workloads.delete("db", "ann")
    with pytest.raises(Refused, match="depends on «db», which does not exist"):
        await back(hub, "a")
    assert len(await hub.workloads.history("a")) == 2


async def test_histories_are_bounded(hub: HubRig) -> None:
    for n in range(KEPT + 3):
        await hub.apply(spec("a", env={"X": str(n)}))
    assert [number for number, _ in await numbers(hub, "a")] == list(range(4, KEPT + 4))
    await hub.apply(spec("a"), *(spec(f"w{n}") for n in range(KEPT_DELETED + 1)))
    for name in ("w7", *(f"w{n}" for n in range(KEPT_DELETED + 1) if n != 7)):
        hub.clock.advance(1.0)
        await hub.workloads.delete(name, "ann")
    with pytest.raises(NotFound):
        await hub.workloads.history("w7")
    assert len(await hub.workloads.history("w8")) == 2
