"""How `skerry get twins` and `skerry get alerts` show rows, whatever strangers wrote into them."""

from __future__ import annotations

import pytest

from skerry.cli.output import Cell
from skerry.cli.times import parse_time
from skerry.cli.twin_rows import Alert, Twin
from skerry.cli.twin_tables import alerts_table, twins_table
from skerry.core.merging.bodies import Body
from skerry.wire.devices import DeviceView

SINCE = "2026-11-22T12:00:00Z"
NOW = parse_time("2026-11-22T12:01:30Z", 0)
ROBOT = DeviceView("d1", "robot-7", "active", "", "", {}, True, 0, None, "", 0, 0, 0, 0, fingerprint="vm-1")  # fmt: skip


def texts(rows: object) -> list[list[str]]:
    assert isinstance(rows, list)
    return [[cell.text if isinstance(cell, Cell) else cell for cell in row] for row in rows]


def linked(fingerprint: object, name: object = "arm") -> Body:
    return {"name": name, "metadata": {"edge_fingerprint": fingerprint}}  # type: ignore[dict-item]


def test_twins_are_shown_by_name_with_their_devices_and_drivers() -> None:
    twins = [
        Twin("t3", linked("vm-1", "gripper"), {"online": True, "edge_id": "t3", "since": SINCE}),
        Twin("t4", linked("vm-1", "hand"), {"online": True, "edge_id": "vm-1", "since": SINCE}),
        Twin("t2", linked("vm-9", "camera"), {"online": False, "since": "lately"}),
        Twin("t1", {"name": "arm", "metadata": {"edge_configs": {"vm-1": {}, "x": {}}}}, {}),
        Twin("t0", linked(5, None), {}),
    ]
    assert texts(twins_table(twins, [ROBOT], NOW).rows) == [
        ["", "t0", "", "never heard", ""],
        ["arm", "t1", "robot-7", "never heard", ""],
        ["camera", "t2", "vm-9", "offline", "lately"],
        ["gripper", "t3", "robot-7", "online", "1m 30s ago"],
        ["hand", "t4", "robot-7", "silent", "1m 30s ago"],
    ]


@pytest.mark.parametrize(
    "since", ["0001-01-01T00:00:00+14:00", "0001-01-01", "9999-12-31T23:59:59-14:00"]
)
def test_a_time_that_is_none_here_is_shown_as_it_stands(since: str) -> None:
    [row] = twins_table([Twin("t1", {}, {"since": since})], [], NOW).rows
    assert isinstance(row[-1], Cell)
    assert row[-1].text


def test_alerts_are_shown_the_newest_last_with_the_names_of_their_twins() -> None:
    told: Body = {
        "alert_type": "driver_start_failure", "severity": "error", "status": "active",
        "name": "Driver failed to start", "description": "no image", "twin_uuid": "t1",
        "last_seen_at": SINCE, "dedupe_count": 2,
    }  # fmt: skip
    alerts = [
        Alert("a1", told, {"name": "arm"}),
        Alert("a2", {"name": "Hm", "twin_uuid": "t2"}, {}),
    ]
    assert texts(alerts_table(alerts, NOW).rows) == [
        ["", "", "", "", "t2", "1", "Hm"],
        ["1m 30s ago", "error", "active", "driver_start_failure", "arm", "3", "no image"],
    ]
