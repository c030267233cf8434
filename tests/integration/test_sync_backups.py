"""What a node takes the hub's word about backups for: this history of this incarnation, and only for as long as it says so."""

from pathlib import Path

import pytest
from tests.sync_rig import A, B, NodeRig, has

from skerry.testing.fake_hub import FakeHub
from skerry.testing.waiting import eventually


@pytest.mark.guarantee("G1")
async def test_what_the_hub_has_in_a_backup_is_learned_from_hellos_and_units(
    node: NodeRig, hub: FakeHub, time: None
) -> None:
    incarnation = node.store.incarnation
    hub.backed_up[incarnation, "event"] = 7
    node.sync_on()
    await node.publish(A, 1, 50)
    await has(hub, A, 50)
    assert (node.sync.backed_up("keep"), node.sync.backed_up("event")) == (0, 7)
    hub.backed_up[incarnation, "keep"] = 40
    await node.publish(A, 51, 1)  # the connection goes on: no hello says it
    await eventually(lambda: node.sync.backed_up("keep") == 40, "the unit's answer says it")
    hub.backed_up.clear()
    await node.publish(A, 52, 1)
    await eventually(lambda: node.sync.backed_up("keep") == 0, "the backup is gone")


@pytest.mark.guarantee("G1")
async def test_backups_of_another_history_say_nothing_about_this_one(
    node: NodeRig, hub: FakeHub, time: None, tmp_path: Path
) -> None:
    node.sync_on()
    await node.publish(A, 1, 50)
    await has(hub, A, 50)
    await node.stop()
    node.copy_to(tmp_path / "copy")
    await node.start()
    node.sync_on()
    await node.publish(A, 51, 50)
    await node.publish(A, 101, 5, "event")
    await has(hub, A, 105)
    await node.stop()
    node.put_back(tmp_path / "copy")
    await node.start()
    former = node.store.incarnation
    hub.backed_up[former, "keep"] = 100
    hub.backed_up[former, "event"] = 5
    await node.publish(B, 1, 50)  # under the numbers that A's had
    node.sync_on()
    await has(hub, B, 50)
    assert node.store.incarnation != former
    assert [node.sync.backed_up(lane) for lane in ("keep", "event")] == [0, 0]
