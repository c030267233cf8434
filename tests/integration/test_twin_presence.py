"""Whether drivers are there, as rows at a real hub: written when it changes, and only then."""

import json
import random
from pathlib import Path

import pytest
from tests.twin_bodies import ARM, DEVICE, ENVIRONMENT, FOREIGN, Json
from tests.twin_site import Device, TwinSite, twin_site

from skerry.core.cyberwave.presence import Presence, Stream, presence_of
from skerry.node.twins.presence import PresenceRows, presence_entity
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually

ENTITY = presence_entity(ENVIRONMENT)


def health(uptime: int = 1, **fields: object) -> bytes:
    """As the SDK's drivers say it every 5 s."""
    stream = {"camera_id": "front", "connection_state": "connected", "is_healthy": True, "is_stale": False,
              "frames_sent": uptime * 30, "stream_config": {"kind": "camera"}}  # fmt: skip
    said = {"type": "edge_health", "edge_id": ARM, "source_type": "edge", "uptime_seconds": uptime}
    return json.dumps({**said, "streams": {"front": stream}, "stream_count": 1, **fields}).encode()


async def opened(device: Device, clock: ManualClock) -> PresenceRows:
    rows = PresenceRows(
        device.node.program.entities,
        ENVIRONMENT,
        lambda uuid: device.twins.twin(uuid) is not None,
        clock,
        random.Random(1),
    )
    await rows.open()
    return rows


async def versions(site: TwinSite, twin: str = ARM) -> list[Json]:
    """All that the hub was told, each once."""
    await site.synced()
    answer = await site._ask("GET", f"{ENTITY}/rows/{twin}/history")
    return [json.loads(json.dumps(each["body"])) for each in json.loads(answer)]


async def test_a_row_says_since_when_a_driver_is_there_and_when_it_is_not(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    async with twin_site(tmp_path) as (site, device):
        rows = await opened(device, manual_clock)
        for uptime in range(1, 40):
            rows.health(ARM, health(uptime), manual_clock.wall_ns())
            await rows.settle()
            manual_clock.advance(5)
        [online] = await versions(site)
        assert (online["online"], online["edge_id"], online["twin_uuid"]) == (True, ARM, ARM)
        assert online["since"] == "2025-10-09T08:53:20.000000000Z"
        [stream] = online["streams"]  # type: ignore[misc]
        assert stream == {"id": "front", "connection_state": "connected", "is_healthy": True, "is_stale": False, "kind": "camera"}  # fmt: skip
        manual_clock.advance(50)
        await rows.settle()
        assert len(await versions(site)) == 1
        manual_clock.advance(6)
        await rows.settle()
        await rows.settle()
        told = await versions(site)
        assert [each["online"] for each in told] in ([True, False], [False, True])
        gone = next(each for each in told if not each["online"])
        assert (gone["streams"], gone["edge_id"]) == ([], ARM)


async def test_a_restarted_agent_knows_who_was_there(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    async with twin_site(tmp_path) as (site, device):
        rows = await opened(device, manual_clock)
        rows.health(ARM, health(), manual_clock.wall_ns())
        await rows.settle()
        again = await opened(await site.restart_agent(), manual_clock)
        site.node.sync_on()
        await again.settle()
        again.health(ARM, health(7), manual_clock.wall_ns())
        await again.settle()
        assert len(await versions(site)) == 1
        manual_clock.advance(61)
        await again.settle()
        assert len(await versions(site)) == 2


async def test_what_is_old_or_another_devices_says_nothing(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    async with twin_site(tmp_path) as (site, device):
        rows = await opened(device, manual_clock)
        rows.health(FOREIGN, health(), manual_clock.wall_ns())
        rows.health(ARM, health(), manual_clock.wall_ns() - 61 * 10**9)
        rows.health(ARM, b"no health", manual_clock.wall_ns())
        await rows.settle()
        with pytest.raises(AssertionError):
            await versions(site)
        rows.health(ARM, health(edge_id=DEVICE, streams={}), manual_clock.wall_ns())
        await rows.settle()
        [told] = await versions(site)
        assert (told["edge_id"], told["streams"]) == (DEVICE, [])


async def test_changes_are_written_as_they_come(tmp_path: Path) -> None:
    async with twin_site(tmp_path) as (site, device):
        clock = ManualClock()
        rows = await opened(device, clock)
        rows.health(ARM, health(), clock.wall_ns())
        await rows.settle()
        rows.health(ARM, health(streams={}), clock.wall_ns())
        await rows.settle()

        async def both() -> bool:
            return len(await versions(site)) == 2

        await eventually(both, "the hub has both")


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"\xff", b"[" * 100_000, b'"x"', b'{"streams"'],
)
def test_what_is_no_health(payload: bytes) -> None:
    assert presence_of(payload) is None


def test_what_is_of_no_shape_is_left_out() -> None:
    found = presence_of(
        b'{"edge_id": 3, "streams": {"a": 1, "b": {"stream_config": []}, "c\\u0000": {}}}'
    )
    assert found == Presence(
        online=True, streams=(Stream("b", "", False, False, ""), Stream("", "", False, False, ""))
    )
    many = json.dumps({"streams": {str(n): {} for n in range(1000)}}).encode()
    assert len((presence_of(many) or Presence()).streams) == 64
