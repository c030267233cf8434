"""Going on as another history: after this node's store was put back, cloned, or left behind by the hub.

A new incarnation begins at the hub before it begins here. First the hub learns, by units without frames,
where each record lane of the new incarnation starts; then it is asked once more whether it still holds what
made us start there; only then the store takes the new name. Killed anywhere before, the node is still the old
incarnation and does all of it again. So from then on a hub that does not know the incarnation has certainly
lost something, and `decide` lets the lanes start from the oldest record that is here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from skerry.kit.errors import Transient
from skerry.kit.ids import random_token
from skerry.node.ports import Uplink
from skerry.node.store.state import NodeStore
from skerry.wire.sync import Hello, HelloReply, Lane, LanePoint, PushUnit

log = logging.getLogger(__name__)


async def begin_again(
    uplink: Uplink,
    store: NodeStore,
    hello: Hello,
    seen: HelloReply,
    anchors: Mapping[Lane, LanePoint],
) -> None:
    """Makes the store a new incarnation whose record lanes go on after `anchors`.

    `hello` and `seen` are the exchange in which the histories differed. Raises what the uplink raises, and
    Transient when the hub lost something meanwhile.
    """
    incarnation = random_token()
    for lane, point in anchors.items():
        if point.n > 0:
            await uplink.push(_anchor(incarnation, lane, point, hello.boot_id))
    again = await uplink.hello(hello)
    if any(again.lanes.get(lane, LanePoint()).n < point.n for lane, point in seen.lanes.items()):
        raise Transient("cannot begin a new incarnation: the hub has just gone back")
    await store.new_incarnation(incarnation)
    log.info("this node goes on as incarnation %s", incarnation)


def _anchor(incarnation: str, lane: Lane, point: LanePoint, boot_id: str) -> PushUnit:
    frames: list[msgspec.Raw] = []
    return PushUnit(
        incarnation, lane, point.n + 1, point.chain, boot_id, frames=frames, skipped=True
    )
