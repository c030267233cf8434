"""Models at the hub: applied with workloads, carried by their assignments, deleted when nobody names them."""

import pytest
from msgspec import structs
from tests.hub_rig import HubRig, PullingNode, spec
from tests.model_cases import model, sha256

from skerry.hub.fleet.models import UPLOAD_TIME
from skerry.kit.clock import NS
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.wire.models import ModelSource, ModelSpec
from skerry.wire.people import Apply, Rollback
from skerry.wire.workload import Update, WorkloadSpec

URL = ModelSource(url="http://models.lan/w.onnx")


async def apply(
    hub: HubRig, models: list[ModelSpec], *workloads: WorkloadSpec, dry_run: bool = False
) -> list[str]:
    reply = await hub.workloads.apply(Apply(list(workloads), models=models, dry_run=dry_run), "ann")
    return [each.change for each in [*reply.models, *reply.workloads]]


async def test_a_model_travels_in_the_assignments_that_need_it(hub: HubRig) -> None:
    node = PullingNode(hub, (await hub.enrol()).node_id)
    yolo, other = model("yolo", source=URL), model("other", source=URL)
    done = await apply(hub, [yolo, other], spec("a", models=["yolo"]), spec("b"))
    assert done == ["create"] * 4
    await node.pull()
    held = node.assignments()
    assert (held["a"].models, held["b"].models) == ([yolo], [])
    assert await apply(hub, [yolo]) == ["unchanged"]


async def test_a_changed_model_is_news_for_those_who_need_it_alone(hub: HubRig) -> None:
    node = PullingNode(hub, (await hub.enrol()).node_id)
    await apply(hub, [model(source=URL)], spec("a", models=["yolo"]), spec("b"))
    await node.pull()
    before = node.assignments()
    hub.news.clear()
    newer = model(data=b"newer", source=URL)
    assert await apply(hub, [newer]) == ["change"]
    assert hub.news == [node.node_id]
    await node.pull()
    after = node.assignments()
    assert after["a"].models == [newer]
    assert after["a"].generation > before["a"].generation
    assert after["b"] == before["b"]


async def test_dry_run_changes_nothing(hub: HubRig) -> None:
    assert await apply(hub, [model(source=URL)], dry_run=True) == ["create"]
    assert await hub.models.list() == []


async def test_what_is_refused(hub: HubRig) -> None:
    with pytest.raises(Refused, match="needs model «yolo», which does not exist; there are none"):
        await apply(hub, [], spec("a", models=["yolo"]))
    with pytest.raises(InvalidInput, match="holds a slash"):
        await apply(hub, [model("a/b", source=URL)])
    with pytest.raises(InvalidInput, match="twice"):
        await apply(hub, [model(source=URL), model(source=URL)])
    assert await hub.models.list() == []


async def test_the_hub_is_a_source_only_of_what_it_has(hub: HubRig) -> None:
    with pytest.raises(Refused, match="skerry model push"):
        await apply(hub, [model(data=b"weights")])
    await hub.blobs.add(sha256(b"weights"), 0, 7, b"weights")
    assert await apply(hub, [model(data=b"weights")]) == ["create"]
    wrong = model(data=b"weights")
    wrong = structs.replace(wrong, files=[structs.replace(wrong.files[0], size=8)])
    with pytest.raises(Refused, match="has it with 7 bytes"):
        await apply(hub, [wrong])


async def test_delete(hub: HubRig) -> None:
    await apply(hub, [model(source=URL)], spec("a", models=["yolo"]))
    [view] = await hub.models.list("yolo")
    assert view.used_by == ["a"]
    with pytest.raises(Refused, match="a need it"):
        await hub.models.delete("yolo")
    await hub.workloads.delete("a", "ann")
    await hub.models.delete("yolo")
    with pytest.raises(NotFound, match="none yet"):
        await hub.models.delete("yolo")
    with pytest.raises(NotFound):
        await hub.models.list("yolo")


async def test_blobs_stay_while_a_model_names_them_or_may_soon(hub: HubRig) -> None:
    for data in (b"weights", b"unnamed"):
        await hub.blobs.add(sha256(data), 0, 7, data)
    await apply(hub, [model(data=b"weights")])
    assert await hub.models.sweep() == 0
    hub.clock.advance(UPLOAD_TIME / NS + 1)
    assert await hub.models.sweep() == 1
    assert await hub.blobs.size(sha256(b"weights")) == 7


async def test_models_survive_a_restart_of_the_hub(hub: HubRig) -> None:
    await apply(hub, [model(source=URL)])
    hub.stop()
    again = HubRig(hub.url, hub.clock, hub.encryption)
    again.store.start()
    assert [view.spec for view in await again.models.list()] == [model(source=URL)]
    again.stop()
    hub.stop = lambda: None  # type: ignore[method-assign]


async def test_a_changed_model_goes_through_the_nodes_in_waves(hub: HubRig) -> None:
    nodes = [PullingNode(hub, (await hub.enrol(f"n{n}")).node_id) for n in range(2)]
    waves = spec("a", models=["yolo"], update=Update(max_unavailable=1))
    await apply(hub, [model(source=URL)], waves)
    for node in nodes:
        hub.nodes.seen(node.node_id, hub.clock.wall_ns())
    newer = model(data=b"newer", source=URL)
    await apply(hub, [newer])
    await hub.rollouts.advance()
    for node in nodes:
        await node.pull()
    held = [node.assignments()["a"].models for node in nodes]
    assert held == [[newer], [model(source=URL)]]
    with pytest.raises(Refused, match="a model or secret is another: make that what it was"):
        await hub.workloads.abort("a", "ann")


async def test_a_version_whose_model_is_gone_is_not_gone_back_to(hub: HubRig) -> None:
    await apply(hub, [model(source=URL)], spec("a", models=["yolo"]))
    await apply(hub, [], spec("a"))
    await hub.models.delete("yolo")
    with pytest.raises(Refused, match="needs model «yolo», which does not exist"):
        await hub.workloads.rollback("a", Rollback(), "ann")


async def test_nodes_ask_for_models_by_name(hub: HubRig) -> None:
    cat = model("cat", source=URL)
    await apply(hub, [cat, model("dog", source=URL)])
    answer = await hub.models.named(["cat", "a/b & c", "cat"])
    assert (answer.models, answer.unknown) == ([cat], ["a/b & c"])
    with pytest.raises(InvalidInput, match="at most 32"):
        await hub.models.named(["x"] * 33)
